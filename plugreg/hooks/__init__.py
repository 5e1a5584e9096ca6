"""Hooks on pluggy: the markers, plugreg's own specs, and the manager.

No other folder uses pluggy. :class:`PluginManager` is a drop-in for ``pluggy.PluginManager``.
Beyond it, there is :meth:`~PluginManager.exchange`: many plugins' implementations leave and arrive
with one assignment for each hook, so that a caller in another thread sees the old set or the new
set.

This needs private names of pluggy: ``HookCaller._hookimpls``, ``_hookexec``, ``_call_history`` and
``_maybe_apply_history``, ``PluginManager._name2plugin`` and ``_verify_hook``, and two helpers. A
test holds their meaning for each supported version.
"""

from typing import TYPE_CHECKING

from pluggy import HookCallError, PluginValidationError

from plugreg._support import lazy_names
from plugreg.hooks._specs import PlugregSpecs, hookimpl, hookspec

if TYPE_CHECKING:
    from plugreg.hooks._found import FoundHook, HookFinder
    from plugreg.hooks._manager import PluginManager
    from plugreg.hooks._order import Position
    from plugreg.hooks._rows import ASYNC_TWIN, AsyncOnly, BothWays, Implementations, Row, refuse
    from plugreg.hooks._subset import HookSubset
    from plugreg.hooks._tables import HookTable, Keep
else:
    # A plugin's module needs the markers alone.
    __getattr__ = lazy_names(
        __name__,
        {
            "_found": "FoundHook HookFinder",
            "_manager": "PluginManager",
            "_order": "Position",
            "_rows": "ASYNC_TWIN AsyncOnly BothWays Implementations Row refuse",
            "_subset": "HookSubset",
            "_tables": "HookTable Keep",
        },
    )

__all__ = [
    "ASYNC_TWIN",
    "AsyncOnly",
    "BothWays",
    "FoundHook",
    "HookCallError",
    "HookFinder",
    "HookSubset",
    "HookTable",
    "Implementations",
    "Keep",
    "PluginManager",
    "PluginValidationError",
    "PlugregSpecs",
    "Position",
    "Row",
    "hookimpl",
    "hookspec",
    "refuse",
]
