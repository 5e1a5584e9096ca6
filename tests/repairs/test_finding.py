"""Repairs as a pure function: situations that a registry hardly reaches, and all at once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from unittest.mock import Mock, call

import pytest

from plugreg._calls import OPEN_CIRCUIT
from plugreg._support.slugs import Slug
from plugreg.exceptions import RecordCorruptError
from plugreg.observation import RunningCall
from plugreg.records import (
    KnownPlugin,
    PluginFailure,
    PluginState,
    ProcessFailure,
    ProcessRecord,
    Snapshot,
    Stage,
)
from plugreg.repairs import CODES
from plugreg.repairs._values import Situation
from plugreg.repairs.finding import find_repairs
from plugreg.settings.values import StoredSettings, StoredValue

NOW = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)


def known(slug, state=PluginState.ACTIVE, reason="", **fields):
    return KnownPlugin(
        slug=Slug(slug),
        pk=1,
        wanted=fields.pop("wanted", True),
        state=state,
        reason=reason,
        name=slug,
        distribution=f"shop-{slug}",
        spec=None,
        **fields,
    )


def plugins(*found, **needs):
    by_slug = {plugin.slug: plugin for plugin in found}
    return Snapshot(plugins=by_slug, needs={Slug(k): v for k, v in needs.items()})


def process(name, active, *, minutes=2, **fields):
    since = NOW - timedelta(minutes=minutes)
    return ProcessRecord(
        name=name,
        pid=1,
        host="h",
        generation=1,
        active=active,
        errors=0,
        seen=NOW,
        since=since,
        **fields,
    )


def codes(situation):
    repairs = find_repairs(situation, Mock())
    assert all(repair.actions for repair in repairs)
    return [(repair.code, repair.slug) for repair in repairs]


FAILED = PluginState.FAILED
RELEASE = SimpleNamespace(
    distribution="shop-tea", installed="1.0", latest="1.1", yanked=None, slugs=("tea",)
)
SITUATIONS = {
    "P008": {"failures": [PluginFailure(stage=Stage.INSTALL, slug="install", message="gone")]},
    "P001": {"failures": [PluginFailure(stage=Stage.DISCOVERY, slug="folder", message="away")]},
    "P002": {
        "snapshot": plugins(known("tea", FAILED, "is part of a dependency cycle")),
        "failures": [PluginFailure(stage=Stage.RESOLVE, slug="tea", message="a cycle")],
    },
    "P009": {
        "snapshot": plugins(
            known("tea", FAILED, "needs 'milk', which is inactive", is_mandatory=True),
            known("milk", PluginState.BLOCKED, "is blocked by the host"),
            tea=(Slug("milk"),),
        )
    },
    "P010": {"snapshot": plugins(known("tea", PluginState.INCOMPATIBLE, "needs shop>=3"))},
    "P011": {"snapshot": plugins(known("tea", FAILED, "failed")), "quarantined": {"tea": "ended"}},
    "P012": {"snapshot": plugins(known("tea")), "circuits": {"tea": "open"}},
    "P013": {
        "snapshot": plugins(known("tea")),
        "hanging": (RunningCall(slug="tea", hook="price", seconds=60.0, thread="main", stack=""),),
    },
    "P015": {"stored": {"gone": StoredSettings(values={7: {"A": StoredValue("1", False)}})}},
    "P016": {
        "snapshot": plugins(known("tea")),
        "stored": {
            "tea": StoredSettings(
                values={None: {"A": StoredValue("", False, fault="no key opens it")}}
            )
        },
        "has_keys": True,
    },
    "P019": {"snapshot": plugins(known("tea", PluginState.MISSING, is_mandatory=True))},
    "P020": {"interrupted": ("plugins.d/generations/.waste-1",)},
    "P021": {"releases": (RELEASE,)},
    "P022": {"slow": {"tea": 2.5}},
    "P026": {"processes": (process("web", ("tea",)), process("jobs", ())), "now": NOW},
    "P027": {"is_safe": True},
    "P028": {"narrowed": "PLUGREG_ONLY=tea"},
}


@pytest.mark.parametrize("code", SITUATIONS)
def test_each_situation_has_its_code(code):
    """And no other one, and something to do about it even where nothing can be switched."""
    given = {"snapshot": Snapshot(), "failures": (), **SITUATIONS[code]}
    given["failures"] = tuple(given["failures"])
    assert [found for found, _ in codes(Situation(**given))] == [code]


def test_errors_come_first():
    """Then warnings, then hints; each by code and plugin."""
    situation = Situation(
        snapshot=plugins(
            known("b", PluginState.MISSING), known("a", PluginState.MISSING), known("tea")
        ),
        circuits={"tea": "open"},
        slow={"tea": 2.0},
    )
    assert codes(situation) == [("P019", "a"), ("P019", "b"), ("P012", "tea"), ("P022", "tea")]


def test_what_a_chain_ends_in_is_what_is_to_be_switched_on():
    """``tea`` needs ``milk``, which needs ``cow``, which is off."""
    registry = Mock()
    situation = Situation(
        snapshot=plugins(
            known("tea", FAILED, "needs 'milk', which needs 'cow', which is inactive"),
            known("milk", FAILED, "needs 'cow', which is inactive"),
            known("cow", PluginState.INACTIVE, "is inactive", wanted=False),
            tea=(Slug("milk"),),
            milk=(Slug("cow"),),
        )
    )
    for repair in find_repairs(situation, registry):
        assert repair.actions[0].label == "Activate cow"
        repair.actions[0].run()
    assert registry.activate.mock_calls == [call("cow")] * 2


def test_processes_may_differ_for_a_minute_and_where_they_are_meant_to():
    """A change takes its time; and who leaves plugins out does so on purpose."""
    for other in (process("jobs", (), minutes=0), process("jobs", (), narrowed=True)):
        situation = Situation(
            snapshot=Snapshot(), processes=(process("web", ("tea",)), other), now=NOW
        )
        assert codes(situation) == []


def test_a_failure_names_its_process():
    """Where it is not this one's, and how many others there are."""
    fields = {"stage": Stage.IMPORT, "slug": "tea", "process": "web", "pid": 7, "host": "h"}
    failures = tuple(
        ProcessFailure(message=message, last_seen=NOW + timedelta(minutes=minutes), **fields)
        for minutes, message in enumerate(["first", "last"])
    )
    situation = Situation(snapshot=plugins(known("tea", FAILED, "failed")), failures=failures)
    (repair,) = find_repairs(situation, Mock())
    assert repair.text == "last (and 1 more) [in process 'web', pid 7]"


def test_a_circuit_that_is_open_in_another_process_can_be_closed_from_here():
    """All processes are asked, so that a page needs no shell for it."""
    failure = ProcessFailure(
        stage=Stage.CALL, slug="tea", subject=OPEN_CIRCUIT, message="open", pid=7, is_running=True
    )
    registry = Mock()
    (repair,) = find_repairs(
        Situation(snapshot=plugins(known("tea")), failures=(failure,)), registry
    )

    repair.actions[0].run()

    assert (repair.code, repair.actions[0].command) == ("P012", "plugreg reset tea")
    assert registry.shared.ask.mock_calls == [call("reset", "tea")]


def test_a_failure_of_another_process_is_over_once_the_plugin_is_switched_off():
    """Nobody wants it any more."""
    failure = ProcessFailure(stage=Stage.IMPORT, slug="tea", message="no", process="web", pid=7)
    off = known("tea", PluginState.INACTIVE, "is inactive", wanted=False)
    assert codes(Situation(snapshot=plugins(off), failures=(failure,))) == []


def test_a_plugin_that_serves_with_a_fault_is_a_warning():
    """Such as one with a hook that nobody calls."""
    failure = PluginFailure(stage=Stage.ACTIVATE, slug="tea", message="unknown hook")
    (repair,) = find_repairs(Situation(snapshot=plugins(known("tea")), failures=(failure,)), Mock())
    assert (repair.severity, repair.title) == ("warning", "Plugin serves with a fault")


def test_required_settings_of_a_plugin_that_is_not_loaded():
    """Known from its last probe; an override counts as a value."""
    declared = {"tea": {"TOKEN": True, "COLOUR": False}}
    tea = plugins(known("tea", PluginState.INACTIVE))
    assert codes(Situation(snapshot=tea, declared=declared)) == [("P014", "tea")]
    overrides = {"tea": frozenset({"TOKEN"})}
    assert codes(Situation(snapshot=tea, declared=declared, overrides=overrides)) == []


def test_a_damaged_row_of_nobody_has_no_slug():
    """The command names its table and its key."""
    error = RecordCorruptError("counters", "pk", "KeyError: last")
    (repair,) = find_repairs(Situation(snapshot=Snapshot(), damaged=(error,)), Mock())
    assert (repair.code, repair.slug) == ("P016", None)
    assert repair.actions[0].command == "plugreg store repair --set-aside counters:pk"


def test_every_code_is_found_by_some_test():
    """The rest is in the tests of real registries."""
    real = {"P003", "P004", "P005", "P006", "P007", "P014", "P017", "P018", "P023", "P024", "P025"}
    assert {*SITUATIONS} | real == {*CODES}
