"""Simulated customers whose law is known, and the best score that it allows."""
