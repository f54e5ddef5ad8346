"""Customer ids, numbers and times as programs really write them: what is certain is read, the rest is refused."""
