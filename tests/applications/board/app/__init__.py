"""A board for drawing together: a single-page application, its files, and websockets."""
