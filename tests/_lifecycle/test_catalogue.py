"""Records: composed from a snapshot and the ledger when they are asked for, and no sooner."""

from __future__ import annotations

import gc
import weakref

import pytest

from plugreg import PluginFailure, PluginNotFoundError, PluginState, Stage
from plugreg._lifecycle.catalogue import Catalogue
from plugreg._state.ledger import FailureLedger
from plugreg._state.probe_rows import ProbeRows
from plugreg._support.slugs import Slug
from plugreg.records import (
    ActivePlugin,
    KnownPlugin,
    LoadedPlugin,
    PluginFacts,
    PluginSpec,
    Snapshot,
    Source,
)
from plugreg.storage import MemoryStorage


def spec(slug, **fields):
    fields.setdefault("source", Source.ENTRY_POINT)
    return PluginSpec(slug=Slug(slug), name=slug, value=slug, **fields)


def known(slug, state=PluginState.INACTIVE, reason="is inactive", **fields):
    fields.setdefault("spec", spec(slug))
    return KnownPlugin(
        **{"pk": 1, "wanted": False, "name": slug, "distribution": None, **fields},
        slug=Slug(slug),
        state=state,
        reason=reason,
    )


def serving(slug, **fields):
    """Return an active plugin's line, and its parts in service."""
    loaded = LoadedPlugin(
        **{"plugin": object(), "name": slug, "title": slug, "version": None, **fields},
        spec=spec(slug),
    )
    line = known(slug, PluginState.ACTIVE, "", loaded=loaded, wanted=True, name=loaded.name)
    active = ActivePlugin(
        loaded=loaded, mixins={"ui": "UI"}, enabled=frozenset(), implementations=None
    )
    return line, active


def snapshot_of(*lines, active=()):
    return Snapshot(
        plugins={line.slug: line for line in lines},
        active={plugin.slug: plugin for plugin in active},
    )


class House:
    """A catalogue with its collaborators: snapshot, failures, metadata."""

    def __init__(self, *lines, active=()):
        self.snapshot = snapshot_of(*lines, active=active)
        self.ledger = FailureLedger()
        self.described = []
        self.catalogue = self.make_catalogue(lambda _: "closed")

    def make_catalogue(self, circuit_of):
        probe_rows = ProbeRows(MemoryStorage())
        return Catalogue(lambda: self.snapshot, self.ledger, self.describe, probe_rows, circuit_of)

    def describe(self, spec):
        self.described.append(spec.slug)
        return PluginFacts(summary="A drink", author="Someone")


class TestRecord:
    def test_an_unknown_plugin_is_refused_with_a_near_name(self):
        """The error names the slug that was asked for."""
        house = House(known("coffee"))
        with pytest.raises(PluginNotFoundError, match="did you mean 'coffee'") as caught:
            house.catalogue.record("cofee")
        assert caught.value.slug == "cofee"

    def test_one_that_was_looked_at_shows_what_has_failed_since(self):
        """It is no longer shown once it is repaired, nor are failures of another snapshot."""
        line, active = serving("tea")
        house = House(line, active=[active])
        first = house.catalogue.record("tea")
        house.ledger.record(PluginFailure(stage=Stage.CALL, slug="tea", message="no"))
        assert (first.errors, len(house.catalogue.record("tea").errors)) == ((), 1)

        house.ledger.replace([], lambda _: True)
        assert house.catalogue.record("tea").errors == ()
        house.snapshot = snapshot_of(known("tea"))
        assert house.catalogue.record("tea").state is PluginState.INACTIVE

    def test_is_not_kept_where_the_plugin_fails_meanwhile(self):
        """A failure that comes while a record is made is in the next one."""
        line, active = serving("tea")
        house = House(line, active=[active])

        def fails_now(slug):
            house.ledger.record(PluginFailure(stage=Stage.CALL, slug=slug, message="no"))
            return "closed"

        catalogue = house.make_catalogue(fails_now)
        assert catalogue.record("tea").errors == ()
        assert house.snapshot.composed == {}
        assert [failure.message for failure in catalogue.record("tea").errors] == ["no"]

    def test_is_not_kept_with_a_failure_that_is_gone_meanwhile(self):
        """A failure that a reload clears while a record is made is not in the next one."""
        line, active = serving("tea")
        house = House(line, active=[active])
        house.ledger.record(PluginFailure(stage=Stage.CALL, slug="tea", message="no"))

        def is_cleared_now(_slug):
            house.ledger.replace((), lambda _: True)
            return "closed"

        catalogue = house.make_catalogue(is_cleared_now)
        assert [failure.message for failure in catalogue.record("tea").errors] == ["no"]
        assert catalogue.record("tea").errors == ()

    def test_facts_are_asked_for_only_when_they_are_looked_at(self):
        """Composing a record reads no file."""
        house = House(known("tea"))
        record = house.catalogue.record("tea")
        assert (record.slug, record.errors, house.described) == ("tea", (), [])
        assert (record.description, record.author) == ("A drink", "Someone")
        assert set(house.described) == {"tea"}

    def test_of_a_plugin_that_is_gone(self):
        """It has a name and a distribution, and nothing that a file would say."""
        line = known(
            "tea", PluginState.MISSING, "is not installed", spec=None, distribution="tea-house"
        )
        house = House(line)
        record = house.catalogue.record("tea")
        assert (record.name, record.title, record.version) == ("tea", "tea", None)
        assert (record.is_installed, record.is_package, record.description) == (False, True, None)
        assert house.described == []

    def test_what_an_object_states_goes_before_its_distribution(self):
        """Title, version and description are those of the object while it serves."""
        line, active = serving("tea", title="Fine tea", version="2.0", description="Stated")
        record = House(line, active=[active]).catalogue.record("tea")
        assert (record.title, record.version, record.description) == ("Fine tea", "2.0", "Stated")
        assert (record.plugin, record.mixins) == (active.plugin, {"ui": "UI"})

    def test_what_a_class_states_is_known_before_it_is_loaded(self):
        """Literals count where nothing is loaded; the distribution's version goes before them."""
        literals = {"TITLE": "Fine tea", "VERSION": "1.0"}
        house = House(
            known("tea", spec=spec("tea", attributes=literals)),
            known("milk", spec=spec("milk", attributes=literals, version="3.0")),
            known("odd", spec=spec("odd", attributes={"TITLE": ["x"], "VERSION": 5})),
        )
        found = house.catalogue.all()
        assert [(record.title, record.version) for record in found.values()] == [
            ("Fine tea", "1.0"),
            ("Fine tea", "3.0"),
            ("odd", None),
        ]

    @pytest.mark.parametrize(
        ("source", "is_builtin", "is_sample"),
        [
            (Source.BUILTIN, True, False),
            (Source.SAMPLE, False, True),
            (Source.DIRECTORY, False, False),
        ],
    )
    def test_where_it_comes_from(self, source, is_builtin, is_sample):
        """The two kinds are those of the host."""
        house = House(known("tea", spec=spec("tea", source=source), is_mandatory=True))
        record = house.catalogue.record("tea")
        assert (record.is_builtin, record.is_sample, record.is_mandatory) == (
            is_builtin,
            is_sample,
            True,
        )


class TestReason:
    def test_of_one_that_failed_is_its_last_fault(self):
        """A fault of a call does not say why a plugin is off."""
        house = House(known("tea", PluginState.FAILED, "failed"))
        assert house.catalogue.record("tea").reason == "failed"
        for stage, message in (
            (Stage.INIT, "first"),
            (Stage.ACTIVATE, "second"),
            (Stage.CALL, "third"),
        ):
            house.ledger.record(PluginFailure(stage=stage, slug="tea", message=message))
        assert house.catalogue.record("tea").reason == "failed at activate: second"

    def test_of_all_others_is_the_snapshots(self):
        """Old failures do not take its place."""
        house = House(known("tea"))
        house.ledger.record(PluginFailure(stage=Stage.INIT, slug="tea", message="first"))
        record = house.catalogue.record("tea")
        assert record.reason == "is inactive"
        assert [failure.message for failure in record.errors] == ["first"]


class TestViews:
    def test_show_one_moment(self):
        """They do not show later publications; its own records go on being composed."""
        line, active = serving("tea")
        house = House(line, known("milk"), active=[active])
        everything, serve = house.catalogue.all(), house.catalogue.active()
        house.snapshot = snapshot_of()
        assert (list(everything), list(serve)) == (["tea", "milk"], ["tea"])
        assert everything["tea"].active
        assert list(house.catalogue.all()) == []

    def test_show_what_has_failed_since(self):
        """A view that is held across a change shows new failures as the next view does."""
        line, active = serving("tea")
        house = House(line, active=[active])
        views = [house.catalogue.active(), house.catalogue.all()]
        assert [view["tea"].errors for view in views] == [(), ()]
        house.snapshot = snapshot_of(line, active=[active])
        views.append(house.catalogue.active())
        assert views[2]["tea"].errors == ()
        house.ledger.record(PluginFailure(stage=Stage.CALL, slug="tea", message="no"))

        assert [len(view["tea"].errors) for view in views] == [1, 1, 1]

    def test_keep_no_plugin_that_has_left(self):
        """A plugin object goes with its snapshot, not at the next garbage collection."""

        class Tea:
            pass

        line, active = serving("tea", plugin=Tea())
        plugin = weakref.ref(active.loaded.plugin)
        house = House(line, active=[active])
        assert house.catalogue.active()["tea"].active
        assert house.catalogue.all()["tea"].active
        gc.disable()
        try:
            del line, active
            house.snapshot = Snapshot()

            assert plugin() is None
        finally:
            gc.enable()

    def test_hold_nothing_else(self):
        """A plugin that is off is no entry of the active ones."""
        line, active = serving("tea")
        found = House(line, known("milk"), active=[active]).catalogue.active()
        assert ("tea" in found, "milk" in found, len(found)) == (True, False, 1)
        with pytest.raises(KeyError, match="milk"):
            found["milk"]

    def test_say_what_they_hold(self):
        """Slugs alone, without composing any record."""
        house = House(known("tea"), known("milk"))
        assert repr(house.catalogue.all()) == "<plugins: tea, milk>"
        assert repr(house.catalogue.active()) == "<plugins: none>"
