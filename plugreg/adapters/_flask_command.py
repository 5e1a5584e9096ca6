"""``flask plugreg``, by the entry point of the group ``flask.commands``.

Flask finds it before it imports the app, so that the app can be imported in safe mode: a plugin
that ends its process at import does not end this command.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from plugreg.exceptions import MissingExtraError

try:
    import click
    from flask.cli import ScriptInfo
except ImportError as error:
    raise MissingExtraError.of(error, __name__, "flask") from error

if TYPE_CHECKING:
    from plugreg.registry import PluginRegistry
else:

    def __getattr__(name: str) -> object:
        # PEP 562: nothing is made by the import.
        if name != "command":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from plugreg.cli import group

        return group(registry_of_app)


EXTENSION = "plugreg"
"""The key of ``app.extensions`` under which blueprints keep their registries by name."""


def registry_of_app() -> PluginRegistry:
    """Import the app that Flask names, and return the registry of its first blueprint.

    Raises:
        UsageError: If the app cannot be found, or has no blueprint of plugreg.
    """
    from plugreg.cli.faults import unavailable

    app = click.get_current_context().ensure_object(ScriptInfo).load_app()
    registries: dict[str, PluginRegistry] = app.extensions.get(EXTENSION, {})
    for registry in registries.values():
        return registry
    raise unavailable(
        f"app {app.name!r} has no blueprint of plugreg",
        "register plugreg.adapters.flask.create_blueprint(registry) on it",
    )
