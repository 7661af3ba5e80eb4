"""The command `init`: a folder → a small project that runs."""
