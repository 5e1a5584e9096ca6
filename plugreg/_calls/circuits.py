"""Circuits: a plugin that fails repeatedly is not called for a while.

They belong to a process, as failures do, and end with it.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from math import isfinite
from typing import Final

from plugreg._support import PerProcess
from plugreg._support.frozen import Frozen, NamedTuple
from plugreg.records import CircuitState


class CircuitPolicy(Frozen):
    """When a circuit opens, and for how long.

    The circuit opens after *max_failures* failures (timeouts included) within *within* seconds.
    Successes between them do not count. After *cool_down* seconds one trial call is allowed:
    success closes the circuit, failure reopens it for twice as long, at most *longest*. A trial
    that runs as long as the circuit was open has failed.

    Calls of the host's hooks count, and of mixins' methods by ``registry.capabilities``. Wrappers,
    plugreg's own hooks (``plugreg_…``), events and tasks do not. Nor do faults of the host: a
    cancellation, or a synchronous call of an async implementation.

    Args:
        max_failures: Failures that open the circuit.
        within: Seconds in which they must fall.
        cool_down: Seconds that the circuit stays open first.
        longest: Seconds that the circuit stays open at most.

    Raises:
        TypeError: If an argument is no number; the message names it.
        ValueError: If an argument is too small or infinite, or *longest* is below *cool_down*.
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


Counts = Callable[[str, "BaseException | None"], bool]
"""Takes a plugin and its exception, None for a timeout."""


class Admission(NamedTuple):
    """Permission for a call, to be returned with its result.

    ``period`` counts how often the circuit has opened or closed, so that a call of an earlier
    period changes nothing in this period.
    """

    slug: str
    period: int
    is_trial: bool


class _Circuit:
    """The circuit of a plugin that has failed. It is only used with the lock."""

    __slots__ = ("cool_down", "open_until", "period", "times", "tried_at")

    def __init__(self, max_failures: int) -> None:
        self.times: deque[float] = deque(maxlen=max_failures)
        self.period = 0
        self.cool_down = 0.0
        self.open_until: float | None = None
        self.tried_at: float | None = None

    def fail(self, now: float, policy: CircuitPolicy, *, is_trial: bool) -> float | None:
        """Count a fault; return for how long it opens the circuit, None if it does not."""
        self.times.append(now)
        is_often = len(self.times) == policy.max_failures
        if is_trial:
            seconds = min(2 * self.cool_down, policy.longest)
        elif is_often and now - self.times[0] <= policy.within:
            seconds = policy.cool_down
        else:
            return None
        self.period += 1
        self.cool_down = seconds
        self.open_until = now + seconds
        self.tried_at = None
        return seconds

    def close(self) -> None:
        # The object stays, so that calls that began before belong to an earlier period.
        self.times.clear()
        self.period += 1
        self.cool_down = 0.0
        self.open_until = None
        self.tried_at = None


class Circuits:
    """The circuits of a registry's plugins; always closed without a policy.

    ``on_open`` is called, without the lock, with the slug of a plugin whose circuit has opened,
    and the seconds until the trial; its exceptions pass. ``clock`` returns seconds that never go
    back. ``counts`` says whether a fault counts; None means that each does. Calls may come from
    any thread.
    """

    def __init__(
        self,
        policy: CircuitPolicy | None,
        on_open: Callable[[str, float], object] = lambda *_: None,
        clock: Callable[[], float] = time.monotonic,
        counts: Counts | None = None,
    ) -> None:
        self._counts = counts
        self._policy: Final = policy
        self._on_open = on_open
        self._clock = clock
        self._lock = PerProcess(threading.Lock)
        self._circuits: dict[str, _Circuit] = {}
        self.is_for_all: Final = policy is not None and counts is None
        """Whether the faults of every plugin count."""
        self.failed: Final = self._circuits.keys()
        """The plugins that have failed. All others are admitted, without a trial."""

    def covers(self, slug: str) -> bool:
        """Return whether any faults of a plugin count."""
        return self.is_for_all or (self._counts is not None and self._counts(slug, None))

    def state(self, slug: str) -> CircuitState:
        """Return whether calls get through to a plugin now. Changes nothing."""
        with self._lock.get():
            circuit = self._circuits.get(slug)
            if circuit is None or circuit.open_until is None:
                return "closed"
            return "half-open" if self._clock() >= circuit.open_until else "open"

    def admit(self, slug: str) -> Admission | None:
        """Return the permission to call a plugin once, None where its circuit is open.

        During a trial call there is no other. A trial that has run as long as the circuit was
        open has failed, so that code that hangs does not lock its plugin out for ever.
        """
        # A plugin that has never failed has no circuit, and this needs no lock.
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
            trial = Admission(slug, circuit.period, True)
            if circuit.tried_at is None:
                circuit.tried_at = now
                return trial
            if now < circuit.tried_at + circuit.cool_down:
                return None
        self.record_failure(trial)
        return None

    def record_success(self, admission: Admission) -> None:
        """Close the circuit if this was its trial call."""
        if admission.is_trial:
            with self._lock.get():
                circuit = self._of_period(admission)
                if circuit is not None:
                    circuit.close()

    def record_failure(self, admission: Admission, error: BaseException | None = None) -> None:
        """Count a fault of the plugin, a timeout included; it may open the circuit.

        Without an *error* the plugin was too slow.
        """
        if self._policy is None:
            return
        if self._counts is not None and not self._counts(admission.slug, error):
            self.record_success(admission)
            return
        slug, now = admission.slug, self._clock()
        with self._lock.get():
            if slug not in self._circuits and admission.period == 0:
                self._circuits[slug] = _Circuit(self._policy.max_failures)
            circuit = self._of_period(admission)
            if circuit is None:
                return
            seconds = circuit.fail(now, self._policy, is_trial=admission.is_trial)
        if seconds is not None:
            self._on_open(slug, seconds)

    def record_abort(self, admission: Admission) -> None:
        """Allow another trial if the host has aborted this trial, as by Ctrl-C."""
        if admission.is_trial:
            with self._lock.get():
                circuit = self._of_period(admission)
                if circuit is not None:
                    circuit.tried_at = None

    def reset(self, slug: str) -> None:
        """Close a plugin's circuit and forget its faults; a closed circuit stays closed."""
        with self._lock.get():
            circuit = self._circuits.get(slug)
            if circuit is not None:
                circuit.close()

    def forget(self, slug: str) -> None:
        """Forget a plugin that is gone."""
        with self._lock.get():
            self._circuits.pop(slug, None)

    def _of_period(self, admission: Admission) -> _Circuit | None:
        """Return the plugin's circuit, None if it has opened or closed since."""
        circuit = self._circuits.get(admission.slug)
        is_current = circuit is not None and circuit.period == admission.period
        return circuit if is_current else None
