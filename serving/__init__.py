"""Scores to people and programs: REST, WebSocket, server-sent events and the live page.

One process holds the latest score of every customer in memory, read from `ebb.scores` (`feed` to
`projections`), fans changes and alerts out to streams (`streaming`, `api.websocket`, `api.sse`) and queries ClickHouse
only for history. Any number of such processes may run beside each other; none needs the others.
"""
