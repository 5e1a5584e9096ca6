"""Calling plugins in isolation: the manager, circuits, observers and dispatcher of a host."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from plugreg._calls.dispatcher import Dispatcher
from plugreg._support import exceptions
from plugreg._support.guard import safe_repr
from plugreg.hooks import PluginManager
from plugreg.records import CircuitState, PluginFailure, Stage

if TYPE_CHECKING:
    from plugreg._calls.circuits import CircuitPolicy, Circuits
    from plugreg.observation import CallObserver

UNKNOWN_HOOKS: Final = "unknown hooks"
"""Subject of the failures of implementations without a spec."""

HOOK_ORDER: Final = "order of hooks"
"""Subject of the failures of implementations whose ordering constraints form a cycle."""

OPEN_CIRCUIT: Final = "circuit"
"""Subject of the failure of a plugin whose circuit has opened."""

RecordFailure = Callable[[PluginFailure], PluginFailure]
"""Keeps a failure, and returns the record that is kept of it."""


def _manager_of(
    host: str, given: PluginManager | None, implicit_prefix: str | None
) -> PluginManager:
    if given is None:
        return PluginManager(host, implicit_prefix=implicit_prefix)
    if not isinstance(given, PluginManager):
        raise TypeError(
            f"manager must be of a subclass of plugreg.hooks.PluginManager, not {safe_repr(given)}"
        )
    if given.project_name != host:
        raise ValueError(
            f"manager is that of project {given.project_name!r}; make one for {host!r}, "
            f"whose markers the plugins use"
        )
    if implicit_prefix not in (None, given.implicit_prefix):
        raise ValueError(
            f"implicit_prefix is {implicit_prefix!r}, and that of manager "
            f"{given.implicit_prefix!r}; give it to the manager alone"
        )
    if given.has_registry:
        raise ValueError("manager is that of another registry; give each registry its own")
    return given


def _is_end(is_isolated: Callable[[str], bool], slug: str, error: BaseException | None) -> bool:
    """Return whether a fault has ended the process of an isolated plugin."""
    return is_isolated(slug) and (
        error is None or type(error) in (exceptions.PluginDiedError, exceptions.PluginTimeoutError)
    )


class Calling:
    """Makes these parts, and knows which of their failures still hold.

    Arguments are those of :class:`plugreg.PluginRegistry`. ``record`` keeps a failure,
    ``check_ready`` raises RegistryNotReady while nothing may be called. ``is_isolated`` returns
    whether a plugin in service is isolated, None where none is: those have a circuit at any rate.
    ``process_of`` measures the process of such a plugin; it returns None for others.
    Nothing is called here. It lives as long as its registry, and has nothing to close.
    """

    def __init__(
        self,
        host: str,
        *,
        hookspecs: Iterable[Any],
        implicit_prefix: str | None,
        manager: PluginManager | None,
        circuit: CircuitPolicy | None,
        observe: bool | Iterable[CallObserver],
        timeout: float | None,
        clock: Callable[[], float],
        record: RecordFailure,
        check_ready: Callable[[], object],
        is_isolated: Callable[[str], bool] | None = None,
        process_of: Callable[[str], Any] = lambda _: None,
    ) -> None:
        self._record = record
        observation = None
        observers: tuple[CallObserver, ...] = ()
        if observe:
            from plugreg.observation import Observation

            observation = Observation(process_of)
            observers = (observation,)
        if not isinstance(observe, bool):
            observers += tuple(observe)
        # Without circuits and observers a call has no supervision, which costs time.
        self._circuits: Circuits | None = None
        supervision = None
        if circuit is not None or observers or is_isolated is not None:
            from plugreg._calls.circuits import CircuitPolicy, Circuits
            from plugreg._calls.supervision import Supervision

            counts = None
            if circuit is None and is_isolated is not None:
                # A plugin that dies at each call would be started at each call.
                circuit, counts = CircuitPolicy(), partial(_is_end, is_isolated)
            self._circuits = Circuits(circuit, self._record_opening, clock, counts)
            supervision = Supervision(self._circuits, observers)
        self.manager: Final = _manager_of(host, manager, implicit_prefix)
        self.manager.supervise(None if supervision is None else supervision.around)
        self.manager.add_own_hookspecs()
        for spec in hookspecs:
            self.manager.add_hookspecs(spec)
        self.dispatch: Final = Dispatcher(
            self.manager,
            self._record_call,
            check_ready,
            self._circuits,
            observation,
            timeout=timeout,
            supervision=supervision,
        )

    def circuit_state(self, slug: str) -> CircuitState:
        """Return the state of a plugin's circuit, which is closed where there are none."""
        return "closed" if self._circuits is None else self._circuits.state(slug)

    @property
    def conditions(self) -> Mapping[str, Callable[[str], bool]]:
        """Functions by a failure's subject: whether it is true of a slug now."""
        return {
            OPEN_CIRCUIT: lambda slug: self.circuit_state(slug) != "closed",
            # Another plugin, or the host, may have added the spec that a hook lacked.
            UNKNOWN_HOOKS: lambda slug: bool(self.manager.unknown_hooks(slug)),
            # A plugin that was part of the cycle may have left.
            HOOK_ORDER: lambda slug: slug in self.manager.ignored_constraints(),
        }

    def _record_call(self, slug: str, hook: str, error: BaseException) -> PluginFailure | None:
        # A call that was refused has no record: the open circuit has its own. A plugin may raise
        # the same error itself, also that of another plugin's outcome.
        if type(error) is exceptions.CircuitOpenError and error.slug == slug and error.is_refusal:
            return None
        return self._record(PluginFailure.of_call(slug, hook, error))

    def _record_opening(self, slug: str, seconds: float) -> None:
        message = (
            f"its circuit has opened after repeated failures: no calls for {seconds:g} seconds, "
            f"then one on trial; registry.reset({slug!r}) closes it"
        )
        self._record(
            PluginFailure(stage=Stage.CALL, slug=slug, subject=OPEN_CIRCUIT, message=message)
        )
