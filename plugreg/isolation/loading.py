"""Making an isolated plugin: its process, and the object that the host takes in for it."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final
from weakref import ref

from plugreg._support.guard import plain
from plugreg.exceptions import IsolationError, PluginNotActiveError
from plugreg.isolation.codec import Codec
from plugreg.isolation.options import Isolated
from plugreg.isolation.protocol import LoadRequest
from plugreg.isolation.remote import RemotePlugin
from plugreg.isolation.running import RemoteFunction
from plugreg.isolation.signatures import begin_request, hook_codec, method_codec, unsendable
from plugreg.isolation.standin import make_stand_in
from plugreg.mixins import KEYS, MixinSpec
from plugreg.records import EMPTY, LoadedPlugin, PluginSpec

if TYPE_CHECKING:
    from plugreg._lifecycle.assembly import Assembly
    from plugreg._lifecycle.binding import BoundContext

    Open = Callable[[BoundContext], None]
    """Gets a loaded plugin ready for service. Raises IsolationError and those of its process."""

_OWN: Final = "plugreg_"
_NEVER: Final = MappingProxyType(
    {
        "urls": "its URLs are objects of the host's framework",
        "plugreg_plugins": "it brings plugins, which are objects; give them entry points",
    }
)
"""The capability and the hook that return objects, with the reason of the refusal."""


def make_remote(spec: PluginSpec, options: Isolated, parts: Assembly) -> RemotePlugin:
    """Return the remote of a plugin, whose process is not started yet.

    Raises IsolationError if another process could not make the plugin.
    """
    from plugreg._probe.prober import by_name

    slug, named, construct = spec.slug, by_name(spec), parts.options.construct
    if named is None:
        raise IsolationError(
            slug,
            "it was given as an object, and another process can only import what has a name; "
            "give it as 'module:attribute'",
        )
    if construct is not None:
        try:
            pickle.dumps(construct)
        except Exception:  # noqa: BLE001 - pickle raises whatever the object does
            raise IsolationError(
                slug, "the host's construct= has no name that its process could import"
            ) from None
    request = LoadRequest(
        spec=named,
        rules=parts.rules,
        host=parts.options.host,
        implicit_prefix=parts.calling.manager.implicit_prefix,
        mixins=tuple(
            (mixin.key, mixin.cls.__module__, mixin.cls.__qualname__, _remote_methods(mixin))
            for mixin in sorted(parts.mixins.all(), key=lambda mixin: mixin.order)
        ),
        construct=construct,
        # On Windows the host limits it; see `plugreg.isolation.systems`.
        memory=None if sys.platform == "win32" else options.memory,
        cpu_seconds=options.cpu_seconds,
        level=0,
    )
    reference = ref(parts)

    def alive() -> Assembly:
        found = reference()
        if found is None:
            raise PluginNotActiveError(slug, "inactive")
        return found

    return RemotePlugin(slug, options, request, alive)


def take_in(
    spec: PluginSpec, remote: RemotePlugin, told: Mapping[str, Any], parts: Assembly
) -> tuple[LoadedPlugin, Open]:
    """Return the stand-in of a plugin that its process has loaded, and what opens it.

    Args:
        spec: The plugin.
        remote: Calls the plugin.
        told: The description from its process; it may be anything.
        parts: The parts of the registry.
    """
    options, manager = remote.options, parts.calling.manager
    mixins = [mixin for mixin in parts.mixins.all() if mixin.key in told["mixins"]]
    refusals = [*_refusals(mixins, told)]
    codecs: dict[str, Codec] = {}
    hooks: dict[str, RemoteFunction] = {}
    activated = None
    for row in told["hooks"]:
        name, hook = row["name"], row["hook"]
        codec = hook_codec(row, manager, "own" if hook.startswith(_OWN) else options.codec)
        is_start = hook == f"{_OWN}activated"
        seconds = options.start_timeout if is_start else options.timeout
        codecs[name], hooks[name] = codec, RemoteFunction(name, codec, seconds)
        activated = (name, codec.pack_hook(())) if is_start else activated
        refusals += unsendable(codec, manager.history(hook))
    for mixin in mixins:
        for name in () if mixin.key in KEYS else told["methods"].get(mixin.key, ()):
            full = f"{mixin.key}.{name}"
            if method := method_codec(mixin.cls, full, name, options.codec):
                codecs[full] = method
    sendable = [mixin for mixin in mixins if _remote_methods(mixin) is not None]
    stand_in = make_stand_in(remote, told, sendable, hooks, codecs)
    remote.stand_in = ref(stand_in)
    overrides = dict(parts.settings.overrides.get(spec.slug, EMPTY))

    def open_remote(context: BoundContext) -> None:
        if refusals:
            raise IsolationError(spec.slug, "; ".join(refusals))
        remote.begin(context, begin_request(spec.slug, codecs, overrides), activated)

    facts: dict[str, Any] = {name: fact and plain(fact) for name, fact in told["loaded"].items()}
    published = facts.pop("published")
    loaded = LoadedPlugin(
        spec=spec,
        plugin=stand_in,
        published=published and datetime.fromisoformat(published),
        isolated=True,
        **facts,
    )
    return loaded, open_remote


def _remote_methods(mixin: MixinSpec) -> tuple[str, ...] | None:
    """Return the methods of a capability that are called from the host, None if it is refused."""
    if mixin.key in _NEVER:
        return None
    if mixin.key in KEYS:
        return tuple(mixin.declared_methods())
    return mixin.remote


def _refusals(mixins: Iterable[MixinSpec], told: Mapping[str, Any]) -> Iterable[str]:
    """Yield why a plugin cannot be isolated, as sentences."""
    for mixin in mixins:
        if _remote_methods(mixin) is None:
            reason = _NEVER.get(mixin.key, "the host hands objects to it; its row can say remote=")
            yield f"capability {mixin.key!r} cannot be isolated: {reason}"
    for row in told["hooks"]:
        name = row["name"]
        if row["is_wrapper"]:
            yield f"{name!r} is a wrapper, which runs inside of the host's call"
        elif row["is_implicit"]:
            yield f"{name!r} is an implementation by its name alone; mark it with @hookimpl"
        elif row["hook"] in _NEVER:
            yield _NEVER[row["hook"]]
    yield from map(str, told["settings"].get("faults", ()))
