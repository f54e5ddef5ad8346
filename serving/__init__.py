"""Scores to people and programs: REST, WebSocket, server-sent events and the live page.

One process holds the latest score of every customer in memory, read from `ebb.scores` (`feed` → `board`), fans
changes and alerts out to streams (`hub` → `outbox` → `ws`, `sse`) and asks ClickHouse only for history. Any number of
such processes may run beside each other; none needs the others.
"""
