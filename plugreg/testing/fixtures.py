"""The fixtures of pytest: hosts that are closed and judged at the end of a test."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from plugreg.testing.host import MakeRegistry, PluginHost

MakeHost = Callable[..., PluginHost]
"""``plugin_host(Hooks, Weather, settings={…}, …)``; see `PluginHost`."""


@contextmanager
def hosts(make_registry: MakeRegistry | None = None) -> Iterator[MakeHost]:
    """Yield a function that makes hosts, which are closed and judged at the end of the block.

    Environment variables of plugreg are not there meanwhile.

    Args:
        make_registry: Makes the registry of a host from keywords of `PluginRegistry`.
    """
    made: list[PluginHost] = []

    def plugin_host(
        *parts: Any,
        settings: Any = None,
        stored: Any = None,
        isolate: bool = False,
        residue: bool = True,
        host: str = "host",
        **options: Any,
    ) -> PluginHost:
        new = PluginHost(
            parts,
            make_registry=make_registry,
            host=host,
            settings=settings,
            stored=stored,
            isolate=isolate,
            residue=residue,
            options=options,
        )
        made.append(new)
        return new

    hidden = {name: os.environ.pop(name) for name in [*os.environ] if name.startswith("PLUGREG_")}
    try:
        yield plugin_host
    finally:
        faults = [fault for host in reversed(made) for fault in host.close()]
        os.environ.update(hidden)
    if faults:
        pytest.fail("\n".join(faults), pytrace=False)


def host_fixture(make_registry: MakeRegistry) -> Any:
    """Return the fixture ``plugin_host`` of a host, for the authors of its plugins.

    A host writes ``plugin_host = plugreg.testing.host_fixture(make_registry)`` in a module that
    authors import into their ``conftest.py``.

    Args:
        make_registry: Makes the host's registry from keywords of `PluginRegistry`, which it
            passes on; among them are ``storage``, ``builtin``, ``path`` and ``clock``.

    Returns:
        The fixture.
    """

    @pytest.fixture(name="plugin_host")
    def plugin_host() -> Iterator[MakeHost]:
        """Make hosts for plugins under test."""
        with hosts(make_registry) as make:
            yield make

    return plugin_host
