"""`ebb replay`, from a log file to its report."""
