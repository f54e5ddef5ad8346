"""Scores to people and programs: application, server, context, feed.

One process holds the latest score of every customer in memory (`feed` reads `ebb.scores` into `projections`), fans
changes and alerts out to streams (`streaming`), and asks ClickHouse only for history. Any number of such processes may
run side by side; none needs the others.
"""
