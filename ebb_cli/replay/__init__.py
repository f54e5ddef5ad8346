"""`ebb replay`, from a file to its report."""
