"""The file of numbers: what is written is what is read, by others and later on."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from components.metrics.mmap_file import MappedFile, read

NUMBERS = st.dictionaries(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
    st.floats(allow_nan=False),
    max_size=20,
)


@given(NUMBERS)
def test_what_is_put_is_read_and_goes_on(numbers: dict[str, float]) -> None:
    import tempfile  # noqa: PLC0415  # hypothesis runs this many times in one tmp_path

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "1.db"
        for _ in range(2):
            file = MappedFile(path)
            for name, value in numbers.items():
                memory, at = file.place(name)
                memory[at] = value
            assert dict(read(path)) == numbers


def test_a_file_that_grows_keeps_the_places_that_were_given(tmp_path: Path) -> None:
    path = tmp_path / "1.db"
    file = MappedFile(path)
    memory, at = file.place("first")
    places = [file.place("x" * 400 + str(number)) for number in range(500)]
    assert path.stat().st_size > 1 << 16
    memory[at] = 5.0
    for number, (view, place) in enumerate(places):
        view[place] = float(number)
    found = dict(read(path))
    assert found["first"] == 5.0
    assert [found["x" * 400 + str(number)] for number in range(500)] == [*map(float, range(500))]


def test_a_file_that_is_being_made_has_no_numbers(tmp_path: Path) -> None:
    path = tmp_path / "1.db"
    for content in (b"", b"\0", b"\0" * 64):
        path.write_bytes(content)
        assert list(read(path)) == []
