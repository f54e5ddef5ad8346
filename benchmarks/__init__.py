"""Benchmarks: each module prints its figures and, last, one JSON object. Run one by `make bench-<name>`."""
