"""Everything by which one host calls its plugins: the manager, circuits, observers, the calls."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from plugreg._calls.circuits import CircuitPolicy, Circuits
from plugreg._calls.dispatcher import Dispatcher
from plugreg._calls.supervision import Supervision
from plugreg.hooks import PluginManager, PlugregSpecs
from plugreg.observation import CallObserver, Observation
from plugreg.records import PluginFailure, Stage

UNKNOWN_HOOKS: Final = "unknown hooks"
"""The subject of failures about implementations that no spec asks for."""

HOOK_ORDER: Final = "order of hooks"
"""The subject of failures about implementations whose wishes for an order form a circle."""

OPEN_CIRCUIT: Final = "circuit"
"""The subject of a failure that says that a plugin's circuit has opened."""

RecordFailure = Callable[[PluginFailure], PluginFailure]
"""Takes what went wrong, and gives the record that is kept of it."""


class Calling:
    """Makes these parts, joined to one another, and knows which failures of theirs still hold.

    Arguments are those of :class:`plugreg.PluginRegistry`. ``record`` is handed what goes wrong,
    ``check_ready`` raises RegistryNotReady where nothing may be called yet. Nothing is called
    here. It lives as long as its registry, and has nothing to close.
    """

    def __init__(
        self,
        host: str,
        *,
        hookspecs: Iterable[Any],
        implicit_prefix: str | None,
        circuit: CircuitPolicy | None,
        observe: bool | Iterable[CallObserver],
        timeout: float | None,
        record: RecordFailure,
        check_ready: Callable[[], object],
    ) -> None:
        self._record = record
        self.circuits: Final = Circuits(circuit, self._circuit_opened)
        observation = Observation() if observe else None
        observers = (*filter(None, [observation]), *(() if isinstance(observe, bool) else observe))
        # Where nobody asks for either, nothing stands round a call, and it costs nothing.
        supervised = circuit is not None or observers
        supervision = Supervision(self.circuits, observers) if supervised else None
        around = None if supervision is None else supervision.around
        self.manager: Final = PluginManager(host, implicit_prefix=implicit_prefix, around=around)
        for each in (PlugregSpecs, *hookspecs):
            self.manager.add_hookspecs(each)
        self.dispatch: Final = Dispatcher(
            self.manager,
            self._call_failed,
            check_ready,
            self.circuits,
            observation,
            timeout=timeout,
            begin=None if supervision is None else supervision.begin,
            around=around,
        )

    @property
    def conditions(self) -> Mapping[str, Callable[[str], bool]]:
        """Functions by a failure's subject: given a slug, whether such a failure is true now."""
        return {
            OPEN_CIRCUIT: lambda slug: self.circuits.state(slug) != "closed",
            # Another plugin, or the host, may have added the spec that a hook lacked.
            UNKNOWN_HOOKS: lambda slug: bool(self.manager.unknown_hooks(slug)),
            # A plugin that was part of the circle may have left.
            HOOK_ORDER: lambda slug: slug in self.manager.ignored_wishes(),
        }

    def _call_failed(self, slug: str, hook: str, error: BaseException) -> PluginFailure:
        return self._record(PluginFailure.of_call(slug, hook, error))

    def _circuit_opened(self, slug: str, seconds: float) -> None:
        message = (
            f"its circuit has opened after repeated failures: no calls for {seconds:g} seconds, "
            f"then one on trial; registry.reset({slug!r}) closes it"
        )
        self._record(
            PluginFailure(stage=Stage.CALL, slug=slug, subject=OPEN_CIRCUIT, message=message)
        )
