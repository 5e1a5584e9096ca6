"""The capability to receive events of the host."""

# The defaults have no use for the arguments that a plugin's own methods get.
# ruff: noqa: ARG002

from __future__ import annotations

from typing import Any

from plugreg.mixins._spec import MixinSpec


class EventMixin:
    """For plugins that act on events.

    A host chooses and documents the names of its events. plugreg's own are ``plugins_loaded``,
    ``plugin_activated``, ``plugin_installed``, ``plugin_uninstalled`` and
    ``plugin_setting_changed`` (see :class:`plugreg.events.Events`). Their arguments come by
    keyword, and later versions may add some.
    """

    def wants_process_event(self, event: str) -> bool:
        """Return whether the plugin wants this event. It must be quick.

        It is called before each event, in the thread that emits. Other results than True and
        False count by their ``bool()``. If it raises, that is a failure record, and only the
        other plugins get the event.

        Args:
            event: Name of the event.
        """
        return True

    def process_event(self, event: str, *args: Any, **kwargs: Any) -> None:
        """Act on an event. The plugin must implement it.

        The host decides in which thread or process it is called, and when. With a queue it may be
        called twice for an event, and it is called again after an exception. It may use the
        registry; a reload that it starts during another reload runs after it.

        Args:
            event: Name of the event.
            *args: Positional arguments of the event.
            **kwargs: Keyword arguments of the event.

        Raises:
            NotImplementedError: If the plugin does not implement it.
        """
        raise NotImplementedError(
            f"plugin class {type(self).__name__!r} must implement "
            f"process_event(event, *args, **kwargs)"
        )


SPEC = MixinSpec(key="events", human_name="Events", cls=EventMixin, switch="events")
