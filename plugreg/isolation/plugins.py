"""The isolated plugins of a registry: which they are, how they are made, and how they end."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final
from weakref import ref

from plugreg._lifecycle.load import Loading
from plugreg._support.frozen import Frozen, replace
from plugreg._support.guard import Guard, plain
from plugreg._support.lazy import call_at_fork
from plugreg._support.redact import Scrubber
from plugreg.exceptions import IsolationError, PluginNotActiveError
from plugreg.hooks import PluginManager
from plugreg.isolation.codec import codec_of
from plugreg.isolation.environments import packages_folder
from plugreg.isolation.faults import failures_from_data
from plugreg.isolation.options import Isolated
from plugreg.isolation.protocol import HOOK, METHOD, LoadRequest, Mirrored
from plugreg.isolation.records import ProcessInfo
from plugreg.isolation.remote import RemotePlugin
from plugreg.isolation.running import HookRow
from plugreg.isolation.signatures import (
    Opening,
    ReportCodec,
    signature_of,
    typed_method,
    unsendable,
)
from plugreg.isolation.standin import REMOTE, StandIn, make_stand_in
from plugreg.mixins import KEYS, MixinSpec, MixinTable
from plugreg.records import (
    EMPTY,
    FAILED,
    ActivePlugin,
    HostRules,
    LoadedPlugin,
    NotLoaded,
    PluginFailure,
    PluginSpec,
    PluginState,
    Source,
    Stage,
)

if TYPE_CHECKING:
    from plugreg._lifecycle.binding import BoundContext
    from plugreg._state.plugin_rows import PluginRows
    from plugreg.settings.store import SettingsStore

_OWN: Final = "plugreg_"
_NEVER: Final = MappingProxyType(
    {
        "urls": "its URLs are objects of the host's framework",
        "plugreg_plugins": "it brings plugins, which are objects; give them entry points",
    }
)
"""The capability and the hook that return objects, with the reason of the refusal."""


class HostParts(Frozen):
    """The parts of a registry that its isolated plugins need.

    Attributes:
        host: The host's name.
        rules: The host's rules.
        mixins: The host's capabilities.
        manager: The host's plugin manager.
        settings: Stored settings.
        plugin_rows: Stored metadata.
        construct: The host's function that makes objects of classes, or None.
        call: Calls a hook of the host, with isolation.
    """

    host: str
    rules: HostRules
    mixins: MixinTable
    manager: PluginManager
    settings: SettingsStore
    plugin_rows: PluginRows
    construct: Callable[..., Any] | None
    call: Callable[..., Any]


class _Around:
    """The surroundings of a plugin.

    The threads that listen to a process must not keep its registry alive.
    """

    def __init__(self, slug: str, owner: IsolatedPlugins) -> None:
        self.slug = slug
        self._owner = ref(owner)

    @property
    def _parts(self) -> HostParts:
        owner = self._owner()
        if owner is None:
            raise PluginNotActiveError(self.slug, "inactive")
        return owner.parts

    def scrubber(self) -> Scrubber:
        """Return the scrubber of the plugin's protected values."""
        return self._parts.settings.scrubber(self.slug)

    def values(self) -> tuple[object, object]:
        """Return stored settings and metadata."""
        # Asked before each call, and so without a detour.
        owner = self._owner()
        parts = self._parts if owner is None else owner.parts
        return parts.settings.stored(self.slug), parts.plugin_rows.metadata_of(self.slug)

    def mirrored(self) -> Mirrored:
        """Return the same as they are sent."""
        stored = self._parts.settings.stored(self.slug)
        values = {
            user: {k: tuple(v) for k, v in own.items()} for user, own in stored.values.items()
        }
        return Mirrored(stored.version, values, self._parts.plugin_rows.metadata(self.slug))

    def call_host(self, hook: str, arguments: Mapping[str, Any]) -> Any:
        """Call a hook of the host."""
        return self._parts.call(hook, **arguments)


class IsolatedPlugins:
    """Makes the isolated plugins of a registry, and ends their processes.

    Args:
        given: Options by slug, or those of every plugin that is installed.
        stored: Returns the folder of each plugin that an installation has isolated, by slug.
        parts: The parts of the registry that it needs.
    """

    def __init__(
        self,
        given: Isolated | Mapping[str, Isolated],
        stored: Callable[[], Mapping[str, Path]],
        parts: HostParts,
    ) -> None:
        self._given = given
        self._stored = stored
        self._found: Mapping[str, Path] = EMPTY
        self.parts: Final = parts
        self._remotes: set[RemotePlugin] = set()
        self._made: dict[str, tuple[StandIn, Opening]] = {}
        call_at_fork(after_in_child=self._forget)

    def __del__(self) -> None:
        # Without an exit function: at the exit of the host its processes end by themselves.
        for remote in list(self._remotes):
            remote.kill()

    def options_of(self, spec: PluginSpec) -> Isolated | None:
        """Return the options of an isolated plugin, None if it is not isolated."""
        given = self._given
        if isinstance(given, Isolated):
            is_installed = spec.source in (Source.ENTRY_POINT, Source.DIRECTORY)
            options = given if is_installed else None
        else:
            options = given.get(spec.slug)
        # The folder is the generation in which the plugin was found.
        parent = None if spec.distribution is None else Path(spec.path or "").parent
        if parent is not None and parent == self._found.get(spec.slug):
            options = options or Isolated()
            if options.environment is None:
                options = replace(options, environment=str(parent))
        return options

    def folders(self) -> Sequence[tuple[str | None, Path]]:
        """Return where isolated plugins are installed: slug and folder, None for any plugin."""
        given = self._given
        options = {None: given} if isinstance(given, Isolated) else given
        self._found = self._stored()
        found: dict[str | None, Path] = dict(self._found.items())
        for slug, option in options.items():
            if option.environment is not None:
                folder = packages_folder(option.environment)
                if folder is not None:
                    found[slug] = folder
        return [*found.items()]

    def isolates(self, spec: PluginSpec) -> bool:
        """Return whether a plugin is isolated."""
        return self.options_of(spec) is not None

    def load(self, spec: PluginSpec) -> Loading | None:
        """Load a plugin in its process, None if it is not isolated.

        Nothing of it is imported here. Raises nothing because of the plugin.
        """
        options = self.options_of(spec)
        if options is None:
            return None
        stage = Stage.IMPORT
        around = _Around(spec.slug, self)
        remote: RemotePlugin | None = None
        with Guard() as guard:
            request = self._request(spec, options)
            remote = RemotePlugin(spec.slug, options, request, around)
            self._remotes.add(remote)
            description = remote.start()
            failures = failures_from_data(spec.slug, description["failures"])
            held = description.get("held")
            if held is not None:
                remote.release()
                state = NotLoaded(state=PluginState(held["state"]), reason=str(held["reason"]))
                return Loading(held=state, failures=failures)
            stage = Stage.INIT
            loaded = self._loaded(spec, remote, description)
            # Those of the attributes come with the loaded plugin, as they do in the host.
            return Loading(loaded=replace(loaded, failures=failures))
        assert guard.error is not None
        if remote is not None:
            remote.release()
        stage = Stage(getattr(guard.error, "stage", stage))
        return Loading(held=FAILED, failures=(PluginFailure.of(stage, spec.slug, guard.error),))

    def open(self, slug: str, context: BoundContext) -> None:
        """Get a plugin that was loaded last ready for service, if it is isolated.

        Raises IsolationError if it cannot be isolated, and exceptions of its process.
        """
        made = self._made.pop(slug, None)
        if made is not None:
            made[1].run(context)

    def settle(self, in_service: Mapping[str, ActivePlugin]) -> None:
        """End the processes of all plugins that are not in service."""
        if not self._remotes:
            return
        self._made.clear()
        serving = {id(active.plugin) for active in in_service.values()}
        for remote in list(self._remotes):
            stand_in = None if remote.stand_in is None else remote.stand_in()
            if stand_in is None or id(stand_in) not in serving:
                with Guard():
                    remote.release()
                self._remotes.discard(remote)

    def process_of(self, plugin: object) -> ProcessInfo | None:
        """Return facts on the process of a plugin by its stand-in, None for another object."""
        remote = _remote_of(plugin)
        return None if remote is None else remote.info

    def processes(self) -> Mapping[str, ProcessInfo]:
        """Return facts on the process of each isolated plugin, by slug."""
        infos = {remote.slug: remote.info for remote in list(self._remotes)}
        return {slug: info for slug, info in sorted(infos.items()) if info.pid is not None}

    # -- the parts ---------------------------------------------------------------------------

    def _forget(self) -> None:
        for remote in list(self._remotes):
            remote.forget()

    def _request(self, spec: PluginSpec, options: Isolated) -> LoadRequest:
        from plugreg._probe.prober import by_name

        parts = self.parts
        named = by_name(spec)
        if named is None:
            raise IsolationError(
                spec.slug,
                "it was given as an object, and another process can only import what has a name; "
                "give it as 'module:attribute'",
            )
        if parts.construct is not None:
            try:
                pickle.dumps(parts.construct)
            except Exception:  # noqa: BLE001 - pickle raises whatever the object does
                raise IsolationError(
                    spec.slug, "the host's construct= has no name that its process could import"
                ) from None
        return LoadRequest(
            spec=named,
            rules=parts.rules,
            host=parts.host,
            implicit_prefix=parts.manager.implicit_prefix,
            mixins=tuple(
                (mixin.key, mixin.cls.__module__, mixin.cls.__qualname__, _remote_methods(mixin))
                for mixin in sorted(parts.mixins.all(), key=lambda mixin: mixin.order)
            ),
            construct=parts.construct,
            # On Windows the host limits it; see `plugreg.isolation.systems`.
            memory=None if sys.platform == "win32" else options.memory,
            cpu_seconds=options.cpu_seconds,
            level=0,
            dont_write_bytecode=sys.dont_write_bytecode,
            pycache_prefix=sys.pycache_prefix,
        )

    def _loaded(
        self, spec: PluginSpec, remote: RemotePlugin, told: Mapping[str, Any]
    ) -> LoadedPlugin:
        """Make the stand-in, and the function that prepares it."""
        options = remote.options
        mixins = [mixin for mixin in self.parts.mixins.all() if mixin.key in told["mixins"]]
        refusals = [*_refusals(mixins, told)]
        manager = self.parts.manager
        signatures: dict[tuple[bytes, str], tuple[str, Any]] = {}
        hooks: dict[str, HookRow] = {}
        for row in told["hooks"]:
            name, hook = row["name"], row["hook"]
            signature = signature_of(row, manager)
            kind = "own" if hook.startswith(_OWN) else options.codec
            if hook == f"{_OWN}plugins_loaded":
                codec: Any = ReportCodec(signature)
            else:
                codec = codec_of(kind, signature)
            is_start = hook == f"{_OWN}activated"
            seconds = options.start_timeout if is_start else options.timeout
            hooks[name] = HookRow(name, tuple(signature.arguments), codec, seconds)
            signatures[HOOK, name] = (kind, signature)
            refusals += unsendable(hooks[name], hook, manager.history(hook))
        typed = {}
        for mixin in mixins:
            if mixin.key not in KEYS:
                for name in told["methods"].get(mixin.key, ()):
                    full = f"{mixin.key}.{name}"
                    method = typed_method(mixin.cls, full, name, options.codec)
                    if method is not None:
                        typed[full] = method[0]
                        signatures[METHOD, full] = (options.codec, method[1])
        sendable = [mixin for mixin in mixins if _remote_methods(mixin) is not None]
        stand_in = make_stand_in(remote, told, sendable, hooks, typed)
        activated = [
            hooks[row["name"]] for row in told["hooks"] if row["hook"] == f"{_OWN}activated"
        ]
        overrides = self.parts.settings.overrides.get(spec.slug, EMPTY)
        opening = Opening(remote, refusals, signatures, dict(overrides), activated)
        self._made[spec.slug] = (stand_in, opening)
        remote.stand_in = ref(stand_in)
        facts: dict[str, Any] = {k: v and plain(v) for k, v in told["loaded"].items()}
        published = facts.pop("published")
        return LoadedPlugin(
            spec=spec,
            plugin=stand_in,
            published=published and datetime.fromisoformat(published),
            isolated=True,
            **facts,
        )


def _remote_of(plugin: object) -> RemotePlugin | None:
    # isinstance() would ask the object for its __class__, which may be a property that raises.
    return vars(plugin)[REMOTE] if issubclass(type(plugin), StandIn) else None


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
