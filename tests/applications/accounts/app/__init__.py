"""A service with logins: objects that make routers of other objects and of classes."""
