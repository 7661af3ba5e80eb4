"""The former place of `matcher`, for those who still look for it here."""

from components.middleware.path_patterns import matcher

__all__ = ["matcher"]
