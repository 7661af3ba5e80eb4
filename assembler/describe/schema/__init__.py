"""The format and the options of components as JSON Schema."""
