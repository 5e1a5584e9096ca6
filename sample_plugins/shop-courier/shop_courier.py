"""Typed settings, and an upgrade that takes along what was stored before.

``type`` is any type that pydantic knows, with its limits; it converts, checks, and makes the JSON
Schema of forms. Version 1.0 of this plugin kept its postcodes as one text, ``AREA``. Version 2.0
has a list of them, so ``SETTINGS_VERSION`` is 2 and ``migrate_settings`` makes the one of the
other. Settings without types are in shop-greeting.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from plugreg import Plugin, hookimpl
from plugreg.mixins import SettingsMixin


class Courier(SettingsMixin, Plugin):
    """Says on each receipt where parcels are brought to."""

    SETTINGS_VERSION = 2
    SETTINGS = {
        "PARCELS": {"name": "Parcels a day", "type": Annotated[int, Field(ge=1)], "default": 40},
        "VEHICLE": {"name": "Vehicle", "type": Literal["bicycle", "van"], "default": "bicycle"},
        "POSTCODES": {"name": "Where parcels are brought to", "type": list[str], "default": []},
        "TOKEN": {"name": "Token of the courier's service", "protected": True},
    }
    USER_SETTINGS = {
        "DOORSTEP": {"name": "Leave parcels on the doorstep", "type": bool, "default": False},
    }

    def migrate_settings(
        self, values: dict[str, Any], version: int, user: int | None = None
    ) -> Mapping[str, Any]:
        # Settings of users are as they were. An area was never set by everybody.
        area = values.pop("AREA", None)
        if area is not None:
            values["POSTCODES"] = [each.strip() for each in area.split(",") if each.strip()]
        return values

    @hookimpl
    def receipt_line(self) -> str | None:
        postcodes = self.get_setting("POSTCODES")
        if not postcodes:
            return None
        return f"Brought to {', '.join(postcodes)} by {self.get_setting('VEHICLE')}."
