"""Startup SQL: texts of a manifest → statements that are applied once over all replicas."""
