"""Features in, calibrated probability and reasons out; numpy only, and all that other rooms may import."""
