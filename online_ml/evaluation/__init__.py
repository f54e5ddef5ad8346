"""Progressive validation: metrics, windows, segments, intervals."""
