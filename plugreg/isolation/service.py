"""The plugin in its own process: loaded, described to the host, and called."""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from plugreg._lifecycle.load import Acceptance, load
from plugreg._support.frozen import NamedTuple
from plugreg._support.guard import Guard, plain
from plugreg.exceptions import IsolationError
from plugreg.hooks import HookFinder
from plugreg.isolation.codec import codec_of
from plugreg.isolation.description import Capable, describe_hooks, describe_plugin
from plugreg.isolation.faults import failure_to_data
from plugreg.isolation.link import HostLink
from plugreg.isolation.protocol import HOOK, BeginRequest, LoadRequest, Mirrored, TypeReader
from plugreg.records import EMPTY, LoadedPlugin, PluginSpec

if TYPE_CHECKING:
    from plugreg.isolation.codec import Codec

Answer = Callable[[bytes], bytes]
"""Takes the bytes of arguments, and returns those of the result."""

AsyncAnswer = Callable[[bytes], Awaitable[bytes]]


def dump(data: Any) -> bytes:
    """Return data as JSON."""
    return json.dumps(data).encode()


class Limits(NamedTuple):
    """The limits of the process, by resource.setrlimit. None means no limit."""

    memory: int | None
    cpu_seconds: float | None

    def apply(self, slug: str) -> None:
        """Set the limits that hold as long as the process lives.

        Raises IsolationError for a limit that the system has not.
        """
        with suppress(ImportError, ValueError, OSError):
            import resource

            # A crash leaves no core file in the host's folder.
            resource.setrlimit(
                resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1])
            )
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
    """A plugin, and the requests of the host to it.

    It has no plugin before :meth:`load`, and answers no call before :meth:`begin`.

    Attributes:
        hooks: Functions for calls of synchronous implementations, by attribute.
        async_hooks: The same for async implementations.
        methods: Functions for calls of mixins' methods, by name.
    """

    def __init__(self, link: HostLink) -> None:
        self._link: Final = link
        self._loaded: LoadedPlugin | None = None
        self._functions: dict[str, Callable[..., Any]] = {}
        self._capable: Capable | None = None
        self._context: Any = None
        self.hooks: Final[dict[bytes, Answer]] = {}
        self.async_hooks: Final[dict[bytes, AsyncAnswer]] = {}
        self.methods: Final[dict[str, Answer]] = {}

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
        hooks, self._functions = describe_hooks(finder.find(loaded.plugin))
        self.methods.update(capable.answers(loaded.plugin, {}))
        return found | {"hooks": hooks} | describe_plugin(loaded, capable)

    def begin(self, request: BeginRequest, send_logs: Callable[[], object]) -> list[str]:
        """Get ready for calls; return faults of values that cannot be sent, as sentences."""
        assert self._loaded is not None
        assert self._capable is not None
        faults: list[str] = []
        codecs: dict[tuple[bytes, str], Codec] = {}
        for place, (kind, data) in request.signatures.items():
            with Guard() as guard:
                signature = TypeReader(data, request.files).load()
                codecs[place] = codec_of(kind, signature)  # type: ignore[arg-type]
            if guard.error is not None:
                faults.append(
                    f"the types of {place[1]!r} cannot be imported in its process "
                    f"({plain(str(guard.error))}); put them into a module that it can import"
                )
        for name, function in self._functions.items():
            codec = codecs.get((HOOK, name))
            if codec is None:
                continue
            if inspect.iscoroutinefunction(function):
                self.async_hooks[name.encode()] = _async_answer(function, codec)
            else:
                self.hooks[name.encode()] = _answer(function, codec)
        from plugreg.isolation.surroundings import open_context

        self._context = open_context(self._loaded, self._link, request, send_logs)
        self.methods.update(self._capable.answers(self._loaded.plugin, codecs))
        return faults

    def update(self, mirrored: Mirrored) -> None:
        """Take in the values that hold in the host now."""
        if self._context is not None:
            self._context.take(mirrored)


def _answer(function: Callable[..., Any], codec: Codec) -> Answer:
    unpack, pack = _unpacker(codec), codec.pack_result

    def call(value: bytes) -> bytes:
        values, named = unpack(value)
        return pack(function(*values, **named))

    return call


def _async_answer(function: Callable[..., Any], codec: Codec) -> AsyncAnswer:
    unpack, pack = _unpacker(codec), codec.pack_result

    async def call(value: bytes) -> bytes:
        values, named = unpack(value)
        return pack(await function(*values, **named))

    return call


def _unpacker(codec: Codec) -> Callable[[bytes], tuple[Sequence[Any], Mapping[str, Any]]]:
    """Return a function that returns the arguments of a call, by place and by name."""
    unpack = codec.unpack_arguments

    def unpack_call(value: bytes) -> tuple[Sequence[Any], Mapping[str, Any]]:
        if value[:1] != b"{":
            return unpack(value), EMPTY
        # It names its arguments, because some were left out.
        head, _, data = value.partition(b"\n")
        names = json.loads(head)["names"]
        return (), dict(zip(names, unpack(data, names), strict=True))

    return unpack_call
