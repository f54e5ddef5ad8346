"""Segment-compatible calls become activity."""
