"""How plugins are: what they say of themselves, and whether those serve without which nothing does.

design.md, section 4 (``plugreg_health``), and requirement O5.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from plugreg._guard import plain, safe_repr
from plugreg.circuits import CircuitState
from plugreg.dispatch import Dispatcher, Outcome
from plugreg.records import Snapshot


@dataclass(frozen=True, kw_only=True, slots=True)
class PluginHealth:
    """What an active plugin says of itself; ``detail`` is what is wrong, "" if it ``is_well``."""

    slug: str
    is_well: bool
    detail: str = ""


class Health:
    """Asks plugins how they are. ``critical`` are the slugs of those that must serve.

    ``serving`` gives the snapshot, None before load and after close.
    """

    def __init__(
        self,
        serving: Callable[[], Snapshot | None],
        dispatch: Dispatcher,
        circuit_of: Callable[[str], CircuitState],
        critical: Collection[str],
    ) -> None:
        self._serving = serving
        self._dispatch = dispatch
        self._circuit_of = circuit_of
        self._critical = frozenset(critical)

    @property
    def ready(self) -> bool:
        """Whether all critical plugins are in service, with their circuits closed. Calls none."""
        snapshot = self._serving()
        return snapshot is not None and all(
            slug in snapshot.active and self._circuit_of(slug) == "closed"
            for slug in self._critical
        )

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
