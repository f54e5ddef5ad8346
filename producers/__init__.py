"""Where activity comes from; `activity_producer` is the only door to its topic."""
