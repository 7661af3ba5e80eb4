"""The API for partners: an application of its own, with layers, handlers and documents."""

from fastapi import APIRouter, FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse
from starlette.middleware.gzip import GZipMiddleware

from app.catalogue import PRODUCTS, STOCK, OutOfStockError, Product
from app.layers import HeaderMiddleware, KeyMiddleware

router = APIRouter(prefix="/products", tags=["products"])


@router.get("")
async def list_products() -> list[Product]:
    """List what is for sale."""
    return list(PRODUCTS.values())


@router.get("/{sku}", name="product")
async def read_product(sku: str, request: Request) -> dict[str, object]:
    """Return one product, with its own address."""
    if sku not in PRODUCTS:
        raise HTTPException(404, "no such product")
    return {**PRODUCTS[sku].model_dump(), "self": str(request.url_for("api:product", sku=sku))}


@router.post("/{sku}/orders", status_code=202)
async def order(sku: str, count: int = 1) -> dict[str, int]:
    """Order some."""
    if STOCK.get(sku, 0) < count:
        raise OutOfStockError(sku)
    return {"ordered": count, "cents": count * PRODUCTS[sku].cents}


@router.get("/{sku}/broken", include_in_schema=False)
async def broken(sku: str) -> None:
    """Fail."""
    raise RuntimeError(sku)


async def out_of_stock(request: Request, error: OutOfStockError) -> JSONResponse:
    """Answer 409."""
    return JSONResponse({"detail": f"no {error} left", "path": request.url.path}, 409)


async def not_found(request: Request, error: HTTPException) -> JSONResponse:
    """Answer 404 as the API does, which is not as the shop does."""
    return JSONResponse({"api": "v1", "detail": error.detail}, 404)


api = FastAPI(title="Partners", version="1.1.0", docs_url="/reference", redoc_url=None)
api.add_middleware(GZipMiddleware, minimum_size=300)
api.add_middleware(KeyMiddleware, keys=["partner-1", "partner-2"], exempt=("/openapi.json",))
api.add_middleware(HeaderMiddleware, name="X-Api", value="v1")
api.add_exception_handler(OutOfStockError, out_of_stock)
api.add_exception_handler(404, not_found)
api.include_router(router)
