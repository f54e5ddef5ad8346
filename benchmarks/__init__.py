"""Measurements: each module prints its figures and ends in one line of JSON. Run one by `make bench-<name>`."""
