"""Host names of the machine itself."""

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
"""Hosts that only processes of the same machine reach."""
