"""Entry points that libraries import by themselves, for inactive plugins too."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from plugreg.install.environment import Found


class _Loader(NamedTuple):
    library: str
    when: str


LOADED_BY: Final[Mapping[str, _Loader]] = MappingProxyType(
    {
        "flask.commands": _Loader("flask", "at each of its commands"),
        "hypothesis": _Loader("hypothesis", "when it is imported itself"),
        "keyring.backends": _Loader("keyring", "when it looks for a password, within pip too"),
        "numba_extensions": _Loader("numba", "with the first function that it compiles"),
        "opentelemetry_context": _Loader("opentelemetry-api", "when it is imported itself"),
        "opentelemetry_instrumentor": _Loader(
            "opentelemetry-instrumentation", "at the start of a program that it instruments"
        ),
        "pydantic": _Loader("pydantic", "with the first model of a process"),
        "pytest11": _Loader("pytest", "at each start"),
        "torch.backends": _Loader("torch", "when it is imported itself"),
    }
)
"""Groups of which a library imports all that are installed, or the first, without being asked.

Groups of which a user names one to be imported (``sqlalchemy.dialects``, ``console_scripts``) are
not here, nor those of setuptools: installers build where nothing else is installed.
"""


def loaded_groups(found: Found, group: str) -> tuple[str, ...]:
    """Return the groups in LOADED_BY of which a distribution has entry points, sorted.

    Args:
        found: The distribution. What belongs to the library itself is left out.
        group: The group of the registry's plugins, which is left out as well.
    """
    from importlib.metadata import Distribution

    groups = {entry_point.group for entry_point in Distribution.at(found.path).entry_points}
    return tuple(
        name
        for name, loader in LOADED_BY.items()
        if name in groups and name != group and loader.library != found.name
    )
