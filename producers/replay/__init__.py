"""Replay of recorded logs, in event-time order."""
