"""The isolated plugins of a registry, made from its parts."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from plugreg._lifecycle.assembly import Assembly, MakeIsolation
from plugreg._support.guard import safe_repr
from plugreg._support.slugs import slugify
from plugreg.install.generations import isolated_folders
from plugreg.isolation.options import Isolated
from plugreg.isolation.plugins import HostParts, IsolatedPlugins


def isolation_of(isolate: Any, environment: Path | None) -> MakeIsolation:
    """Return the factory of the isolated plugins of a registry.

    Args:
        isolate: The argument of `plugreg.PluginRegistry`.
        environment: The folder of the installer, or None.

    Raises:
        TypeError: If it is neither an `Isolated` nor a mapping of slugs to such.
    """
    given = isolate if isinstance(isolate, Isolated) else _by_slug(isolate)

    def make(parts: Assembly) -> IsolatedPlugins:
        return IsolatedPlugins(
            given,
            dict if environment is None else partial(isolated_folders, environment),
            HostParts(
                host=parts.options.host,
                rules=parts.rules,
                mixins=parts.mixins,
                manager=parts.calling.manager,
                settings=parts.settings,
                plugin_rows=parts.plugin_rows,
                construct=parts.options.construct,
                call=parts.calling.dispatch.call,
            ),
        )

    return make


def _by_slug(isolate: Any) -> dict[str, Isolated]:
    if not isinstance(isolate, Mapping):
        raise TypeError(
            f"isolate must be an Isolated, or a dict of slug to Isolated, not {safe_repr(isolate)}"
        )
    found: dict[str, Isolated] = {}
    for slug, options in isolate.items():
        if not isinstance(slug, str) or not isinstance(options, Isolated):
            raise TypeError(
                f"isolate[{safe_repr(slug)}] must be an Isolated, not {safe_repr(options)}"
            )
        found[slugify(slug)] = options
    return found
