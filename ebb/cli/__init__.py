"""The ebb command line."""
