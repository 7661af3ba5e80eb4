"""A module that takes its time to be imported, and says when it begins."""

import time

print("imports aloud", flush=True)
time.sleep(1.5)


def configure(app: object) -> None:
    pass
