"""The actions of repairs, as offered by `plugreg.PluginRegistry` and the command line."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, Final

from plugreg.repairs._values import RepairAction, Situation
from plugreg.repairs.codes import RepairCode

PAGE: Final = "operator/repairs.md"
"""The page of the documentation that explains the codes."""

_ROWS: Final = MappingProxyType(
    {
        "activate": ("activate", "Activate {0}", "activate {0}"),
        "deactivate": ("deactivate", "Deactivate {0}", "deactivate {0}"),
        "reset": ("reset", "Try {0} again", "reset {0}"),
        "close_everywhere": (
            *("reset-everywhere", "Close the circuit of {0} in all processes", "reset {0}"),
        ),
        "reload": ("reload", "Reload", "reload"),
        "reload_everywhere": ("reload", "Reload all processes", "reload"),
        "probe": ("probe", "Probe {0}", "probe {0}"),
        # These ask for consent first, or for a value, so that only the command line has them.
        "install": ("install", "Install {0}", "install {0}"),
        "upgrade": ("upgrade", "Upgrade {1}", "upgrade {0}"),
        "uninstall": ("uninstall", "Uninstall {0}", "uninstall {0}"),
        "set": ("set", "Set {1}", "settings {0} set {1}"),
        "set_aside": ("set-aside", "Set {0}:{1} aside", "store repair --set-aside {0}:{1}"),
        "rollback": ("rollback", "Roll back", "rollback"),
        "sync": ("sync", "Synchronize", "sync"),
        "forget": ("forget", "Delete stored values of {0}", "settings {0} unset"),
        "show": ("show", "Show failures of {0}", "errors {0} --traceback"),
    }
)
"""Name, label and command line of each action, with its subjects as numbers."""

_INSTALLING: Final = ("install", "upgrade", "uninstall")


class Actions:
    """Makes actions that run operations of a registry.

    Args:
        registry: The registry.
        situation: The situation, which decides whether an action is possible.
    """

    def __init__(self, registry: Any, situation: Situation) -> None:
        self._situation = situation
        self._runs: Mapping[str, Callable[..., object]] = {
            "activate": registry.activate,
            "deactivate": registry.deactivate,
            "reset": registry.reset,
            "close_everywhere": partial(registry.shared.ask, "reset"),
            "reload": partial(registry.reload, collect=True),
            "reload_everywhere": partial(registry.shared.reload_everywhere, collect=True),
            "probe": registry.probe,
            "forget": registry.config.forget_values,
        }

    def __call__(
        self, row: str, *subjects: str, label: str = "", keys: frozenset[str] | None = None
    ) -> RepairAction | None:
        """Return the action of a row, None where the host could not carry it out.

        Args:
            row: Name of the row.
            *subjects: The plugin, distribution or key that it is about.
            label: Another label than that of the row.
            keys: Keys of settings, for an action on several of them.
        """
        if row in _INSTALLING and not self._situation.can_install:
            return None
        known = self._situation.snapshot.plugins.get(subjects[0]) if subjects else None
        if row == "deactivate" and known is not None and known.is_mandatory:
            return None
        name, usual, command = _ROWS[row]
        words = [word.format(*subjects) for word in command.split()]
        run = self._runs.get(row)
        return RepairAction(
            name=name,
            label=label or usual.format(*subjects),
            run=run and partial(run, *subjects, *(() if keys is None else [keys])),
            command=shlex.join(["plugreg", *words, *sorted(keys or ())]),
        )


def read_about(row: RepairCode) -> RepairAction:
    """Return the address at which a code is explained.

    Args:
        row: The code.
    """
    url = f"{PAGE}#{row.code.lower()}"
    return RepairAction(name="read", label=f"Read about {row.code}", url=url)
