"""Fan-out: hub, subscriptions, send queues, frames."""
