"""Something to look at: UI features, and a panel of its own in the admin pages.

A plugin says what it shows as data. The host's interface decides where and how; ``source`` and
``ADMIN_SOURCE`` name the scripts that draw it there. They are files of the folder ``static`` beside
this one, of which a host serves nothing while the plugin is off.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from plugreg import Plugin
from plugreg.mixins import UserInterfaceMixin


class Dashboard(UserInterfaceMixin, Plugin):
    """Takings on the dashboard, and a panel beside each item."""

    TITLE = "Takings"
    ADMIN_SOURCE = "admin.js"

    def get_ui_dashboard_items(
        self, request: Any, context: Mapping[str, Any], **kwargs: Any
    ) -> Iterable[Mapping[str, Any]]:
        yield {"key": "today", "title": "Takings today", "options": {"width": 3, "height": 2}}

    def get_ui_panels(
        self, request: Any, context: Mapping[str, Any], **kwargs: Any
    ) -> Iterable[Mapping[str, Any]]:
        # ``context`` are the parameters of the page. Who asks stands in ``request.actor``.
        if context.get("item"):
            yield {
                "key": "sales",
                "title": f"Sales of {context['item']}",
                "source": "/static/plugins/dashboard/sales.js",
                "context": {"item": context["item"]},
            }

    def get_admin_context(self) -> dict[str, Any]:
        """Return what admin.js is given: anything that JSON can hold."""
        return {"currency": "EUR"}
