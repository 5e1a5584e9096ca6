"""Health of the plugins: their own reports, and readiness of the host."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from plugreg._calls.dispatcher import Dispatcher
from plugreg._calls.outcome import Outcome
from plugreg._support.guard import plain, safe_repr
from plugreg.exceptions import RegistryNotReady
from plugreg.records import CircuitState, Snapshot


@dataclass(frozen=True, kw_only=True, slots=True)
class PluginHealth:
    """An active plugin's report on itself.

    Attributes:
        slug: The plugin.
        is_well: Whether it works.
        detail: The fault; an empty string if it is well.
    """

    slug: str
    is_well: bool
    detail: str = ""


class Health:
    """Asks plugins for their health.

    ``critical`` are the slugs of plugins that must be in service. ``current`` returns the snapshot;
    it raises RegistryNotReady before load and after close.
    """

    def __init__(
        self,
        current: Callable[[], Snapshot],
        dispatch: Dispatcher,
        circuit_of: Callable[[str], CircuitState],
        critical: Collection[str],
    ) -> None:
        self._current = current
        self._dispatch = dispatch
        self._circuit_of = circuit_of
        self._critical = frozenset(critical)

    @property
    def ready(self) -> bool:
        """Whether all critical plugins are in service, without an open circuit.

        This calls no plugin. A half-open circuit counts as ready. A host that is not ready may get
        no calls, and without calls the circuit would stay half-open for ever.
        """
        try:
            active = self._current().active
        except RegistryNotReady:
            return False
        return all(slug in active and self._circuit_of(slug) != "open" for slug in self._critical)

    def report(self) -> tuple[PluginHealth, ...]:
        """Ask all active plugins that implement ``plugreg_health``, in call order.

        A plugin that raises, or whose circuit is open, is not well, and that is the detail.
        """
        return tuple(map(_parse_answer, self._dispatch.iterate("plugreg_health")))


def _parse_answer(outcome: Outcome[object]) -> PluginHealth:
    answer = outcome.value
    if outcome.failure is not None:
        detail = outcome.failure.message
    elif outcome.error is not None:
        detail = str(outcome.error)
    elif answer is None or answer is True:
        return PluginHealth(slug=outcome.slug, is_well=True)
    elif issubclass(type(answer), str):
        # The methods of a subclass may run code of the plugin later.
        detail = plain(str.__str__(answer))
    elif answer is False:
        detail = "it says that it is not well"
    else:
        detail = f"its plugreg_health() must return None, True or a string, not {safe_repr(answer)}"
    return PluginHealth(slug=outcome.slug, is_well=False, detail=detail)
