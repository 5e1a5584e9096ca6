"""Needs attention, and the processes."""

from __future__ import annotations

import pytest

from plugreg import CircuitPolicy, Plugin, PluginRegistry, hookimpl, hookspec
from plugreg._calls import OPEN_CIRCUIT
from plugreg.api import Actor
from plugreg.exceptions import StorageError
from plugreg.mixins import SettingsMixin
from plugreg.records import ProcessFailure, Stage
from plugreg.storage import MemoryStorage


class Hooks:
    @hookspec
    def price(self): ...


class Tea(SettingsMixin, Plugin):
    SETTINGS = {"OLD": {"name": "Old"}}


class NewTea(SettingsMixin, Plugin):
    SETTINGS = {"NEW": {"name": "New"}}


class Faulty(Plugin):
    @hookimpl
    def price(self):
        return 1 / 0


@pytest.fixture
def faulty():
    """A registry whose only plugin has an open circuit."""
    with PluginRegistry(
        "shop",
        hookspecs=[Hooks],
        builtin=[("faulty", Faulty)],
        circuit=CircuitPolicy(max_failures=1, within=60, cool_down=600),
    ) as registry:
        registry.load()
        registry.activate("faulty")
        registry.call(Hooks.price)
        assert registry.get("faulty").circuit == "open"
        yield registry


def test_repairs_are_those_of_the_registry(visitor, registry):
    """Each has its severity, code and text, as ``registry.repairs()`` has it."""
    page = visitor("attention/")
    repairs = registry.repairs()

    assert repairs
    for repair in repairs:
        assert repair.code in page.doc.text
        assert " ".join(repair.text.split()) in page.doc.text
    assert "out of &lt;order&gt;" in page.text


def test_an_empty_list_says_so(visitor, registry):
    """Where nothing is wrong, that stands there."""
    registry.switch({"broken": False, "tea": False})
    page = visitor("attention/")

    assert registry.repairs() == ()
    assert "Nothing needs attention." in page.doc.text


def test_an_action_is_run_and_reported(visitor_of, faulty):
    """The button does as its label says, and the answer names the plugin."""
    visitor = visitor_of(faulty)

    page = visitor("attention/").press("Close the circuit of faulty")

    assert faulty.get("faulty").circuit == "closed"
    (said,) = page.doc.roles["status"]
    assert said.startswith("faulty:")

    faulty.call(Hooks.price)
    page = visitor("plugins/faulty/runtime/").press("Reset")

    assert faulty.get("faulty").circuit == "closed"
    assert page.doc.roles["status"] == ["faulty is called again: its circuit is closed."]


def test_a_circuit_of_another_process_is_closed_from_here(visitor_of, monkeypatch):
    """Its button asks all processes, as the command does."""
    failure = ProcessFailure(
        stage=Stage.CALL, slug="faulty", subject=OPEN_CIRCUIT, message="open", is_running=True
    )
    with PluginRegistry("shop", hookspecs=[Hooks], builtin=[("faulty", Faulty)]) as registry:
        registry.load()
        registry.activate("faulty")
        monkeypatch.setattr("plugreg.repairs.gathering._failures", lambda *_: (failure,))
        asked = []
        monkeypatch.setattr(registry.shared, "ask", lambda *given: asked.append(given))
        visitor = visitor_of(registry)

        page = visitor("attention/").press("Close the circuit of faulty in all processes")

        assert asked == [("reset", "faulty")]
        assert page.doc.roles["status"] == [
            "faulty: “Close the circuit of faulty in all processes” is asked of all processes; "
            "each does so within moments."
        ]


def test_circuits_here_and_elsewhere_have_buttons_of_their_own(visitor_of, faulty, monkeypatch):
    """Both repairs have one code and one plugin; each button does what it says."""
    failure = ProcessFailure(
        stage=Stage.CALL, slug="faulty", subject=OPEN_CIRCUIT, message="open", is_running=True
    )
    monkeypatch.setattr("plugreg.repairs.gathering._failures", lambda *_: (failure,))
    asked = []
    monkeypatch.setattr(faulty.shared, "ask", lambda *given: asked.append(given))

    visitor_of(faulty)("attention/").press("Close the circuit of faulty in all processes")

    assert asked == [("reset", "faulty")]
    assert faulty.get("faulty").circuit == "open"


def test_what_cannot_be_undone_is_asked_first(visitor_of):
    """Values without a setting are deleted after a question, and not before."""
    storage = MemoryStorage()
    with PluginRegistry("shop", builtin=[("tea", Tea)], storage=storage) as before:
        before.load()
        before.activate("tea")
        before.settings("tea").set("OLD", "x")
    with PluginRegistry("shop", builtin=[("tea", NewTea)], storage=storage) as registry:
        registry.load()
        visitor = visitor_of(registry)
        question = visitor("attention/").follow("Delete stored values of tea")

        assert question.doc.headings == ["Delete stored values of tea?"]
        assert [repair for repair in registry.repairs() if repair.code == "P015"]

        page = question.press("Delete stored values of tea")

        assert page.doc.roles["status"][0].startswith("tea:")
        assert not [repair for repair in registry.repairs() if repair.code == "P015"]
        assert visitor("attention/question/?code=P015&slug=tea&action=forget").doc.headings == [
            "Needs attention"
        ]


def test_switching_leads_to_the_question(visitor, registry):
    """A button that switches a plugin asks first, and comes back here."""
    question = visitor("attention/").follow("Deactivate broken")

    assert question.doc.headings == ["Deactivate broken?"]

    page = question.press("Deactivate")

    assert page.address.partition("#")[0].endswith("/admin/attention/")
    assert not registry.get("broken").wanted


def test_an_action_that_is_gone_changes_nothing(visitor, registry):
    """A page that is older than the repair says that it is no more."""
    page = visitor("attention/")
    registry.deactivate("broken")
    page = page.press("Try broken again")

    assert page.doc.roles["status"] == ["broken: this needs no attention any more."]


def test_staff_sees_what_is_wrong_and_has_no_buttons(visit_as):
    """Who may not switch is not offered to."""
    page = visit_as(Actor(2, is_staff=True))("attention/")

    if page.status == 200:
        assert page.buttons() == []


def test_processes_say_who_runs_what(visitor):
    """The one that answers is there, with its plugins, and all can be reloaded."""
    page = visitor("processes/")

    assert "up to date" in page.doc.text
    assert "tea" in page.doc.text
    assert page.press("Reload all processes").doc.roles["status"]


@pytest.mark.parametrize("path", ["", "plugins/tea/", "attention/", "processes/", "my-settings/"])
def test_safe_mode_is_said_on_every_screen(visitor_of, path):
    """The banner says that nothing is lost, and how to leave; nothing is stored by looking."""
    storage = MemoryStorage()
    with PluginRegistry("shop", builtin=[("tea", Plugin)], storage=storage) as before:
        before.load()
        before.activate("tea")
    with PluginRegistry("shop", builtin=[("tea", Plugin)], storage=storage, safe_mode=True) as it:
        it.load()
        revision = storage.revision()
        page = visitor_of(it)(path)

        assert page.status == 200
        assert "Safe mode: no plugin is loaded." in page.doc.text
        assert "Nothing was changed or deleted" in page.doc.text
        assert "PLUGREG_SAFE_MODE" in page.doc.text
        assert storage.revision() == revision


def test_without_safe_mode_there_is_no_banner(visitor):
    """The banner stands only where it holds."""
    assert "Safe mode" not in visitor().doc.text


def test_in_safe_mode_plugins_can_be_switched(visitor_of):
    """A change is stored, and takes effect at the next start."""
    storage = MemoryStorage()
    with PluginRegistry("shop", builtin=[("tea", Plugin)], storage=storage, safe_mode=True) as it:
        it.load()
        page = visitor_of(it)("plugins/tea/activate/").press("Activate")

        assert page.doc.roles["status"] == ["tea is switched on, and starts when safe mode ends."]
        assert "stays off in safe mode" in page.doc.text
        assert "switched off" not in page.doc.text
    with PluginRegistry("shop", builtin=[("tea", Plugin)], storage=storage) as after:
        after.load()
        assert after.get("tea").active


def test_looking_stores_nothing_that_others_read(visitor, registry):
    """No screen raises the number of changes: the key of tokens was stored with the page."""
    revision = registry.storage.revision()
    for path in (
        "",
        "plugins/tea/",
        "plugins/tea/settings/",
        "plugins/tea/failures/",
        "plugins/tea/runtime/",
        "plugins/tea/files/",
        "plugins/tea/deactivate/",
        "attention/",
        "processes/",
        "my-settings/",
    ):
        assert visitor(path).status == 200
    assert registry.storage.revision() == revision


def test_before_load_and_after_close_the_page_says_so(visitor_of):
    """A registry that is not loaded is answered with 503 in the frame of the page."""
    registry = PluginRegistry("shop")
    page = visitor_of(registry)()

    assert page.status == 503
    assert page.doc.headings == ["Not available just now"]


class Leaving(MemoryStorage):
    """A storage that goes away."""

    is_away = False

    def read(self, table):
        if self.is_away:
            raise StorageError("gone")
        return super().read(table)

    def transaction(self):
        if self.is_away:
            raise StorageError("gone")
        return super().transaction()

    def revision(self):
        if self.is_away:
            raise StorageError("gone")
        return super().revision()


def test_without_its_storage_the_page_shows_what_it_knows(visitor_of):
    """The table and a plugin's tabs need no storage; screens that need it report this."""
    storage = Leaving()
    with PluginRegistry("shop", builtin=[("tea", Plugin)], storage=storage) as registry:
        registry.load()
        registry.activate("tea")
        visitor = visitor_of(registry)
        storage.is_away = True
        page = visitor()

        assert page.status == 200
        assert "✓ active" in page.doc.text
        assert page.doc.roles["alert"][0].startswith("The store cannot be read just now.")
        for path in ("plugins/tea/", "plugins/tea/failures/", "plugins/tea/runtime/"):
            assert visitor(path).status == 200
        refused = visitor("plugins/tea/deactivate/").press("Deactivate")
        assert "tea was not switched" in refused.doc.roles["alert"][0]
        assert visitor("attention/").status in (200, 503)
        storage.is_away = False
        assert visitor("plugins/tea/deactivate/").press("Deactivate").doc.roles["status"]
