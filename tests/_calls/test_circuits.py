"""Circuits: who gets calls, and when."""

from __future__ import annotations

import threading

import pytest

from plugreg._calls.circuits import CircuitPolicy, Circuits

POLICY = CircuitPolicy(max_failures=3, within=10, cool_down=5, longest=15)


class Clock:
    """A clock that stands still until it is moved."""

    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    """Return a clock."""
    return Clock()


@pytest.fixture
def opened():
    """Return the list of the arguments with which circuits opened."""
    return []


@pytest.fixture
def circuits(clock, opened):
    """Return circuits with a policy."""
    return Circuits(POLICY, lambda *given: opened.append(given), clock)


def fail(circuits, times=3, slug="tea"):
    for _ in range(times):
        circuits.record_failure(circuits.admit(slug))


def test_repeated_faults_open_it(circuits, opened):
    """At the third fault no call gets through any more, and the host is notified once."""
    fail(circuits, 2)
    assert (circuits.state("tea"), opened) == ("closed", [])
    fail(circuits, 1)

    assert (circuits.state("tea"), opened) == ("open", [("tea", 5)])
    assert circuits.admit("tea") is None


def test_other_plugins_are_not_concerned(circuits):
    """One plugin's circuit says nothing of another."""
    fail(circuits)

    assert circuits.admit("milk") is not None
    assert circuits.state("milk") == "closed"


def test_faults_that_lie_far_apart_do_not_open_it(circuits, clock):
    """Only those within ten seconds count."""
    for _ in range(10):
        fail(circuits, 1)
        clock.now += 5.1

    assert circuits.state("tea") == "closed"


def test_calls_that_go_well_between_are_no_excuse(circuits):
    """A plugin with a hook that works may have another one that never does."""
    for _ in range(3):
        circuits.record_success(circuits.admit("tea"))
        fail(circuits, 1)

    assert circuits.state("tea") == "open"


def test_one_call_is_tried_after_the_back_off(circuits, clock):
    """Not before, and no other one beside it; if it goes well, all is forgotten."""
    fail(circuits)
    clock.now += 4.9
    assert circuits.admit("tea") is None
    clock.now += 0.1
    assert circuits.state("tea") == "half-open"
    trial = circuits.admit("tea")
    assert trial is not None
    assert circuits.admit("tea") is None
    assert circuits.state("tea") == "half-open"

    circuits.record_success(trial)
    assert circuits.state("tea") == "closed"
    fail(circuits, 2)
    assert circuits.state("tea") == "closed"


def test_each_failed_trial_doubles_the_back_off_up_to_the_longest(circuits, clock, opened):
    """So that a plugin which stays broken is asked less and less often, but for ever."""
    fail(circuits)
    for seconds in (10, 15, 15):
        clock.now = clock.now + opened[-1][1]
        fail(circuits, 1)
        assert opened[-1] == ("tea", seconds)

    clock.now += 15
    circuits.record_success(circuits.admit("tea"))
    fail(circuits)
    assert opened[-1] == ("tea", 5)


def test_a_trial_that_is_broken_off_is_tried_again(circuits, clock):
    """Ctrl-C in the trial says nothing of the plugin."""
    fail(circuits)
    clock.now += 5
    circuits.record_abort(circuits.admit("tea"))

    assert circuits.admit("tea") is not None


def test_a_trial_that_does_not_end_has_failed(circuits, clock, opened):
    """It keeps nobody out for ever: the next trial has twice the time, and its end says nothing."""
    fail(circuits)
    clock.now += 5
    lost = circuits.admit("tea")
    clock.now += 4.9
    assert (circuits.admit("tea"), circuits.state("tea")) == (None, "half-open")
    clock.now += 0.1
    assert (circuits.admit("tea"), circuits.state("tea")) == (None, "open")
    assert opened == [("tea", 5), ("tea", 10)]

    circuits.record_success(lost)
    assert circuits.state("tea") == "open"
    clock.now += 10
    circuits.record_success(circuits.admit("tea"))
    assert circuits.state("tea") == "closed"


def test_a_slow_trial_counts_if_nobody_has_asked_since(circuits, clock):
    """It has gone well, and nobody was kept out."""
    fail(circuits)
    clock.now += 5
    slow = circuits.admit("tea")
    clock.now += 60
    circuits.record_success(slow)

    assert circuits.state("tea") == "closed"


def test_calls_that_were_begun_before_do_not_count_after(circuits, clock):
    """Neither does a fault open it again, nor a success close it, nor either of them later."""
    old = [circuits.admit("tea") for _ in range(4)]
    fail(circuits)
    circuits.record_success(old[0])
    assert circuits.state("tea") == "open"
    clock.now += 5
    circuits.record_failure(old[1])
    assert circuits.state("tea") == "half-open"
    circuits.record_success(circuits.admit("tea"))
    fail(circuits, 2)
    circuits.record_failure(old[2])
    assert circuits.state("tea") == "closed"


def test_a_reset_closes_it(circuits):
    """At once, and the faults before it count no more."""
    fail(circuits)
    circuits.reset("tea")
    circuits.reset("unknown")

    assert circuits.state("tea") == "closed"
    fail(circuits, 2)
    assert circuits.state("tea") == "closed"


def test_without_a_policy_it_never_opens():
    """It is off by default."""
    circuits = Circuits(None)
    fail(circuits, 1_000)

    assert circuits.state("tea") == "closed"


def test_threads_get_one_trial_among_them(circuits, clock):
    """However many ask at once."""
    fail(circuits)
    clock.now += 5
    start = threading.Barrier(8)
    had = []

    def ask():
        start.wait()
        had.append(circuits.admit("tea"))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(item is not None for item in had) == 1


@pytest.mark.parametrize(
    ("fields", "error", "words"),
    [
        ({"max_failures": 0}, ValueError, "max_failures=0"),
        ({"max_failures": 1.5}, TypeError, "max_failures=1.5"),
        ({"max_failures": True}, TypeError, "max_failures=True"),
        ({"within": 0}, ValueError, "within=0"),
        ({"within": "1"}, TypeError, "within='1'"),
        ({"cool_down": float("nan")}, ValueError, "cool_down=nan"),
        ({"longest": float("inf")}, ValueError, "longest=inf"),
        ({"longest": 1, "cool_down": 2}, ValueError, "longest=1"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(fields, error, words):
    """The message names the field."""
    with pytest.raises(error, match=words):
        CircuitPolicy(**fields)
