"""Circuits: a plugin that fails again and again gets no more calls for a while.

They live beside the snapshots, as the failures do: of one process, and gone with it.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite
from typing import Final, NamedTuple

from plugreg._support.per_process import PerProcess
from plugreg.records import CircuitState


@dataclass(frozen=True, kw_only=True, slots=True)
class CircuitPolicy:
    """When a circuit opens, and for how long. All times are in seconds.

    It opens at the fault that makes ``max_failures`` of them ``within`` so many seconds, whatever
    has gone well between; a time-out is one. After ``cool_down`` seconds one call is let through on
    trial: if it goes well the circuit closes and all is forgotten, else it opens again for twice
    as long as before, ``longest`` at most. A trial that takes as long as the circuit was open, and
    has not ended when the plugin is wanted next, has failed.

    What counts are calls of implementations of the host's hooks, and of mixins' methods by
    ``registry.capabilities``: no wrappers, no hooks of plugreg's own (``plugreg_…``), no events,
    and no tasks. Neither does what the host does count: a cancellation, or a synchronous call of
    what is async.

    Raises TypeError and ValueError, which name the field.
    """

    max_failures: int = 5
    within: float = 60.0
    cool_down: float = 30.0
    longest: float = 600.0

    def __post_init__(self) -> None:
        if type(self.max_failures) is not int:
            raise TypeError(f"max_failures={self.max_failures!r} is no whole number of 1 or more")
        if self.max_failures < 1:
            raise ValueError(f"max_failures={self.max_failures!r} is less than 1")
        for name in ("within", "cool_down", "longest"):
            seconds = getattr(self, name)
            if type(seconds) not in (int, float):
                raise TypeError(f"{name}={seconds!r} is no number of seconds")
            if not (seconds > 0 and isfinite(seconds)):
                raise ValueError(f"{name}={seconds!r} is no number of seconds over 0")
        if self.longest < self.cool_down:
            raise ValueError(f"longest={self.longest!r} is less than cool_down={self.cool_down!r}")


class Admission(NamedTuple):
    """The leave to make one call, to be handed back with what came of it.

    ``period`` counts how often the circuit has opened or closed, so that a call which was begun
    before says nothing of the time after.
    """

    slug: str
    period: int
    is_trial: bool


@dataclass(slots=True)
class _Circuit:
    """What is kept of a plugin that has failed. It is only touched with the lock."""

    times: deque[float]
    period: int = 0
    cool_down: float = 0.0
    open_until: float | None = None
    tried_at: float | None = None


class Circuits:
    """The circuits of one registry's plugins; without a policy they are always closed.

    ``opened`` is called, without the lock, with the slug of a plugin whose circuit has just
    opened and the seconds until a call is tried; what it raises passes. ``clock`` gives seconds
    that never go back. Calls may come from any thread.
    """

    def __init__(
        self,
        policy: CircuitPolicy | None,
        opened: Callable[[str, float], object] = lambda *_: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._policy: Final = policy
        self._opened = opened
        self._clock = clock
        self._lock = PerProcess(threading.Lock)
        self._circuits: dict[str, _Circuit] = {}

    @property
    def policy(self) -> CircuitPolicy | None:
        """When circuits open, None where they never do."""
        return self._policy

    def state(self, slug: str) -> CircuitState:
        """Return whether calls get through to a plugin now. Changes nothing."""
        with self._lock.get():
            circuit = self._circuits.get(slug)
            if circuit is None or circuit.open_until is None:
                return "closed"
            return "half-open" if self._clock() >= circuit.open_until else "open"

    def admit(self, slug: str) -> Admission | None:
        """Return the leave to call a plugin once, None where its circuit is open.

        While a call is on trial, there is none for others. One that has not ended after as long as
        the circuit was open is a fault, so that what hangs keeps nobody out for ever.
        """
        # Of a plugin that has never failed nothing is kept, and no lock is needed to know it.
        if slug not in self._circuits:
            return Admission(slug, 0, False)
        with self._lock.get():
            circuit = self._circuits.get(slug)
            if circuit is None:
                return Admission(slug, 0, False)
            if circuit.open_until is None:
                return Admission(slug, circuit.period, False)
            now = self._clock()
            if now < circuit.open_until:
                return None
            if circuit.tried_at is None:
                circuit.tried_at = now
                return Admission(slug, circuit.period, True)
            if now < circuit.tried_at + circuit.cool_down:
                return None
            trial = Admission(slug, circuit.period, True)
        self.went_wrong(trial)
        return None

    def went_well(self, admission: Admission) -> None:
        """Take note of a call that had no fault."""
        if not admission.is_trial:
            return
        with self._lock.get():
            circuit = self._circuits.get(admission.slug)
            if circuit is not None and circuit.period == admission.period:
                self._closed(circuit)

    def went_wrong(self, admission: Admission) -> None:
        """Take note of a fault of the plugin, a time-out among them."""
        if self._policy is None:
            return
        slug, now = admission.slug, self._clock()
        with self._lock.get():
            circuit = self._circuits.get(slug)
            if circuit is None:
                circuit = _Circuit(deque(maxlen=self._policy.max_failures))
            if circuit.period != admission.period:
                return
            self._circuits[slug] = circuit
            seconds = self._seconds_open(circuit, now, self._policy, is_trial=admission.is_trial)
            if seconds is None:
                return
            circuit.open_until = now + seconds
            circuit.cool_down = seconds
            circuit.tried_at = None
            circuit.period += 1
        self._opened(slug, seconds)

    def broke_off(self, admission: Admission) -> None:
        """Take note of a call that ended for no reason of the plugin's, as by Ctrl-C."""
        if not admission.is_trial:
            return
        with self._lock.get():
            circuit = self._circuits.get(admission.slug)
            if circuit is not None and circuit.period == admission.period:
                circuit.tried_at = None

    def reset(self, slug: str) -> None:
        """Close a plugin's circuit and forget its faults; one that is closed stays so."""
        with self._lock.get():
            circuit = self._circuits.get(slug)
            if circuit is not None:
                self._closed(circuit)

    def forget(self, slug: str) -> None:
        """Forget a plugin that is gone."""
        with self._lock.get():
            self._circuits.pop(slug, None)

    # -- the parts, with the lock ------------------------------------------------------------

    @staticmethod
    def _closed(circuit: _Circuit) -> None:
        # It is kept, so that calls which were begun before belong to an earlier period still.
        circuit.times.clear()
        circuit.period += 1
        circuit.cool_down = 0.0
        circuit.open_until = None
        circuit.tried_at = None

    @staticmethod
    def _seconds_open(
        circuit: _Circuit, now: float, policy: CircuitPolicy, *, is_trial: bool
    ) -> float | None:
        """Return for how long a fault opens a circuit, None where it does not."""
        if is_trial:
            return min(2 * circuit.cool_down, policy.longest)
        circuit.times.append(now)
        if len(circuit.times) < policy.max_failures or now - circuit.times[0] > policy.within:
            return None
        return policy.cool_down
