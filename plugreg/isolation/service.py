"""The plugin in its own process: loaded, described to the host, and called."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from plugreg._lifecycle.load import Acceptance, load
from plugreg._support.frozen import NamedTuple
from plugreg._support.guard import Guard, plain
from plugreg._support.process import keep_no_core
from plugreg.exceptions import IsolationError
from plugreg.hooks import HookFinder
from plugreg.isolation.codec import codec_of
from plugreg.isolation.description import (
    Answer,
    Capable,
    answering,
    describe_hooks,
    describe_plugin,
)
from plugreg.isolation.faults import failure_to_data
from plugreg.isolation.link import HostLink
from plugreg.isolation.protocol import BeginRequest, LoadRequest, Mirrored, TypeReader
from plugreg.plugin import Plugin, bind
from plugreg.records import LoadedPlugin, PluginSpec

if TYPE_CHECKING:
    from plugreg.isolation.codec import Codec
    from plugreg.isolation.surroundings import RemoteContext


class Limits(NamedTuple):
    """The limits of the process, by resource.setrlimit. None means no limit."""

    memory: int | None
    cpu_seconds: float | None

    def apply(self, slug: str) -> None:
        """Set the limits that hold as long as the process lives.

        Raises IsolationError for a limit that the system has not.
        """
        keep_no_core()
        limit = "memory"
        try:
            if self.memory is not None:
                import resource

                resource.setrlimit(resource.RLIMIT_AS, (self.memory, self.memory))
            limit = "cpu_seconds"
            self.begin_call()
        except (ImportError, ValueError, OverflowError, OSError) as error:
            reason = f"this system sets no limit {limit}= ({error}); leave it out"
            raise IsolationError(slug, reason) from None

    def begin_call(self) -> None:
        """Count the CPU time of a call from now."""
        if self.cpu_seconds is None:
            return
        import resource

        usage = resource.getrusage(resource.RUSAGE_SELF)
        used = usage.ru_utime + usage.ru_stime
        hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
        # The limit is in whole seconds of the process.
        resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(used + self.cpu_seconds), hard))


class PluginService:
    """A plugin, and the functions that the host calls.

    It has no plugin before :meth:`load`, and answers no call before :meth:`begin`.

    Attributes:
        functions: Functions for calls, by the name of an implementation or ``mixin.method``.
    """

    def __init__(self, link: HostLink, send_logs: Callable[[], object]) -> None:
        self._link: Final = link
        self._send_logs: Final = send_logs
        self._loaded: LoadedPlugin | None = None
        self._hooks: dict[str, Callable[..., Any]] = {}
        self._capable: Capable | None = None
        self._context: RemoteContext | None = None
        self.functions: Final[dict[bytes, Answer]] = {}

    def load(self, request: LoadRequest) -> dict[str, Any]:
        """Import and construct the plugin, and describe it."""
        finder = HookFinder(request.host, request.implicit_prefix)
        capable = Capable(request.mixins)

        def construct(cls: type, spec: PluginSpec) -> object:
            self._link.send(stage="init")
            return cls() if request.construct is None else request.construct(cls, spec)

        acceptance = Acceptance(
            finder.has_hooks,
            lambda cls: any(key != "base" for key in capable.keys_of(cls)),
            request.rules.accepts_any,
            construct,
        )
        loading = load(request.spec, request.rules, acceptance)
        loaded = loading.loaded
        found: dict[str, Any] = {"failures": [*map(failure_to_data, loading.failures)]}
        if loaded is None:
            held = loading.held
            assert held is not None
            return found | {"held": {"state": held.state, "reason": held.reason}}
        self._loaded, self._capable = loaded, capable
        found["failures"] += map(failure_to_data, loaded.failures)
        hooks, self._hooks = describe_hooks(finder.find(loaded.plugin))
        self.functions.update(capable.answers(loaded.plugin, {}))
        return found | {"hooks": hooks} | describe_plugin(loaded, capable)

    def begin(self, request: BeginRequest) -> list[str]:
        """Get ready for calls; return faults of values that cannot be sent, as sentences."""
        assert self._loaded is not None
        assert self._capable is not None
        faults: list[str] = []
        codecs: dict[str, Codec] = {}
        for name, (kind, data) in request.signatures.items():
            with Guard() as guard:
                hook, kinds = TypeReader(data, request.files).load()
                codecs[name] = codec_of(kind, hook, kinds)  # type: ignore[arg-type]
            if guard.error is not None:
                faults.append(
                    f"the types of {name!r} cannot be imported in its process "
                    f"({plain(str(guard.error))}); put them into a module that it can import"
                )
        for name, function in self._hooks.items():
            if name in codecs:
                self.functions[name.encode()] = answering(function, codecs[name])
        from plugreg.isolation.surroundings import RemoteContext

        self._context = RemoteContext(self._loaded, self._link, request, self._send_logs)
        if issubclass(type(self._loaded.plugin), Plugin):
            bind(self._loaded.plugin, self._context)
        self.functions.update(self._capable.answers(self._loaded.plugin, codecs))
        return faults

    def update(self, mirrored: Mirrored) -> None:
        """Take in the values that hold in the host now."""
        if self._context is not None:
            self._context.take(mirrored)
