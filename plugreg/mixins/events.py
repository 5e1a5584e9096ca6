"""The capability to hear of what happens in the host (behaviour.md, section 14)."""

# The defaults have no use for the arguments that a plugin's own methods get.
# ruff: noqa: ARG002

from __future__ import annotations

from typing import Any

from plugreg.mixins._spec import MixinSpec


class EventMixin:
    """For plugins that act on events. The names of events are free."""

    def wants_process_event(self, event: str) -> bool:
        """Tell whether the plugin wants this event; called before each, so be quick."""
        return True

    def process_event(self, event: str, *args: Any, **kwargs: Any) -> None:
        """Act on an event, whose arguments are its own. To be implemented by the plugin."""
        raise NotImplementedError(
            f"plugin class {type(self).__name__!r} must implement "
            f"process_event(event, *args, **kwargs)"
        )


SPEC = MixinSpec(key="events", human_name="Events", cls=EventMixin, switch="events")
