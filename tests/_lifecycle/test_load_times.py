"""Which plugin makes a start slow: the times of a load, by plugin and stage."""

from __future__ import annotations

import sys

import pytest

from plugreg import Plugin, PluginRegistry, PluginState, Stage, hookimpl

SLOW = """
from time import perf_counter, sleep
from plugreg import Plugin, hookimpl

def dawdle(here):
    global dawdled
    if here == {where!r}:
        began = perf_counter()
        sleep(0.02)
        dawdled = perf_counter() - began

dawdle("import")

class Slow(Plugin):
    def __init__(self):
        dawdle("constructor")

    @hookimpl
    def plugreg_activated(self):
        dawdle("activation")
        if {fails}:
            raise OSError("no water")
"""


class Quick(Plugin):
    pass


class Refusing(Plugin):
    """Fails while it is activated."""

    @hookimpl
    def plugreg_activated(self):
        raise OSError("no water")


class Unmakeable(Plugin):
    """Fails while it is constructed."""

    def __init__(self):
        raise OSError("no water")


def make(*builtin, **options):
    return PluginRegistry("shop", group="no.such", builtin=builtin, new_plugins="active", **options)


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize(
    ("where", "stage"),
    [
        ("import", Stage.IMPORT),
        ("constructor", Stage.IMPORT),
        ("activation", Stage.ACTIVATE),
    ],
)
def test_the_slowest_plugin_is_first(tmp_path, monkeypatch, where, stage, fails):
    """Wherever it takes its time, and whether it comes into service or not."""
    monkeypatch.syspath_prepend(str(tmp_path))
    module = f"slow_{where}_{fails}".lower()
    with make(("a", Quick), ("b", Quick), ("slow", f"{module}:Slow")) as registry:
        (tmp_path / f"{module}.py").write_text(SLOW.format(where=where, fails=fails))
        report = registry.load()
        dawdled = sys.modules[module].dawdled

    assert report.states["slow"] is (PluginState.FAILED if fails else PluginState.ACTIVE)
    seconds = {(time.slug, time.stage): time.seconds for time in report.times}
    assert seconds["slow", stage] > dawdled
    # None of it is in the time of others: on a machine that pauses they may be slow themselves.
    others = sum(time for (slug, _), time in seconds.items() if slug != "slow")
    assert others + dawdled < sum(seconds.values()) < report.seconds
    assert [*seconds.values()] == sorted(seconds.values(), reverse=True)


def test_each_stage_that_was_reached_has_its_time():
    """Also the one that a plugin has failed at, but none after it."""
    with make(("a", Quick), ("b", Refusing), ("c", Unmakeable), ("d", "no.such:D")) as registry:
        times = registry.load().times

    assert {(time.slug, time.stage) for time in times} == {
        ("a", Stage.IMPORT),
        ("a", Stage.ACTIVATE),
        ("b", Stage.IMPORT),
        ("b", Stage.ACTIVATE),
        ("c", Stage.IMPORT),
        ("d", Stage.IMPORT),
    }
    assert len(times) == 6


def test_what_is_kept_takes_no_time():
    """A reload has only the times of the plugins that it makes again."""
    with make(("a", Quick), ("b", Quick)) as registry:
        registry.load()
        assert registry.reload().times == ()
        registry.manager.unregister(name="b")
        assert {time.slug for time in registry.reload().times} == {"b"}
        assert {time.slug for time in registry.reload(force=True).times} == {"a", "b"}


def test_plugins_that_were_brought_have_times_of_their_own():
    """They are not part of the time of the one that brings them."""

    class Bringing(Plugin):
        @hookimpl
        def plugreg_plugins(self):
            return [("brought", Quick)]

    with make(("a", Bringing)) as registry:
        times = registry.load().times

    assert sorted((time.slug, time.stage.value) for time in times) == [
        ("a", "activate"),
        ("a", "import"),
        ("brought", "activate"),
        ("brought", "import"),
    ]
