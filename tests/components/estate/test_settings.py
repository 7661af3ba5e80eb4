import pytest
from pydantic import ValidationError

from components.estate.settings import Settings


def test_the_service_runs_without_any_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABASE_URL", "LISTINGS", "CURRENCY", "PAGE_SIZE"):
        monkeypatch.delenv(f"ESTATE_{name}", raising=False)
    settings = Settings()
    assert settings.database_url.get_secret_value() == "sqlite+aiosqlite:///./estate.db"
    assert (settings.listings, settings.currency, settings.page_size) == (300, "INR", 20)


def test_the_environment_decides_and_the_url_stays_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ESTATE_DATABASE_URL", "postgresql://u:hidden@h/name")
    monkeypatch.setenv("ESTATE_PAGE_SIZE", "50")
    assert Settings().page_size == 50
    assert "hidden" not in repr(Settings())


@pytest.mark.parametrize(
    ("name", "value"), [("PAGE_SIZE", "101"), ("LISTINGS", "-1"), ("CURRENCY", "rupees")]
)
def test_a_value_out_of_its_range_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"ESTATE_{name}", value)
    with pytest.raises(ValidationError):
        Settings()
