"""A meeting-room booking service: a factory that its settings drive, and a lifespan with state."""
