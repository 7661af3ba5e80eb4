"""What the environment says, by the prefix `BOOKINGS_`."""

from functools import lru_cache

from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """All that differs between two deployments."""

    model_config = SettingsConfigDict(env_prefix="BOOKINGS_", extra="ignore")

    title: str = "Bookings"
    version: str = "2.3.0"
    database_url: str = "sqlite+aiosqlite://"
    cors_origins: list[str] = ["https://rooms.example.com", "http://localhost:5173"]
    gzip_minimum_size: int = 500
    docs_url: str | None = "/api/docs"
    longest_hours: int = 8
    sender_token: SecretStr = SecretStr("unset")


@lru_cache
def get_settings() -> Settings:
    """Return the settings, read once."""
    return Settings()
