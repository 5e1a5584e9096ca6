"""Events: hear of what happens in the shop, and choose what to hear of.

The journal lives as long as the plugin is active: made when it is activated, gone afterwards.
"""

from typing import Any

from plugreg import Plugin, hookimpl
from plugreg.mixins import EventMixin


class Audit(EventMixin, Plugin):
    """A journal of what is sold."""

    @hookimpl
    def plugreg_activated(self) -> None:
        # Better here than in a constructor: settings can be read, and a fault is told by its stage.
        self.journal: list[str] = []

    def wants_process_event(self, event: str) -> bool:
        return event.startswith("item.")

    def process_event(self, event: str, *args: Any, **kwargs: Any) -> None:
        self.journal.append(f"{event}: {kwargs['item']}")
