"""A service for reports: a factory full of closures, jobs on a module's scheduler, two engines."""
