"""How plugins are: what they say of themselves, and whether those serve without which nothing does.

design.md, section 4 (``plugreg_health``), and requirement O5.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from plugreg._calls.dispatcher import Dispatcher, Outcome
from plugreg._support.guard import plain, safe_repr
from plugreg.exceptions import RegistryNotReady
from plugreg.records import CircuitState, Snapshot


@dataclass(frozen=True, kw_only=True, slots=True)
class PluginHealth:
    """What an active plugin says of itself; ``detail`` is what is wrong, "" if it ``is_well``."""

    slug: str
    is_well: bool
    detail: str = ""


class Health:
    """Asks plugins how they are. ``critical`` are the slugs of those that must serve.

    ``current`` gives the snapshot; it raises RegistryNotReady before load and after close.
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
        """Whether all critical plugins are in service, and none has an open circuit. Calls none.

        A half-open one is no hindrance: without calls, which a host that is not ready may not get,
        it would stay so for ever.
        """
        try:
            active = self._current().active
        except RegistryNotReady:
            return False
        return all(slug in active and self._circuit_of(slug) != "open" for slug in self._critical)

    def report(self) -> tuple[PluginHealth, ...]:
        """Ask all active plugins that implement ``plugreg_health``, in call order.

        One that raises, or whose circuit is open, is not well, and that is the detail.
        """
        return tuple(map(_judged, self._dispatch.iterate("plugreg_health")))


def _judged(outcome: Outcome[object]) -> PluginHealth:
    told = outcome.value
    if outcome.failure is not None:
        detail = outcome.failure.message
    elif outcome.error is not None:
        detail = str(outcome.error)
    elif told is None or told is True:
        return PluginHealth(slug=outcome.slug, is_well=True)
    elif issubclass(type(told), str):
        # A subclass may do anything in the methods that others call later.
        detail = plain(str.__str__(told))
    elif told is False:
        detail = "it says that it is not well"
    else:
        detail = f"its plugreg_health() must give None, True or a text, not {safe_repr(told)}"
    return PluginHealth(slug=outcome.slug, is_well=False, detail=detail)
