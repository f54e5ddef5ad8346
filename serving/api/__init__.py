"""One module a resource: its routes and its schemas."""
