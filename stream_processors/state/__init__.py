"""Events become customer state, features, snapshots and labels."""
