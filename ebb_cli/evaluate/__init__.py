"""`ebb evaluate`, from a table to its report."""
