"""Plan → FastAPI: routes, handlers and the stack, built at once."""
