"""Features become scores and alerts."""
