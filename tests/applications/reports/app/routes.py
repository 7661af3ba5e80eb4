"""Reports."""

from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.database import get_connection, report

router = APIRouter(prefix="/reports", tags=["reports"])
Connection = Annotated[AsyncConnection, Depends(get_connection)]


class NewReport(BaseModel):
    """What one writes."""

    title: str = Field(min_length=1)
    state: str = "draft"


class ReportLocked(Exception):  # as it was named long ago
    """It is published, and stays as it is."""


@router.get("")
async def list_reports(connection: Connection) -> list[dict[str, object]]:
    """List all reports."""
    rows = await connection.execute(select(report).order_by(report.c.id))
    return [dict(row) for row in rows.mappings()]


@router.post("", status_code=201)
async def write(wish: NewReport, connection: Connection) -> dict[str, object]:
    """Write one."""
    done = await connection.execute(report.insert().values(**wish.model_dump()))
    return {"id": done.lastrowid, **wish.model_dump()}


@router.put("/{number}")
async def edit(number: int, wish: NewReport, connection: Connection) -> dict[str, object]:
    """Edit one that is not published yet."""
    query = select(report.c.state).where(report.c.id == number)
    if (await connection.execute(query)).scalar() == "published":
        raise ReportLocked(number)
    await connection.execute(report.update().where(report.c.id == number).values(title=wish.title))
    return {"id": number, **wish.model_dump()}
