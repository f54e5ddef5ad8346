"""Recorded logs, sent in event-time order."""
