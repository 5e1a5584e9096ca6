"""Counting and timing calls, and looking up running calls."""

from __future__ import annotations

import threading

import pytest

from plugreg.observation import Observation

MANY = 1_300
"""More calls than are noted before totals are made of them."""


def fail():
    raise ValueError("no")


@pytest.fixture
def observation():
    return Observation()


def figures(observation):
    return {(item.slug, item.hook): (item.calls, item.errors) for item in observation.stats()}


def test_no_call_is_lost_between_threads(observation):
    """Totals are exact, however many calls of however many threads ended since the last look."""
    count = observation.around(lambda: None, "tea", "price")

    def work():
        for _ in range(MANY):
            count()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        observation.stats()
    for thread in threads:
        thread.join()

    assert figures(observation) == {("tea", "price"): (4 * MANY, 0)}


def test_memory_does_not_grow_with_the_calls(observation):
    """Notes of ended calls are added to the totals without anybody asking for these."""
    count = observation.around(lambda: None, "tea", "price")
    for _ in range(10 * MANY):
        count()

    assert len(observation._ended) <= MANY


def test_a_function_in_between_counts_as_an_observer_does(observation):
    """Calls that raise are errors, those that Ctrl-C ends are not; the exception passes."""

    def stop():
        raise KeyboardInterrupt

    for error, function in ((ValueError, fail), (KeyboardInterrupt, stop)):
        with pytest.raises(error):
            observation.around(function, error.__name__, "price")()
        observation.ended(observation.began(error.__name__, "cost"), None)

    assert figures(observation) == {
        ("ValueError", "price"): (1, 1),
        ("ValueError", "cost"): (1, 0),
        ("KeyboardInterrupt", "price"): (1, 0),
        ("KeyboardInterrupt", "cost"): (1, 0),
    }
    assert observation.running() == ()


def test_calls_inside_calls(observation):
    """Each that runs is listed, the outermost first, and none afterwards."""
    found = []

    def look():
        found.extend(observation.running())

    observation.around(observation.around(look, "inner", "price"), "outer", "price")()

    assert [call.slug for call in found] == ["outer", "inner"]
    assert all(call.thread == threading.current_thread().name for call in found)
    assert all("observation.running()" in call.stack for call in found)
    assert observation.running() == ()


def test_a_thread_that_python_has_not_started(observation):
    """It has no name, and is listed by its number."""
    import _thread

    found, is_over = [], threading.Event()

    def work():
        observation.around(lambda: found.extend(observation.running()), "tea", "price")()
        found.append(_thread.get_ident())
        is_over.set()

    _thread.start_new_thread(work, ())
    assert is_over.wait(30)

    call, number = found
    assert call.thread == f"thread {number}"
    assert "observation.running()" in call.stack


def test_what_is_forgotten_begins_again(observation):
    """Calls that had ended are forgotten; later ones are counted from one."""
    count = observation.around(lambda: None, "tea", "price")
    count()
    observation.forget("tea")
    assert observation.stats() == ()
    count()

    assert figures(observation) == {("tea", "price"): (1, 0)}
