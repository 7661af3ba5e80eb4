"""What the parts of the sample application did, in order; a test empties it first."""

events: list[str] = []


def note(event: str) -> None:
    events.append(event)
