"""From activity to scores: the worker, its partitions, its commits."""
