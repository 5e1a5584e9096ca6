"""The capability to hear of what happens in the host (behaviour.md, section 14)."""

# The defaults have no use for the arguments that a plugin's own methods get.
# ruff: noqa: ARG002

from __future__ import annotations

from typing import Any

from plugreg.mixins._spec import MixinSpec


class EventMixin:
    """For plugins that act on events.

    The names of events are free: a host emits what it likes, and says what it is. plugreg's own
    are ``plugins_loaded``, ``plugin_activated``, ``plugin_installed``, ``plugin_uninstalled`` and
    ``plugin_setting_changed`` (see :class:`plugreg.events.Events`). Their arguments come by
    keyword, and may become more.
    """

    def wants_process_event(self, event: str) -> bool:
        """Tell whether the plugin wants this event; called before each, so be quick.

        It is called in the thread that emits. What is neither True nor False counts as ``bool()``
        of it does; an exception is a failure record, and the event goes to the others only.
        """
        return True

    def process_event(self, event: str, *args: Any, **kwargs: Any) -> None:
        """Act on an event, whose arguments are its own. To be implemented by the plugin.

        The host decides in which thread or process it is called, and when; with a queue it may be
        called twice for one event, and after an exception it is called again. It may ask the
        registry for anything: a reload that it asks for while one is carried out comes after it.
        """
        raise NotImplementedError(
            f"plugin class {type(self).__name__!r} must implement "
            f"process_event(event, *args, **kwargs)"
        )


SPEC = MixinSpec(key="events", human_name="Events", cls=EventMixin, switch="events")
