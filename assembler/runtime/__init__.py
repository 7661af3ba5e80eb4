"""The parts of a Plan → what runs: lifespan, hooks, signals, lazy mounts, startup SQL, scheduler."""
