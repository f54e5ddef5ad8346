"""online_ml."""
