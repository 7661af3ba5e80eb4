"""What an operator decides about the estate service.

In: environment variables that begin with `ESTATE_`. Out: `Settings`, for a manifest's
`settings` key. Refused: values out of their range.
"""

from typing import Annotated

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from components.estate.schemas import Currency, PageSize


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="ESTATE_", frozen=True)

    database_url: Annotated[
        SecretStr, Field(description="SQLAlchemy URL of the listings' database")
    ] = SecretStr("sqlite+aiosqlite:///./estate.db")
    listings: Annotated[
        int, Field(ge=0, le=100_000, description="listings that an empty database is given")
    ] = 300
    currency: Annotated[Currency, Field(description="currency of a listing that names none")] = (
        "INR"
    )
    page_size: Annotated[
        PageSize, Field(description="listings on a page when the request does not say")
    ] = 20
