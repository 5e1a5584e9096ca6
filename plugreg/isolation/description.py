"""The description of a plugin that its process sends to the host, as data."""

from __future__ import annotations

import inspect
import os
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from plugreg._support.guard import Guard
from plugreg._support.imported import named, package_files
from plugreg.hooks import FoundHook
from plugreg.isolation.codec import Codec, DataCodec
from plugreg.isolation.data import to_data
from plugreg.plugin import Plugin
from plugreg.records import LoadedPlugin

Answer = Callable[[bytes], bytes | Awaitable[bytes]]
"""Takes the bytes of arguments, and returns those of the result."""

_ADMIN: Final = ("get_admin_source", "get_admin_context")
"""Methods of each plugin that the host calls."""

_FACTS: Final = ("name", "title", "version", "description", "author", "website", "license")
"""Fields of a loaded plugin that are strings."""

_is_async: Final = inspect.iscoroutinefunction

_NOT_DATA: Final = frozenset({"SETTINGS", "USER_SETTINGS", "PUBLISH_DATE"})
"""Attributes that are sent in another way."""

if TYPE_CHECKING:
    Mixins = Sequence[tuple[str, str, str, tuple[str, ...] | None]]
    """Of each capability: key, module and qualified name of the class, methods for the host."""


def describe_hooks(
    found: Iterable[FoundHook],
) -> tuple[list[dict[str, Any]], dict[str, Callable[..., Any]]]:
    """Return a row for each hook implementation, and their functions by attribute."""
    rows, functions = [], {}
    for name, hook, impl, is_implicit in found:
        functions[name] = impl.function
        rows.append(
            {
                "name": name,
                "hook": hook,
                "arguments": [*impl.argnames],
                "optional": [*impl.kwargnames],
                "is_async": _is_async(impl.function) or inspect.isasyncgenfunction(impl.function),
                "is_wrapper": bool(impl.wrapper or impl.hookwrapper),
                "is_implicit": is_implicit,
                "options": {
                    key: list(value) if isinstance(value, tuple) else value
                    for key, value in impl.opts.items()
                    if key in ("optionalhook", "tryfirst", "trylast", "before", "after")
                },
            }
        )
    return rows, functions


class Capable:
    """The capabilities of plugins: those of a class, and their functions.

    Args:
        mixins: The host's table.
    """

    def __init__(self, mixins: Mixins) -> None:
        self._mixins = mixins

    def keys_of(self, cls: type) -> list[str]:
        """Return the keys of the capabilities of a class; no module is imported for that."""
        return [key for key, _, _ in self._of(cls)]

    def methods_of(self, plugin: Any) -> dict[str, tuple[str, ...]]:
        """Return the methods that the host may call, by capability."""
        found = {}
        for key, mixin, remote in self._of(type(plugin)):
            if remote is None:
                continue
            names = [name for name in remote if _is_own(plugin, mixin, name)]
            if key == "validation":
                prefixes = ("validate_", "generate_")
                names = [name for name in dir(type(plugin)) if name.startswith(prefixes)]
            elif key == "schedule":
                names += _task_methods(plugin)
            found[key] = tuple(dict.fromkeys(names))
        return found

    def attributes_of(self, plugin: Any) -> dict[str, Any]:
        """Return the data that the plugin states for its capabilities."""
        names = [name for name in dir(Plugin) if name.isupper()] if _is_plugin(plugin) else []
        for _, mixin, remote in self._of(type(plugin)):
            if remote is not None:
                names += [name for name in dir(mixin) if name.isupper()]
        found = {}
        for name in dict.fromkeys(names):
            if name in _NOT_DATA:
                continue
            value = getattr(plugin, name, None)
            found[name] = to_data(name, name, value)
        return found

    def answers(self, plugin: Any, codecs: Mapping[str, Codec]) -> dict[bytes, Answer]:
        """Return the functions for calls of methods, tasks and settings' functions."""
        methods = [(k, name) for k, names in self.methods_of(plugin).items() for name in names]
        if _is_plugin(plugin):
            methods += [("base", name) for name in _ADMIN]
        found = {f"{key}.{name}": _method(plugin, name) for key, name in methods}
        if has_settings(type(plugin)):
            from plugreg.isolation.setting_data import definition_functions
            from plugreg.settings.definition import call_with_accepted

            for name, function in definition_functions(plugin).items():
                found[name] = partial(call_with_accepted, function)
        return {
            name.encode(): answering(function, codecs.get(name) or DataCodec(name))
            for name, function in found.items()
        }

    def _of(self, cls: type) -> Iterator[tuple[str, type, tuple[str, ...] | None]]:
        for key, module, qualname, remote in self._mixins:
            mixin = named(module, qualname)
            if isinstance(mixin, type) and mixin is not object and issubclass(cls, mixin):
                yield key, mixin, remote


def describe_plugin(loaded: LoadedPlugin, capable: Capable) -> dict[str, Any]:
    """Return the data for the host's stand-in for the plugin."""
    plugin = loaded.plugin
    cls = plugin if isinstance(plugin, type) else type(plugin)
    settings: dict[str, Any] = {}
    if has_settings(type(plugin)):
        from plugreg.isolation.setting_data import definitions_to_data

        settings = definitions_to_data(plugin)
    is_plugin = _is_plugin(plugin)
    methods: dict[str, Iterable[str]] = {**capable.methods_of(plugin)}
    methods["base"] = [name for name in _ADMIN if is_plugin and _is_own(plugin, Plugin, name)]
    return {
        "class": cls.__qualname__,
        "is_plugin": is_plugin,
        "mixins": capable.keys_of(type(plugin)),
        "methods": {
            key: {name: _is_async(inspect.getattr_static(plugin, name, None)) for name in names}
            for key, names in methods.items()
        },
        "attributes": capable.attributes_of(plugin),
        "settings": settings,
        "folders": _folders(plugin),
        "loaded": {name: getattr(loaded, name) for name in _FACTS}
        | {"published": None if loaded.published is None else loaded.published.isoformat()},
    }


def has_settings(cls: type) -> bool:
    """Return whether a class can declare settings; a process without any imports nothing else."""
    mixin = named("plugreg.mixins.settings", "SettingsMixin")
    return mixin is not None and issubclass(cls, mixin)


def _is_plugin(plugin: Any) -> bool:
    return issubclass(type(plugin), Plugin)


def _is_own(plugin: Any, mixin: type, name: str) -> bool:
    """Return whether the plugin has its own attribute instead of the mixin's."""
    found = inspect.getattr_static(plugin, name, None)
    return found is not None and found is not inspect.getattr_static(mixin, name, None)


def _task_methods(plugin: Any) -> list[str]:
    from plugreg.mixins.schedule import parse_tasks

    with Guard():
        return [task.func for task in parse_tasks(plugin)[0] if task.is_method]
    return []


def _folders(plugin: Any) -> list[str]:
    with Guard():
        return [os.path.dirname(file) for file in package_files(plugin)]  # noqa: PTH120
    return []


def answering(function: Callable[..., Any], codec: Codec) -> Answer:
    """Return the function that takes and returns the bytes of a call."""
    unpack, pack = codec.unpack_call, codec.pack_result

    def answer(value: bytes) -> bytes:
        args, kwargs = unpack(value)
        return pack(function(*args, **kwargs))

    async def answer_later(value: bytes) -> bytes:
        args, kwargs = unpack(value)
        return pack(await function(*args, **kwargs))

    return answer_later if _is_async(function) else answer


def _method(plugin: Any, name: str) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        return _completed(getattr(plugin, name)(*args, **kwargs))

    return call


def _completed(value: Any) -> Any:
    """Run a coroutine of an async method to its end."""
    if inspect.iscoroutine(value):
        import asyncio

        return asyncio.run(value)
    return value
