"""Settings, made at the import, as many do."""

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """All that differs between two deployments."""

    model_config = SettingsConfigDict(env_prefix="ACCOUNTS_")

    project_name: str = "Accounts"
    api_prefix: str = "/api"
    secret: SecretStr = SecretStr("a-secret-for-laptops")
    session_seconds: int = Field(default=3600, ge=60)
    users_open_registration: bool = True


settings = Settings()
