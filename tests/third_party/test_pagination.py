"""fastapi-pagination: `add_pagination` turns routes that return a `Page`."""

from starlette.testclient import TestClient

FILES = {
    "shop.py": """
from fastapi import APIRouter
from fastapi_pagination import Page, paginate
from pydantic import BaseModel


class Item(BaseModel):
    number: int


router = APIRouter()
ITEMS = [Item(number=number) for number in range(120)]


@router.get("/items")
async def items() -> Page[Item]:
    return paginate(ITEMS)
""",
    "main.py": """
from fastapi import FastAPI
from fastapi_pagination import add_pagination

from shop import router

app = FastAPI()
app.include_router(router, prefix="/api")
add_pagination(app)
""",
    "manifest.yaml": """
manifest: 1
routes:
  - {use: shop.router, prefix: /api}
finish:
  - {use: fastapi_pagination.add_pagination}
""",
}


def test_pages_are_asked_for_by_number_and_size(client: TestClient) -> None:
    page = client.get("/api/items", params={"page": 3, "size": 50}).json()
    assert (page["total"], page["page"], page["pages"]) == (120, 3, 3)
    assert [item["number"] for item in page["items"]] == list(range(100, 120))
    assert len(client.get("/api/items").json()["items"]) == 50


def test_the_document_has_their_parameters(client: TestClient) -> None:
    operation = client.get("/openapi.json").json()["paths"]["/api/items"]["get"]
    assert [parameter["name"] for parameter in operation["parameters"]] == ["page", "size"]
    assert client.get("/api/items", params={"size": 0}).status_code == 422
