"""Notifications over HTTP: one's devices, preferences, saved listings, and what came.

In: requests whose lifespan state carries an `AsyncEngine` as `db`, and which a gate let pass, so that
their principal is known. Out: `router`. Refused: what the schemas refuse, as FastAPI's 422; a device or
listing that is not there, as 404; a request that has passed no gate, as 401.
"""

from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Request

from components.estate import notifications
from components.estate.api import Reading, Writing
from components.estate.notification_schemas import (
    DeviceIn,
    DeviceList,
    DeviceOut,
    NewsKind,
    NotificationList,
    PreferenceIn,
    Preferences,
    RecipientSettings,
    SavedList,
)
from components.estate.schemas import ListingId
from components.mcp.principal import principal_of


def _owner(request: Request) -> str:
    try:
        return principal_of(request).id
    except PermissionError as error:
        raise HTTPException(401, "log in to see or change this") from error


Owner = Annotated[str, Depends(_owner)]

router = APIRouter(prefix="/me", tags=["notifications"])


@router.get("/notifications", summary="List your notifications")
async def list_notifications(session: Reading, owner: Owner) -> NotificationList:
    """The latest, the newest first, and what became of each."""
    return await notifications.latest(session, owner)


@router.get("/devices", summary="List your devices")
async def list_devices(session: Reading, owner: Owner) -> DeviceList:
    return await notifications.devices_of(session, owner)


@router.post("/devices", summary="Register a device", status_code=201)
async def add_device(wanted: DeviceIn, session: Writing, owner: Owner) -> DeviceOut:
    """Its token is deleted again when the push service says that the device is gone."""
    return await notifications.add_device(session, owner, wanted)


@router.delete(
    "/devices/{device_id}",
    summary="Remove a device",
    status_code=204,
    responses={404: {"description": "No such device"}},
)
async def remove_device(device_id: ListingId, session: Writing, owner: Owner) -> None:
    if not await notifications.remove_device(session, owner, device_id):
        raise HTTPException(404, "no such device")


@router.get("/settings", summary="Read when and where you may be reached")
async def read_settings(session: Reading, owner: Owner) -> RecipientSettings:
    return await notifications.settings_of(session, owner)


@router.put("/settings", summary="Say when and where you may be reached")
async def write_settings(
    wanted: RecipientSettings, session: Writing, owner: Owner
) -> RecipientSettings:
    """Quiet hours and the time of digests are by the clocks of `timezone`."""
    await notifications.set_settings(session, owner, wanted)
    return wanted


@router.get("/preferences", summary="Read how you hear of news")
async def read_preferences(session: Reading, owner: Owner) -> Preferences:
    return await notifications.preferences_of(session, owner)


@router.put("/preferences/{kind}", summary="Say how you hear of one kind of news")
async def write_preference(
    kind: NewsKind, wanted: PreferenceIn, session: Writing, owner: Owner
) -> PreferenceIn:
    await notifications.set_preference(session, owner, kind, wanted)
    return wanted


@router.get("/saved", summary="List the listings that you saved")
async def list_saved(session: Reading, owner: Owner) -> SavedList:
    return await notifications.saved_of(session, owner)


@router.put(
    "/saved/{listing_id}",
    summary="Save a listing",
    status_code=204,
    responses={404: {"description": "No such listing is on offer"}},
)
async def save_listing(listing_id: ListingId, session: Writing, owner: Owner) -> None:
    """You are told when its price drops."""
    if not await notifications.save_listing(session, owner, listing_id):
        raise HTTPException(404, "no such listing is on offer")


@router.delete("/saved/{listing_id}", summary="Forget a saved listing", status_code=204)
async def forget_listing(listing_id: ListingId, session: Writing, owner: Owner) -> None:
    await notifications.forget_listing(session, owner, listing_id)
