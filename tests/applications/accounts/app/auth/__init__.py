"""A kit for logins, in the manner of the well-known one: it knows nothing of this service."""
