"""Strawberry: a router that is a GraphQL schema, with a context and subscriptions."""

from starlette.testclient import TestClient

FILES = {
    "shop.py": """
from collections.abc import AsyncGenerator

import strawberry
from fastapi import Depends, Request
from strawberry.fastapi import GraphQLRouter


def tenant(request: Request) -> str:
    return request.headers.get("X-Tenant", "nobody")


async def get_context(tenant: str = Depends(tenant)):
    return {"tenant": tenant}


@strawberry.type
class Query:
    @strawberry.field
    def hello(self, info: strawberry.Info) -> str:
        return f"Hello {info.context['tenant']}"


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def count(self, target: int = 3) -> AsyncGenerator[int, None]:
        for number in range(target):
            yield number


schema = strawberry.Schema(Query, subscription=Subscription)
graphql = GraphQLRouter(schema, context_getter=get_context)
plain = GraphQLRouter(strawberry.Schema(Query, subscription=Subscription), graphql_ide=None)
""",
    "main.py": """
from fastapi import FastAPI
from strawberry.fastapi import GraphQLRouter

from shop import graphql, schema

app = FastAPI()
app.include_router(graphql, prefix="/graphql")
app.include_router(GraphQLRouter(schema, graphql_ide=None), prefix="/plain")
""",
    "manifest.yaml": """
manifest: 1
resources:
  schema: {use: shop.schema, owned: false}
routes:
  - {use: shop.graphql, prefix: /graphql}
  - use: strawberry.fastapi.GraphQLRouter
    with: {schema: "${resources.schema}", graphql_ide: null}
    prefix: /plain
""",
}


def test_a_query_has_its_context(client: TestClient) -> None:
    answer = client.post("/graphql", json={"query": "{ hello }"}, headers={"X-Tenant": "ann"})
    assert answer.json() == {"data": {"hello": "Hello ann"}}
    assert "GraphiQL" in client.get("/graphql", headers={"Accept": "text/html"}).text
    assert client.get("/plain", headers={"Accept": "text/html"}).status_code == 404


def test_a_subscription_comes_over_a_websocket(client: TestClient) -> None:
    with client.websocket_connect("/plain", ["graphql-transport-ws"]) as socket:
        socket.send_json({"type": "connection_init"})
        assert socket.receive_json() == {"type": "connection_ack"}
        payload = {"query": "subscription { count(target: 2) }"}
        socket.send_json({"id": "1", "type": "subscribe", "payload": payload})
        found = [socket.receive_json() for _ in range(3)]
    assert [item.get("payload", {}).get("data") for item in found] == [
        {"count": 0},
        {"count": 1},
        None,
    ]
