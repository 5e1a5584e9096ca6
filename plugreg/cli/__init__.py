"""The command line ``plugreg``, with the extra ``plugreg[cli]``.

`group` returns the same commands as a click group, for a host's own command line. `main` is the
program. Importing this package imports neither click nor a registry.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    import click

    from plugreg.registry import PluginRegistry

__all__ = ["group", "main"]


def group(
    registry_or_factory: PluginRegistry | Callable[[], PluginRegistry] | None = None,
    *,
    name: str = "plugreg",
) -> click.Group:
    """Return the commands as a click group, to be added to the command line of a host.

    A registry that was passed is not loaded, closed or changed: each command opens another with
    its options, in safe mode. Nothing of a plugin is imported.

    Args:
        registry_or_factory: A registry, or a function without parameters that returns a registry.
            None leaves the choice to ``--app``, as the program does.
        name: Name of the group.

    Raises:
        MissingExtraError: If click is not installed.
    """
    try:
        from plugreg.cli.root import Root
    except ImportError as error:
        from plugreg.exceptions import MissingExtraError

        raise MissingExtraError.of(error, "the command line", "click", "cli") from error
    return Root(registry_or_factory, name=name)


def main() -> NoReturn:
    """Run the program ``plugreg`` with the arguments of the process, and end it."""
    from plugreg.exceptions import MissingExtraError

    try:
        group().main(prog_name="plugreg")
    except MissingExtraError as error:
        print(f"plugreg: {error}", file=sys.stderr)
        sys.exit(5)
    sys.exit(0)
