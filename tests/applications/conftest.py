"""Each application is a project of its own: its tests run in its folder, in a process of their own."""

collect_ignore_glob = ["*/tests"]
