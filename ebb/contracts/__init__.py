"""What is on each topic and wire, and how it is encoded and checked: one module each."""
