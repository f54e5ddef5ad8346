"""Simulated customers whose law is known, and the oracle: the best score that this law allows."""
