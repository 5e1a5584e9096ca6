"""The actions of repairs: each is what `plugreg.PluginRegistry` and the command line offer."""

from __future__ import annotations

import shlex
from functools import partial
from typing import Final

from plugreg.repairs._values import Operations, RepairAction

PAGE: Final = "operator/repairs.md"
"""The page of the documentation that explains the codes."""


class Actions:
    """Makes actions that run operations of one registry."""

    def __init__(self, do: Operations) -> None:
        self._do = do

    def activate(self, slug: str) -> RepairAction:
        """Return the action that switches a plugin on."""
        return _action(
            "activate", f"Activate {slug}", "activate", slug, run=partial(self._do.activate, slug)
        )

    def deactivate(self, slug: str) -> RepairAction:
        """Return the action that switches a plugin off."""
        run = partial(self._do.deactivate, slug)
        return _action("deactivate", f"Deactivate {slug}", "deactivate", slug, run=run)

    def reset(self, slug: str, label: str = "Try {} again") -> RepairAction:
        """Return the action that tries a plugin again, and closes its circuit."""
        run = partial(self._do.reset, slug)
        return _action("reset", label.format(slug), "reset", slug, run=run)

    def reset_everywhere(self, slug: str) -> RepairAction:
        """Return the action that has all processes close the circuit of a plugin."""
        label = f"Close the circuit of {slug} in all processes"
        return _action("reset", label, "reset", slug)

    def reload(self) -> RepairAction:
        """Return the action that looks for plugins again in this process."""
        return _action("reload", "Reload", "reload", run=self._do.reload)

    def reload_everywhere(self) -> RepairAction:
        """Return the action that has all processes reload."""
        return _action("reload", "Reload all processes", "reload", run=self._do.reload_everywhere)

    def probe(self, slug: str) -> RepairAction:
        """Return the action that loads a plugin in a child process."""
        return _action("probe", f"Probe {slug}", "probe", slug, run=partial(self._do.probe, slug))

    def install(self, distribution: str) -> RepairAction:
        """Return the action that installs a distribution, which asks for consent first."""
        return _action("install", f"Install {distribution}", "install", distribution)

    def upgrade(self, slug: str, distribution: str) -> RepairAction:
        """Return the action that upgrades a plugin, which asks for consent first."""
        return _action("upgrade", f"Upgrade {distribution}", "upgrade", slug)

    def uninstall(self, slug: str) -> RepairAction:
        """Return the action that uninstalls a plugin, which asks for consent first."""
        return _action("uninstall", f"Uninstall {slug}", "uninstall", slug)

    def set_value(self, slug: str, key: str) -> RepairAction:
        """Return the action that sets a setting, whose value is the operator's to give."""
        return _action("set", f"Set {key}", "settings", slug, "set", key)

    def forget_values(self, slug: str, keys: frozenset[str]) -> RepairAction:
        """Return the action that deletes stored values."""
        run = partial(self._do.forget_values, slug, keys)
        words = ["settings", slug, "unset", *sorted(keys)]
        return _action("forget", f"Delete stored values of {slug}", *words, run=run)

    def set_aside(self, table: str, key: str) -> RepairAction:
        """Return the action that takes a damaged row out of the store, and keeps a copy."""
        row = f"{table}:{key}"
        return _action("set-aside", f"Set {row} aside", "store", "repair", "--set-aside", row)

    def rollback(self) -> RepairAction:
        """Return the action that goes back to the generation before."""
        return _action("rollback", "Roll back", "rollback")

    def sync(self) -> RepairAction:
        """Return the action that installs what the plugins file lists."""
        return _action("sync", "Synchronize", "sync")

    def show(self, slug: str) -> RepairAction:
        """Return the action that shows a plugin's failures with their tracebacks."""
        return _action("show", f"Show failures of {slug}", "errors", slug, "--traceback")

    def read(self, code: str) -> RepairAction:
        """Return the address at which a code is explained."""
        url = f"{PAGE}#{code.lower()}"
        return RepairAction(name="read", label=f"Read about {code}", url=url)


def _action(name: str, label: str, *words: str, run: object = None) -> RepairAction:
    command = shlex.join(["plugreg", *words])
    return RepairAction(name=name, label=label, run=run, command=command)  # type: ignore[arg-type]
