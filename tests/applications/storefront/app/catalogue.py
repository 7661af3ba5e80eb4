"""What is for sale."""

from pydantic import BaseModel


class Product(BaseModel):
    """One thing."""

    sku: str
    name: str
    cents: int


class OutOfStockError(Exception):
    """None is left."""


PRODUCTS = {
    product.sku: product
    for product in (
        Product(sku="tea", name="Tea", cents=450),
        Product(sku="cup", name="Cup", cents=1200),
    )
}
STOCK = {"tea": 20, "cup": 0}
