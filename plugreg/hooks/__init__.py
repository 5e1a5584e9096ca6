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

from plugreg.hooks._specs import PlugregSpecs, hookimpl, hookspec

if TYPE_CHECKING:
    from pluggy import HookCallError, PluginValidationError

    from plugreg.hooks._found import FoundHook, HookFinder
    from plugreg.hooks._manager import PluginManager
    from plugreg.hooks._order import Position
    from plugreg.hooks._rows import ASYNC_TWIN, AsyncOnly, BothWays, Row, refuse
    from plugreg.hooks._tables import HookSubset, HookTable, Implementations, Keep
else:

    def __getattr__(name: str) -> object:
        # PEP 562: a plugin's module needs the markers alone.
        if name == "Position":
            from plugreg.hooks._order import Position

            return Position
        if name in ("FoundHook", "HookFinder"):
            from plugreg.hooks import _found

            return vars(_found)[name]
        if name in __all__:
            import pluggy

            from plugreg.hooks import _manager, _rows, _tables

            # All of them at once, because a program that uses one needs most of them.
            for module in (pluggy, _rows, _tables, _manager):
                own = vars(module)
                globals().update({name: own[name] for name in __all__ if name in own})
            return globals()[name]
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


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
