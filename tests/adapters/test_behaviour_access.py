"""The plugin API through every adapter: access, order of refusals, paths and bodies."""

from __future__ import annotations

import pytest

from plugreg import Plugin, PluginRegistry, StorageUnavailableError
from plugreg.api import Actor
from plugreg.mixins import SettingsMixin
from plugreg.storage import MemoryStorage

USER = Actor(7)
STAFF = Actor(8, is_staff=True)
SUPERUSER = Actor(9, is_superuser=True)

# The lowest grade that may, by method and path; the plugin is not there.
GRADES = {
    ("GET", "/api/plugins/"): "authenticated",
    ("POST", "/api/plugins/install/"): "superuser",
    ("POST", "/api/plugins/reload/"): "superuser",
    ("GET", "/api/plugins/settings/"): "staff",
    ("GET", "/api/plugins/status/"): "superuser",
    ("GET", "/api/plugins/ui/features/panel/"): "authenticated",
    ("DELETE", "/api/plugins/none/"): "superuser",
    ("GET", "/api/plugins/none/"): "authenticated",
    ("PATCH", "/api/plugins/none/activate/"): "superuser",
    ("PUT", "/api/plugins/none/activate/"): "superuser",
    ("GET", "/api/plugins/none/admin/"): "staff",
    ("GET", "/api/plugins/none/metadata/"): "staff",
    ("PATCH", "/api/plugins/none/metadata/"): "staff",
    ("PUT", "/api/plugins/none/metadata/"): "staff",
    ("GET", "/api/plugins/none/settings/"): "authenticated",
    ("GET", "/api/plugins/none/settings/CUPS/"): "authenticated",
    ("PATCH", "/api/plugins/none/settings/CUPS/"): "staff",
    ("PUT", "/api/plugins/none/settings/CUPS/"): "staff",
    ("PATCH", "/api/plugins/none/uninstall/"): "superuser",
    ("PUT", "/api/plugins/none/uninstall/"): "superuser",
    ("GET", "/api/plugins/none/user-settings/"): "authenticated",
    ("GET", "/api/plugins/none/user-settings/CUPS/"): "authenticated",
    ("PATCH", "/api/plugins/none/user-settings/CUPS/"): "authenticated",
    ("PUT", "/api/plugins/none/user-settings/CUPS/"): "authenticated",
}
ORDER = ("authenticated", "staff", "superuser")
NO_CREDENTIALS = {"detail": "Authentication credentials were not provided."}
NO_PERMISSION = {"detail": "You do not have permission to perform this action."}


class Tea(SettingsMixin, Plugin):
    NAME = "Tea"
    SETTINGS = {"CUPS": {"default": 1, "validator": int}, "NOTE": {}}
    USER_SETTINGS = {"MILK": {"default": False, "validator": bool}}


class Status(Plugin):
    """Its slug is a name that the API has already."""


class Broken(MemoryStorage):
    """Raises ``error`` at each write, once there is one."""

    error = None

    def transaction(self):
        if self.error is not None:
            raise self.error
        return super().transaction()


@pytest.fixture
def storage():
    return Broken()


@pytest.fixture
def registry(storage):
    with PluginRegistry(
        "shop", builtin=[Tea, Status], new_plugins="active", storage=storage
    ) as registry:
        registry.load()
        yield registry


def refused(client, actor, body):
    """Return the operations that refuse the actor with this body and its status."""
    status = 401 if body is NO_CREDENTIALS else 403
    found = {row: client(*row, actor) for row in GRADES}
    return {row for row, answer in found.items() if (answer.status, answer.body) == (status, body)}


class TestPermission:
    @pytest.mark.parametrize("nobody", [None, Actor.anonymous()])
    def test_nobody_may_do_nothing(self, client, nobody):
        """Each of the 24 operations answers 401, reads and credentials included."""
        for row in GRADES:
            answer = client(*row, nobody)
            assert (answer.status, answer.body) == (401, NO_CREDENTIALS), row

    @pytest.mark.parametrize(
        ("actor", "grade"), [(USER, "authenticated"), (STAFF, "staff"), (SUPERUSER, "superuser")]
    )
    def test_each_grade_may_what_the_table_says(self, client, actor, grade):
        """A higher grade includes the lower ones, and everything else is 403."""
        above = ORDER[ORDER.index(grade) + 1 :]

        assert refused(client, actor, NO_PERMISSION) == {
            row for row, needed in GRADES.items() if needed in above
        }
        assert refused(client, actor, NO_CREDENTIALS) == set()

    @pytest.mark.parametrize(
        ("scope", "grade"),
        [("g:read", "authenticated"), ("a:staff", "staff"), ("a:superuser", "superuser")],
    )
    def test_a_scope_must_allow_it_too(self, client, scope, grade):
        """A superuser's token that may only read reads, and nothing else."""
        token = Actor(9, is_superuser=True, scopes=frozenset({scope}))
        above = ORDER[ORDER.index(grade) + 1 :]

        assert refused(client, token, NO_PERMISSION) == {
            row for row, needed in GRADES.items() if needed in above
        }

    def test_a_token_without_a_scope_may_do_nothing(self, client):
        """Empty scopes refuse everything that a scope would allow."""
        assert refused(client, Actor(9, scopes=frozenset()), NO_PERMISSION) == set(GRADES)

    def test_own_settings_need_any_scope(self, client):
        """One's own settings can be had with a scope that plugreg does not know."""
        token = Actor(7, scopes=frozenset({"r:view:part"}))
        path = "/api/plugins/tea/user-settings/MILK/"

        assert client("PATCH", path, token, json={"value": True}).status == 200
        assert client("GET", "/api/plugins/tea/", token).status == 403

    def test_a_superuser_need_not_be_staff(self, client):
        """A superuser without the staff flag passes; only the body is refused."""
        answer = client("POST", "/api/plugins/install/", SUPERUSER, json={})

        assert (answer.status, answer.body) == (400, {"confirm": ["This field is required."]})


class TestOrderOfRefusals:
    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("PATCH", "/api/plugins/none/activate/"),
            ("PUT", "/api/plugins/none/uninstall/"),
            ("PATCH", "/api/plugins/none/metadata/"),
            ("PUT", "/api/plugins/none/settings/CUPS/"),
        ],
    )
    @pytest.mark.parametrize(("actor", "status"), [(None, 401), (USER, 403), (SUPERUSER, 404)])
    def test_the_actor_then_the_plugin_then_the_body(self, client, method, path, actor, status):
        """A request that is wrong in every way is refused for the first fault, not for its body."""
        wrong = {"content": b"{", "headers": {"Content-Type": "application/json"}}

        assert client(method, path, actor, **wrong).status == status
        if actor is SUPERUSER:
            known = path.replace("none", "tea")
            assert client(method, known, actor, **wrong).status == 400

    def test_the_actor_then_the_query(self, client):
        """Nobody learns which parameters there are."""
        assert client("GET", "/api/plugins/", None, query={"limit": "x"}).status == 401
        assert client("GET", "/api/plugins/", USER, query={"limit": "x"}).status == 400

    def test_the_plugin_then_the_setting_then_the_body(self, client):
        """A key that is not declared is 404, before its value is looked at."""
        wrong = {"json": {"value": "many"}}

        answer = client("PATCH", "/api/plugins/none/settings/NO/", STAFF, **wrong)
        assert (answer.status, answer.body) == (404, {"detail": "Plugin 'none' not installed"})
        answer = client("PATCH", "/api/plugins/tea/settings/NO/", STAFF, **wrong)
        assert (answer.status, answer.body) == (
            404,
            {"detail": "Plugin 'tea' has no setting matching 'NO'"},
        )
        assert client("PATCH", "/api/plugins/tea/settings/CUPS/", STAFF, **wrong).status == 400


class TestPaths:
    @pytest.mark.parametrize(
        "path",
        [
            "/api/plugins/tea/settings/CUPS/anything",
            "/api/plugins/tea/settings/CUPS/anything/",
            "/api/plugins/tea/settings/CUPS",
            "/api/plugins/tea/user-settings/MILK/x/",
            "/api/plugins/tea/anything/",
            "/api/plugins/ui/features/",
        ],
    )
    def test_a_path_ends_where_it_ends(self, client, path):
        """Nothing may follow the key, and nothing else is there."""
        answer = client("GET", path, SUPERUSER)

        assert answer.status == 404
        assert set(answer.body) == {"detail"}
        assert isinstance(answer.body["detail"], str)

    def test_fixed_names_are_no_slugs(self, client):
        """A plugin with such a slug is refused when it is found, and that is recorded."""
        status = client("GET", "/api/plugins/status/", SUPERUSER)
        listed = client("GET", "/api/plugins/", USER)

        assert status.body["active_plugins"] == 1
        assert [failure["name"] for failure in status.body["registry_errors"]] == ["status"]
        assert [failure["stage"] for failure in status.body["registry_errors"]] == ["discovery"]
        assert [row["key"] for row in listed.body["results"]] == ["tea"]

    def test_a_number_is_no_slug(self, client, registry):
        """A plugin is named by its key, never by the number of its config."""
        assert client("GET", f"/api/plugins/{registry.get('tea').pk}/", USER).status == 404

    def test_a_plugin_can_be_read_and_deleted_at_its_path_alone(self, client):
        """There is no operation that makes or changes a config as a whole."""
        for method in ("POST", "PUT", "PATCH"):
            answer = client(method, "/api/plugins/tea/", SUPERUSER, json={"active": False})
            assert answer.status == 405
            assert isinstance(answer.body["detail"], str)
            assert answer.headers["allow"] == "DELETE, GET, HEAD, OPTIONS"

        assert client("GET", "/api/plugins/tea/", USER).body["active"] is True


class TestBodies:
    def send(self, client, how, body):
        return client("PATCH", "/api/plugins/tea/settings/CUPS/", STAFF, **{how: body})

    @pytest.mark.parametrize("how", ["json", "form", "multipart"])
    @pytest.mark.parametrize("method", ["PATCH", "PUT"])
    def test_three_ways_to_write_a_body(self, client, method, how):
        """JSON, URL-encoded and multipart forms mean the same."""
        path = "/api/plugins/tea/settings/CUPS/"
        answer = client(method, path, STAFF, **{how: {"value": "3"}})

        assert (answer.status, answer.body["value"]) == (200, "3")
        assert client("GET", path, USER).body["value"] == "3"

    @pytest.mark.parametrize("how", ["json", "form", "multipart"])
    def test_what_is_unknown_or_read_only_is_ignored(self, client, how):
        """Such keys are no error, and change nothing."""
        body = {"value": "3", "key": "NOTE", "plugin": "milk", "pk": "4", "colour": "red"}
        answer = self.send(client, how, body)

        assert answer.status == 200
        assert (answer.body["key"], answer.body["plugin"]) == ("CUPS", "tea")
        assert answer.body["value"] == "3"

    @pytest.mark.parametrize("body", [[1], "text", 4, True])
    def test_a_body_is_an_object(self, client, body):
        """Anything else in JSON is refused as a whole."""
        answer = self.send(client, "json", body)

        assert answer.status == 400
        assert set(answer.body) == {"non_field_errors"}

    @pytest.mark.parametrize("content", [b"{", b'{"value": NaN}', b"\xff", b'{"value": "1"} x'])
    def test_what_is_no_json(self, client, content):
        """It is refused in one sentence."""
        answer = client(
            "PATCH",
            "/api/plugins/tea/settings/CUPS/",
            STAFF,
            content=content,
            headers={"Content-Type": "application/json"},
        )
        assert answer.status == 400
        assert isinstance(answer.body["detail"], str)

    def test_another_media_type(self, client):
        """A body that is neither JSON nor a form is 415."""
        answer = client(
            "PATCH",
            "/api/plugins/tea/settings/CUPS/",
            STAFF,
            content=b"value: 3",
            headers={"Content-Type": "text/yaml"},
        )
        assert answer.status == 415
        assert isinstance(answer.body["detail"], str)

    @pytest.mark.parametrize("how", ["json", "form", "multipart"])
    def test_texts_are_stored_as_they_are(self, client, registry, how):
        """A key in PEM keeps its lines, blanks stay, and tags are no fault."""
        text = "  -----BEGIN KEY-----\nMII<b>\tx</b>\n-----END KEY-----\n"
        answer = client("PUT", "/api/plugins/tea/settings/NOTE/", STAFF, **{how: {"value": text}})

        assert answer.body["value"] == text
        assert registry.settings("tea")["NOTE"] == text

    def test_texts_in_lists_are_treated_as_others(self, client, registry):
        """At any depth nothing is altered, in an object or in a list."""
        data = {"a": " <b>\n", "list": [" <b>\n", {"b": [" \t<i>"]}]}
        answer = client("PUT", "/api/plugins/tea/metadata/", STAFF, json={"metadata": data})

        assert answer.body == {"metadata": data}
        assert registry.metadata("tea") == data

    @pytest.mark.parametrize("how", ["json", "form", "multipart"])
    def test_control_characters_are_refused(self, client, registry, how):
        """NUL and its like are named with their field, and nothing is stored."""
        path = "/api/plugins/tea/settings/NOTE/"
        answer = client("PUT", path, STAFF, **{how: {"value": "a\x00b"}})

        assert answer.status == 400
        assert set(answer.body) == {"value"}
        assert registry.settings("tea")["NOTE"] == ""


class TestFaultsOfTheServer:
    def test_the_storage_is_away(self, client, storage):
        """Asking again may help, so it is 503; the storage's message stays inside."""
        storage.error = StorageUnavailableError("/secret/path", "it is full")
        answer = client("PUT", "/api/plugins/tea/settings/CUPS/", STAFF, json={"value": 2})

        assert answer.status == 503
        assert "secret" not in str(answer.body)
        assert client("GET", "/api/plugins/tea/settings/CUPS/", STAFF).body["value"] == "1"

    def test_an_unforeseen_exception(self, client, storage):
        """The body has the five fields, the path among them, and not the exception's text."""
        storage.error = ZeroDivisionError("secret")
        answer = client("PUT", "/api/plugins/tea/settings/CUPS/", STAFF, json={"value": 2})

        assert answer.status == 500
        assert set(answer.body) == {"error", "error_class", "detail", "path", "status_code"}
        assert answer.body["status_code"] == 500
        assert answer.body["path"] == "/api/plugins/tea/settings/CUPS/"
        assert answer.body["error"] == "ZeroDivisionError"
        assert "secret" not in str(answer.body)
