"""Hooks on pluggy: the markers, plugreg's own specs, and the manager. No other room knows pluggy.

:class:`PluginManager` is a drop-in for ``pluggy.PluginManager``. What it adds is
:meth:`~PluginManager.exchange`: many plugins' implementations leave and arrive with one
assignment for each hook, so that a caller in another thread sees the old set or the new one.

pluggy keeps what is needed for this private: ``HookCaller._hookimpls``, ``_hookexec``,
``_call_history`` and ``_maybe_apply_history``, ``PluginManager._name2plugin`` and
``_verify_hook``, and three helpers. ``tests/test_pluggy_pin.py`` holds their meaning.
"""

from pluggy import HookCallError, PluginValidationError

from plugreg.hooks._loop import Keep
from plugreg.hooks._manager import PluginManager
from plugreg.hooks._order import Position
from plugreg.hooks._rows import Row, refuse
from plugreg.hooks._specs import PlugregSpecs, hookimpl, hookspec
from plugreg.hooks._tables import HookTable, Implementations

__all__ = [
    "HookCallError",
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
