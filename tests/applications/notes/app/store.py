"""Where notes are."""

from pydantic import BaseModel, Field


class NoteIn(BaseModel):
    """What one writes."""

    text: str = Field(min_length=1, max_length=280)
    tags: list[str] = []


class Note(NoteIn):
    """What is kept."""

    id: int


class NoteMissing(KeyError):
    """There is no such note."""


class Store:
    """Notes, in memory."""

    def __init__(self) -> None:
        self.notes: dict[int, Note] = {}
        self.last = 0

    def add(self, note: NoteIn) -> Note:
        """Keep a note."""
        self.last += 1
        self.notes[self.last] = Note(id=self.last, **note.model_dump())
        return self.notes[self.last]

    def get(self, number: int) -> Note:
        """Return a note."""
        try:
            return self.notes[number]
        except KeyError:
            raise NoteMissing(number) from None

    def clear(self) -> None:
        """Forget all."""
        self.notes.clear()
        self.last = 0


store = Store()
