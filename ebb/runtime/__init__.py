"""The embedded runtime."""
