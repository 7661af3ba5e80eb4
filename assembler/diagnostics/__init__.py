"""Facts about a fault → one message with its place, drawn with carets, no secret in it."""
