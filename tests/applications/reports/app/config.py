"""What the environment says."""

import os

TITLE = os.environ.get("REPORTS_TITLE", "Reports")
DATABASE_URL = os.environ.get("REPORTS_DATABASE_URL", "sqlite+aiosqlite://")
ARCHIVE_URL = os.getenv("REPORTS_ARCHIVE_URL", "sqlite+aiosqlite://")
JOBS = os.getenv("REPORTS_JOBS", "true") == "true"  # off in tests
