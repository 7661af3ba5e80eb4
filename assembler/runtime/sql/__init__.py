"""Startup SQL that is applied once across all replicas, each statement in its own transaction."""
