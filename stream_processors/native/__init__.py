"""Compiled kernels: hashing, strings, dictionary encoding."""
