"""Entry points that libraries import by themselves, for inactive plugins too."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple


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
