"""What comments say of the order of layers is held against the order that there is."""

from pathlib import Path

from assembler.adopt.claims import claims

TEXT = '''"""The application; the session runs first."""
app = make()
# CORS is the outermost layer.
app.add_middleware(CORSMiddleware)
app.add_middleware(SessionMiddleware)  # the innermost
# must be the innermost
app.add_middleware(GZipMiddleware)
app.add_middleware(TimingMiddleware)  # outermost
# the first thing that one reads
app.add_middleware(OtherMiddleware)
'''


def test_a_comment_that_says_another_order_is_told_with_what_would_change(tmp_path: Path) -> None:
    file = tmp_path / "m.py"
    file.write_text(TEXT)
    layers = [
        ("OtherMiddleware", f"{file}:10"),
        ("TimingMiddleware", f"{file}:8"),
        ("GZipMiddleware", f"{file}:7"),
        ("SessionMiddleware", f"{file}:5"),
        ("CORSMiddleware", f"{file}:4"),
    ]
    found = list(claims(layers))
    assert [(each.place.rpartition(":")[2], each.layer, each.says) for each in found] == [
        ("3", "CORSMiddleware", "outermost"),
        ("5", "SessionMiddleware", "innermost"),
        ("6", "GZipMiddleware", "innermost"),
        ("8", "TimingMiddleware", "outermost"),
        ("1", "SessionMiddleware", "outermost"),
    ]
    assert found[0].number == 5
    assert "`OtherMiddleware`, `TimingMiddleware`, `GZipMiddleware`" in found[0].change
    assert "500s, 429s, preflights" in found[0].text()


def test_a_comment_that_is_true_is_not_told(tmp_path: Path) -> None:
    file = tmp_path / "m.py"
    file.write_text("# outermost\nadd(A)\n# innermost\nadd(B)\n")
    assert list(claims([("A", f"{file}:2"), ("B", f"{file}:4")])) == []


def test_a_source_that_cannot_be_read_claims_nothing(tmp_path: Path) -> None:
    assert list(claims([("A", f"{tmp_path}/nowhere.py:2"), ("B", "an unknown place")])) == []
