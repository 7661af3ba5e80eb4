"""The `app` section → a FastAPI application with nothing in it yet.

In: the title, the OpenAPI paths, the tags of a manifest. Out: the application that a build fills.
Refuses nothing.
"""

from typing import Any

from fastapi import FastAPI

from assembler.manifest.app import App
from assembler.manifest.section import Section


def empty_application(facts: App) -> FastAPI:
    """Return an application that says what the section says, with no layer or route in it."""
    docs = facts.openapi.docs
    tags = [tag.model_dump(by_alias=True, exclude_none=True) for tag in facts.tags]
    app = FastAPI(
        title=facts.title,
        version=facts.version,
        summary=facts.summary,
        description=facts.description,
        terms_of_service=facts.terms_of_service,
        contact=_dumped(facts.contact),
        license_info=_dumped(facts.license),
        servers=[item.model_dump(exclude_none=True) for item in facts.servers or ()] or None,
        openapi_url=facts.openapi.path,
        docs_url=docs,
        swagger_ui_oauth2_redirect_url=docs and f"{docs}/oauth2-redirect",
        redoc_url=facts.openapi.redoc,
        openapi_tags=tags or None,
    )
    app.root_path = facts.root_path  # as a parameter it warns: it is meant to be the server's
    return app


def _dumped(section: Section | None) -> dict[str, Any] | None:
    return section.model_dump(exclude_none=True) if section is not None else None
