"""Activation, reload and status through every adapter."""

from __future__ import annotations

import threading
import time

import pytest

from plugreg import Plugin, PluginRegistry, PluginState, hookimpl
from plugreg.api import Actor, PluginAPI
from plugreg.storage import MemoryStorage

USER = Actor(7)
SUPERUSER = Actor(9, is_superuser=True)
STATUS = "/api/plugins/status/"
RELOAD = "/api/plugins/reload/"
METHODS = ("PATCH", "PUT")


class Tea(Plugin): ...


class Milk(Plugin): ...


class Must(Plugin): ...


class Banned(Plugin): ...


class New(Plugin):
    MIN_VERSION = "9.0"


class Failing(Plugin):
    made = 0

    def __init__(self):
        type(self).made += 1
        raise OSError("no water\nat all")


@pytest.fixture
def storage():
    return MemoryStorage()


@pytest.fixture
def registry(storage):
    with PluginRegistry("shop", builtin=[Banned, Tea], storage=storage) as before:
        before.load()
    with PluginRegistry(
        "shop",
        host_version="2.4",
        builtin=[Failing, Milk, Must, New],
        samples=[Banned],
        mandatory={"must"},
        blocked={"banned"},
        storage=storage,
    ) as registry:
        registry.load()
        yield registry


def activate(client, slug, body=None, method="PATCH", how="json"):
    body = {} if body is None else {how: body}
    return client(method, f"/api/plugins/{slug}/activate/", SUPERUSER, **body)


def errors(client):
    body = client("GET", STATUS, SUPERUSER).body
    return [(failure["stage"], failure["name"]) for failure in body["registry_errors"]]


class TestActivate:
    @pytest.mark.parametrize("method", METHODS)
    def test_on_and_off(self, client, registry, method):
        """The answer is the stored desired state, and the plugin is in service when it comes."""
        answer = activate(client, "milk", {"active": True}, method)
        assert (answer.status, answer.body) == (200, {"active": True})
        assert registry.get("milk").state is PluginState.ACTIVE

        answer = activate(client, "milk", {"active": False}, method)
        assert (answer.status, answer.body) == (200, {"active": False})
        assert registry.get("milk").state is PluginState.INACTIVE

    @pytest.mark.parametrize("method", METHODS)
    @pytest.mark.parametrize(
        "sent", [{}, {"json": {}}, {"form": {"x": "1"}}, {"multipart": {"x": "1"}}]
    )
    def test_on_is_meant_if_nothing_is_said(self, client, registry, method, sent):
        """Without ``active``, and without a body at all, the plugin is switched on."""
        answer = client(method, "/api/plugins/milk/activate/", SUPERUSER, **sent)

        assert (answer.status, answer.body) == (200, {"active": True})
        assert registry.get("milk").active

    @pytest.mark.parametrize("how", ["json", "form", "multipart"])
    def test_words_for_true_and_false(self, client, registry, how):
        """Each word for true or false is understood in any case, in JSON and in forms."""
        for yes, no in (
            ("true", "FALSE"),
            ("T", "f"),
            ("yes", "No"),
            ("y", "N"),
            ("ON", "off"),
            ("1", "0"),
        ):
            assert activate(client, "milk", {"active": yes}, how=how).body == {"active": True}
            assert activate(client, "milk", {"active": no}, how=how).body == {"active": False}
            assert not registry.get("milk").wanted

    def test_numbers_for_true_and_false(self, client):
        """In JSON 1 and 0 are booleans too."""
        assert activate(client, "milk", {"active": 1}).body == {"active": True}
        assert activate(client, "milk", {"active": 0}).body == {"active": False}

    @pytest.mark.parametrize("method", METHODS)
    def test_what_is_no_boolean(self, client, registry, method):
        """It is refused under ``active``, and nothing changes."""
        for wrong in ("maybe", "", 2, [], {}, 1.5):
            answer = activate(client, "milk", {"active": wrong}, method)
            assert (answer.status, answer.body) == (400, {"active": ["Must be a valid boolean."]})
        answer = activate(client, "milk", {"active": None}, method)
        assert (answer.status, answer.body) == (400, {"active": ["This field may not be null."]})
        assert not registry.get("milk").wanted

    def test_the_path_says_which_plugin(self, client, registry):
        """A number or key in the body names no other plugin."""
        body = {"active": True, "pk": registry.get("new").pk, "key": "new", "plugin": "new"}
        assert activate(client, "milk", body).body == {"active": True}
        assert activate(client, "milk", {"active": True, "pk": 12345}).status == 200

        assert registry.get("milk").wanted
        assert not registry.get("new").wanted

    def test_a_mandatory_plugin_stays_on(self, client, registry):
        """Switching it off is refused; switching it on changes nothing."""
        answer = activate(client, "must", {"active": False})

        assert (answer.status, answer.body) == (
            400,
            {"non_field_errors": ["INVE-E10: Mandatory plugin cannot be deactivated"]},
        )
        assert activate(client, "must", {"active": True}).body == {"active": True}
        assert registry.get("must").active

    def test_a_plugin_that_is_not_installed(self, client, registry):
        """Nothing can be switched on that is not there; nothing is stored."""
        answer = activate(client, "tea", {"active": True})

        assert (answer.status, answer.body) == (
            400,
            {"non_field_errors": ["Plugin is not installed"]},
        )
        assert not registry.get("tea").wanted

    def test_a_plugin_that_the_host_forbids(self, client, registry):
        """It is refused as a whole, and stays off."""
        answer = activate(client, "banned", {"active": True})

        assert (answer.status, set(answer.body)) == (400, {"non_field_errors"})
        assert registry.get("banned").state is PluginState.BLOCKED
        assert not registry.get("banned").wanted

    def test_an_unknown_plugin(self, client):
        """It is 404, whatever the body."""
        assert activate(client, "none", {"active": True}).status == 404
        assert activate(client, "none", {"active": "maybe"}).status == 404

    def test_a_plugin_that_fails_stays_wanted(self, client):
        """The answer is the desired state, and the status has the fault."""
        answer = activate(client, "failing", {"active": True})

        assert (answer.status, answer.body) == (200, {"active": True})
        assert client("GET", "/api/plugins/failing/", USER).body["active"] is True
        assert errors(client) == [("init", "failing")]

    def test_a_plugin_for_another_version_stays_wanted(self, make_client, registry, storage):
        """The flag is kept, and the plugin loads once the host fits."""
        client = make_client(PluginAPI(registry, probe=False))
        assert activate(client, "new", {"active": True}).body == {"active": True}
        client("POST", RELOAD, SUPERUSER)
        assert client("GET", "/api/plugins/new/", USER).body["active"] is True
        assert registry.get("new").state is PluginState.INCOMPATIBLE

        with PluginRegistry("shop", host_version="9.1", builtin=[New], storage=storage) as later:
            later.load()
            assert later.get("new").state is PluginState.ACTIVE

    def test_the_same_state_again_does_nothing(self, client, registry, storage):
        """Nothing is stored, and no object is made anew."""
        activate(client, "milk", {"active": True})
        plugin, revision = registry.get("milk").plugin, storage.revision()

        assert activate(client, "milk", {"active": True}).body == {"active": True}
        assert registry.get("milk").plugin is plugin
        assert storage.revision() == revision


class TestReload:
    @pytest.mark.parametrize("how", ["json", "form", "multipart"])
    def test_the_flags_are_echoed(self, client, how):
        """A missing value is false."""
        answer = client("POST", RELOAD, SUPERUSER, **{how: {"force_reload": "true"}})

        assert answer.status == 201
        assert answer.body == {
            "full_reload": False,
            "force_reload": True,
            "collect_plugins": False,
        }

    def test_an_empty_body(self, client):
        """No flag is required."""
        nothing = {"full_reload": False, "force_reload": False, "collect_plugins": False}

        for sent in ({}, {"json": {}}):
            answer = client("POST", RELOAD, SUPERUSER, **sent)
            assert (answer.status, answer.body) == (201, nothing)

    def test_what_is_no_boolean(self, client):
        """Each field is named, all at once."""
        answer = client(
            "POST", RELOAD, SUPERUSER, json={"full_reload": "maybe", "collect_plugins": None}
        )
        assert answer.status == 400
        assert answer.body == {
            "full_reload": ["Must be a valid boolean."],
            "collect_plugins": ["This field may not be null."],
        }

    def test_force_makes_objects_anew(self, client, registry):
        """Without a flag an unchanged plugin stays in service as it is."""
        activate(client, "milk")
        plugin = registry.get("milk").plugin

        client("POST", RELOAD, SUPERUSER)
        assert registry.get("milk").plugin is plugin
        client("POST", RELOAD, SUPERUSER, json={"force_reload": True})
        assert registry.get("milk").plugin is not plugin

    def test_collect_looks_for_new_plugins(self, make_client, tmp_path):
        """A file that has come is found with ``collect_plugins``, and not without."""
        with PluginRegistry("shop", directories=[tmp_path]) as registry:
            registry.load()
            client = make_client(PluginAPI(registry, probe=False))
            (tmp_path / "jam.py").write_text(
                "from plugreg import Plugin\nclass Jam(Plugin): NAME = 'Jam'\n"
            )

            client("POST", RELOAD, SUPERUSER, json={"force_reload": True})
            assert client("GET", "/api/plugins/jam/", USER).status == 404
            client("POST", RELOAD, SUPERUSER, json={"collect_plugins": True})
            assert client("GET", "/api/plugins/jam/", USER).body["active"] is False

    def test_a_plugin_that_fails_is_no_secret(self, client):
        """The answer is 201 with the echo, and the status has the error."""
        activate(client, "failing")
        made = Failing.made
        answer = client("POST", RELOAD, SUPERUSER, json={"force_reload": True})

        assert (answer.status, answer.body["force_reload"]) == (201, True)
        assert Failing.made > made
        assert errors(client) == [("init", "failing")]

    def test_errors_do_not_pile_up(self, client):
        """A plugin that fails again is one error, however often it is tried."""
        activate(client, "failing")
        for _ in range(3):
            client("POST", RELOAD, SUPERUSER, json={"full_reload": True, "force_reload": True})
            activate(client, "milk", {"active": True})
            activate(client, "milk", {"active": False})
        assert errors(client) == [("init", "failing")]

        activate(client, "failing", {"active": False})
        assert errors(client) == []


class TestWhileAnotherLoads:
    """A plugin whose activation waits for the test keeps the registry loading."""

    @pytest.fixture
    def gate(self):
        return {"entered": threading.Event(), "go on": threading.Event()}

    @pytest.fixture
    def make_registry(self, gate, storage):
        class Slow(Plugin):
            @hookimpl
            def plugreg_activated(self):
                gate["entered"].set()
                assert gate["go on"].wait(30)

        def make(**options):
            registry = PluginRegistry("shop", builtin=[Milk, Slow], storage=storage, **options)
            registry.load()
            thread = threading.Thread(target=registry.activate, args=["slow"])
            thread.start()
            assert gate["entered"].wait(30)
            started.append((registry, thread))
            return registry

        started = []
        yield make
        gate["go on"].set()
        for registry, thread in started:
            thread.join(30)
            registry.close()

    def test_a_reload_that_waited_too_long_says_so(self, make_client, make_registry):
        """It is 409, and nothing pretends to have been done."""
        client = make_client(PluginAPI(make_registry(reload_wait=0.05), probe=False))
        answer = client("POST", RELOAD, SUPERUSER, json={"force_reload": True})

        assert answer.status == 409
        assert answer.body == {"detail": "Plugin registry is currently loading"}

    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("PATCH", "/api/plugins/milk/activate/"),
            ("PUT", "/api/plugins/milk/activate/"),
            ("DELETE", "/api/plugins/milk/"),
        ],
    )
    def test_a_change_that_waited_too_long_does_not_happen(
        self, make_client, make_registry, storage, method, path
    ):
        """It is 409, nothing is stored, and no later reload carries out the refused change."""
        registry = make_registry(reload_wait=0.05)
        registry.set_metadata("milk", {"a": 1})
        client, revision = make_client(PluginAPI(registry, probe=False)), storage.revision()

        assert client(method, path, SUPERUSER).status == 409
        assert storage.revision() == revision
        assert not registry.get("milk").wanted
        assert registry.metadata("milk") == {"a": 1}

    def test_a_change_waits_for_its_turn(self, make_client, make_registry, gate):
        """A request while another load runs is carried out after it."""
        registry = make_registry()
        client = make_client(PluginAPI(registry, probe=False))
        line = registry._life.queue._lines.get()

        def release_once_it_waits():
            for _ in range(3000):
                last = line.last()
                if last is not None and last.before is not None:
                    break
                time.sleep(0.01)
            gate["go on"].set()

        helper = threading.Thread(target=release_once_it_waits)
        helper.start()
        answer = activate(client, "milk", {"active": True})
        helper.join(30)

        assert (answer.status, answer.body) == (200, {"active": True})
        assert registry.get("milk").state is PluginState.ACTIVE
        assert registry.get("slow").state is PluginState.ACTIVE


class TestStatus:
    def test_a_registry_without_faults(self, client):
        """The number is that of the plugins in service, and there are no errors."""
        answer = client("GET", STATUS, SUPERUSER)

        assert (answer.status, answer.body) == (200, {"active_plugins": 1, "registry_errors": []})

    def test_only_plugins_in_service_are_counted(self, client):
        """A plugin that is wanted and failed, or is incompatible, is not active."""
        for slug in ("failing", "new", "milk"):
            assert activate(client, slug).body == {"active": True}

        assert client("GET", STATUS, SUPERUSER).body["active_plugins"] == 2

    def test_every_error_has_three_texts(self, client):
        """Whatever went wrong: stage, slug, and exception with its last line."""
        activate(client, "failing")
        activate(client, "new")
        answer = client("GET", STATUS, SUPERUSER)

        assert answer.status == 200
        found = answer.body["registry_errors"]
        assert all(set(item) == {"stage", "name", "message"} for item in found)
        assert all(isinstance(text, str) for item in found for text in item.values())
        by_name = {item["name"]: item for item in found}
        assert by_name["failing"] == {
            "stage": "init",
            "name": "failing",
            "message": "OSError: at all",
        }
        assert by_name["new"]["stage"] == "resolve"
        assert "9.0" in by_name["new"]["message"]
        assert "2.4" in by_name["new"]["message"]
