"""A service for notes in one file, as tutorials write it."""
