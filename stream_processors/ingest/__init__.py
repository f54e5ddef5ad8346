"""The broker's bytes become columns of accepted events, or dead letters."""
