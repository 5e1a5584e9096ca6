"""Isolated plugins: each runs in a process of its own, and costs itself alone.

``PluginRegistry(isolate={"courier": Isolated(timeout=5.0)})``. Nothing of an isolated plugin is
imported in the host.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from plugreg._support import lazy_names
from plugreg.exceptions import PluginNotBoundError

if TYPE_CHECKING:
    from collections.abc import Callable

    from plugreg.isolation.options import Isolated
    from plugreg.isolation.records import ProcessInfo
    from plugreg.plugin import Plugin
else:
    # The process of a plugin needs neither.
    __getattr__ = lazy_names(__name__, {"options": "Isolated", "records": "ProcessInfo"})


__all__ = ["Isolated", "ProcessInfo", "call_host"]


def call_host(plugin: Plugin, hook: Callable[..., Any] | str, /, **arguments: Any) -> list[Any]:
    """Call a hook of the host from an isolated plugin.

    Args:
        plugin: The plugin, for itself.
        hook: The spec function, or the hook's name. The host allows it with
            ``Isolated(may_call=)``.
        **arguments: Arguments of the hook, as data.

    Returns:
        The results that are not None, as `PluginRegistry.call` returns them.

    Raises:
        IsolationError: If the host does not allow it.
        PluginNotBoundError: If the plugin is not isolated, or not in service.
    """
    context = getattr(plugin, "_plugreg_context", None)
    call = getattr(context, "call_host", None)
    if call is None:
        raise PluginNotBoundError(type(plugin).__name__)
    results: list[Any] = call(str(getattr(hook, "__name__", hook)), arguments)
    return results
