"""Circuits against a model that keeps the whole history and looks through all of it each time."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from plugreg._calls.circuits import CircuitPolicy, Circuits

POLICY = CircuitPolicy(max_failures=3, within=10, cool_down=4, longest=12)


class Model:
    """The events, in order: (time, event), since the circuit was last closed."""

    def __init__(self):
        self.faults = []
        self.openings = []
        self.tried_at = None
        self.period = 0

    def state(self, now):
        if not self.openings:
            return "closed"
        since, seconds = self.openings[-1]
        return "half-open" if now >= since + seconds else "open"

    def admit(self, now):
        if self.state(now) == "closed":
            return (self.period, False)
        if self.state(now) == "open":
            return None
        if self.tried_at is not None:
            if now - self.tried_at >= self.openings[-1][1]:
                self.wrong((self.period, True), now)
            return None
        self.tried_at = now
        return (self.period, True)

    def wrong(self, leave, now):
        period, is_trial = leave
        if period != self.period:
            return
        if not is_trial:
            self.faults.append(now)
            if sum(each >= now - POLICY.within for each in self.faults) < POLICY.max_failures:
                return
        doubled = POLICY.cool_down * 2 ** len(self.openings)
        self.openings.append((now, min(doubled, POLICY.longest)))
        self.period += 1
        self.tried_at = None

    def close(self):
        self.faults, self.openings, self.tried_at = [], [], None
        self.period += 1


class CircuitMachine(RuleBasedStateMachine):
    """One plugin, with calls that end in any order."""

    def __init__(self):
        super().__init__()
        self.now = 0.0
        self.real = Circuits(POLICY, clock=lambda: self.now)
        self.model = Model()
        self.under_way = []

    @rule(seconds=st.sampled_from([0.5, 1, 3, 4, 8, 12, 30]))
    def wait(self, seconds):
        """Let time pass."""
        self.now += seconds

    @rule()
    def begin(self):
        """Ask for leave to make a call."""
        real, model = self.real.admit("tea"), self.model.admit(self.now)
        assert (real is None) == (model is None)
        if real is not None:
            assert real.is_trial == model[1]
            self.under_way.append((real, model))

    @precondition(lambda self: self.under_way)
    @rule(data=st.data(), end=st.sampled_from(["well", "wrong", "wrong", "broken off"]))
    def end(self, data, end):
        """End one of the calls that are under way."""
        at = data.draw(st.integers(0, len(self.under_way) - 1))
        real, model = self.under_way.pop(at)
        is_current = model[0] == self.model.period
        if end == "wrong":
            self.real.record_failure(real)
            self.model.wrong(model, self.now)
        elif end == "well":
            self.real.record_success(real)
            if model[1] and is_current:
                self.model.close()
        else:
            self.real.record_abort(real)
            if model[1] and is_current:
                self.model.tried_at = None

    @rule(times=st.integers(1, 4))
    def fail(self, times):
        """Begin and end calls that go wrong."""
        for _ in range(times):
            self.begin()
            if self.under_way:
                real, model = self.under_way.pop()
                self.real.record_failure(real)
                self.model.wrong(model, self.now)

    @rule()
    def reset(self):
        """Have the operator close it."""
        known = bool(self.model.faults or self.model.openings or self.model.period)
        self.real.reset("tea")
        if known:
            self.model.close()

    @invariant()
    def they_agree(self):
        """The state is the same at each moment."""
        assert self.real.state("tea") == self.model.state(self.now)


TestCircuits = CircuitMachine.TestCase
