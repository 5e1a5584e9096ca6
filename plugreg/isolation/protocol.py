"""The messages between the host and the process of an isolated plugin.

A call has a line of its own, on which one side speaks at a time: the host sends a request, and the
plugin's process answers. A request is ``number name version`` and a line break, then its value;
``name`` is that of a function, and ``version`` that of the settings that the plugin must know by
then. An answer is ``number kind`` and a line break, then its value. Everything else goes over the
control line, as JSON.

Requests that carry objects are pickled by the host; the host itself unpickles nothing that comes
from the plugin, unless it trusts the plugin with that.
"""

from __future__ import annotations

import io
import pickle
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from typing import Any, Final

from plugreg._support.frozen import NamedTuple
from plugreg.records import HostRules, PluginSpec

LOAD: Final = ".load"
BEGIN: Final = ".begin"
"""The names of the first two requests, which no function of a plugin has."""

VALUE: Final = b"value"
ERROR: Final = b"error"
"""The kinds of answers."""


class LoadRequest(NamedTuple):
    """The data with which the process imports and constructs the plugin.

    ``mixins`` are the capabilities: key, module and qualified name of the class, and the methods
    that are called from the host, None for a capability that cannot be isolated. ``level`` is that
    of the host's logger.
    """

    spec: PluginSpec
    rules: HostRules
    host: str
    implicit_prefix: str | None
    mixins: tuple[tuple[str, str, str, tuple[str, ...] | None], ...]
    construct: Callable[..., Any] | None
    memory: int | None
    cpu_seconds: float | None
    level: int


class Mirrored(NamedTuple):
    """The values of the plugin as they are in the host: stored settings, and metadata."""

    version: int | None
    values: Mapping[int | None, Mapping[str, tuple[Any, ...]]]
    metadata: Mapping[str, Any]


class BeginRequest(NamedTuple):
    """The data with which the process serves: types, values, and overrides of the host.

    ``signatures`` has the kind of the codec of each function by name, and its pickled arguments.
    """

    signatures: Mapping[str, tuple[str, bytes]]
    files: Mapping[str, str]
    overrides: Mapping[str, Any]
    mirrored: Mirrored


def request(number: int, name: str, version: int, value: bytes) -> bytes:
    """Return the message of a request."""
    return b"%d %b %d\n%b" % (number, name.encode(), version, value)


def answer(number: bytes, kind: bytes, value: bytes) -> bytes:
    """Return the message of an answer to the request of that number."""
    return b"%b %b\n%b" % (number, kind, value)


class TypeReader(pickle.Unpickler):
    """Unpickles types. A module that cannot be imported by its name is run from its file.

    That is the way to the types of a program or a test, whose folder is not on ``sys.path``.

    Args:
        data: The pickled value.
        files: The files of modules by name.
    """

    def __init__(self, data: bytes, files: Mapping[str, str]) -> None:
        super().__init__(io.BytesIO(data))
        self._files = files

    def find_class(self, module_name: str, global_name: str) -> Any:
        """Return the attribute of a module."""
        try:
            import_module(module_name)
        except ModuleNotFoundError:
            spec = spec_from_file_location(module_name, self._files.get(module_name))
            if spec is None or spec.loader is None:
                raise
            module = sys.modules[module_name] = module_from_spec(spec)
            try:
                spec.loader.exec_module(module)
            except BaseException:
                del sys.modules[module_name]
                raise
        return super().find_class(module_name, global_name)
