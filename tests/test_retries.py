"""When plugins that are not ready yet are tried again."""

from __future__ import annotations

from plugreg import NotReadyYet, PluginFailure, Stage
from plugreg.retries import Retries


def failure(slug, error):
    return PluginFailure.of(Stage.INIT, slug, error)


class Clock:
    now = 50.0

    def __call__(self):
        return self.now


def test_one_is_due_when_its_time_has_come():
    """Not sooner, and each by its own time."""
    clock = Clock()
    retries = Retries(clock)
    retries.note({"tea", "milk"}, [failure("tea", NotReadyYet(retry_after=5))])
    retries.note({"cup"}, [failure("cup", NotReadyYet(retry_after=9))])
    assert retries.due() == frozenset()

    clock.now += 5
    assert retries.due() == {"tea"}
    clock.now += 4
    assert retries.due() == {"tea", "cup"}


def test_what_was_tried_since_is_not_due():
    """Whatever came of it; what was not tried stays."""
    clock = Clock()
    retries = Retries(clock)
    retries.note({"tea", "milk"}, [failure(each, NotReadyYet()) for each in ("tea", "milk")])
    clock.now += 100
    retries.note({"tea"}, [failure("tea", ValueError("no"))])

    assert retries.due() == {"milk"}


def test_other_failures_are_no_reason():
    """A plugin that is broken is not tried again by itself."""
    clock = Clock()
    retries = Retries(clock)
    retries.note({"tea"}, [failure("tea", OSError("away"))])
    clock.now += 1_000

    assert retries.due() == frozenset()


class Lying(NotReadyYet):
    retry_after = property(lambda _: 1 / 0)

    def __init__(self):
        Exception.__init__(self)


class Endless(NotReadyYet):
    retry_after = float("nan")

    def __init__(self):
        Exception.__init__(self)


def test_one_that_cannot_say_when_is_a_failure_like_others():
    """It is recorded, and not tried again by itself."""
    for kind in (Lying, Endless):
        assert failure("tea", kind()).retry_after is None
    assert failure("tea", NotReadyYet(retry_after=5)).retry_after == 5
