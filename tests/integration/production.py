"""The variables of prod.yaml and serverless.yaml, for tests."""

OPERATIONS_TOKEN = "an-operator-of-the-tests"
ORIGINS = ("https://app.example", "https://admin.example")


def variables(database: str = "postgresql://u:p@db.invalid/estate", **more: str) -> dict[str, str]:
    """What must be set, with servers that are not there unless they are given."""
    return {
        "DATABASE_URL": database,
        "REDIS_URL": "redis://redis.invalid",
        "CORS_ORIGINS": ",".join(ORIGINS),
        "OPERATIONS_TOKEN": OPERATIONS_TOKEN,
        "PUBLIC_BASE_URL": "https://api.example",
        "SUPABASE_URL": "https://project.example",
        **more,
    }
