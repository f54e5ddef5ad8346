"""Threads beside requests: erasure, archive, webhooks, pipeline monitor."""
