"""The sections that are checked as a whole: logging, scheduler, server, the budget of the stop."""
