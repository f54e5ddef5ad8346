"""In-memory views of the topics."""
