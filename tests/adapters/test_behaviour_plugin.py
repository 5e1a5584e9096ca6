"""One plugin through every adapter: its fields, and its deletion."""

from __future__ import annotations

import sys

import pytest

from plugreg import Plugin, PluginRegistry
from plugreg.api import Actor, PluginAPI
from plugreg.mixins import SettingsMixin, UserInterfaceMixin
from plugreg.storage import MemoryStorage

USER = Actor(7)
STAFF = Actor(8, is_staff=True)
SUPERUSER = Actor(9, is_superuser=True)

NO_META = dict.fromkeys(
    (
        "slug",
        "human_name",
        "description",
        "author",
        "pub_date",
        "version",
        "website",
        "license",
        "package_path",
        "settings_url",
    )
)


class Tea(SettingsMixin, UserInterfaceMixin, Plugin):
    NAME = "Tea"
    TITLE = "Tea time"
    DESCRIPTION = "Makes tea"
    AUTHOR = "Ann"
    PUBLISH_DATE = "2025-11-01"
    VERSION = "1.2"
    WEBSITE = "https://tea.example"
    LICENSE = "MIT"
    SETTINGS = {"CUPS": {"default": 1, "validator": int}}
    USER_SETTINGS = {"MILK": {"default": False, "validator": bool}}


class Bare(Plugin):
    """States nothing."""


class Late(Plugin):
    PUBLISH_DATE = "the day before yesterday"


class Must(Plugin): ...


class Off(Plugin):
    TITLE = "Off for now"
    VERSION = "3.0"


@pytest.fixture
def storage():
    return MemoryStorage()


@pytest.fixture
def registry(storage):
    with PluginRegistry(
        "shop",
        builtin=[Bare, Late, Must, Off, Tea],
        mandatory={"must", "absent"},
        storage=storage,
    ) as registry:
        registry.load()
        for slug in ("bare", "late", "tea"):
            registry.activate(slug)
        yield registry


def shown(client, slug, actor=USER):
    answer = client("GET", f"/api/plugins/{slug}/", actor)
    assert answer.status == 200, answer
    return answer.body


class TestRetrieve:
    def test_an_active_plugin(self, client, registry):
        """All that it states is shown, and its mixins with their human names."""
        assert shown(client, "tea") == {
            "pk": registry.get("tea").pk,
            "key": "tea",
            "name": "Tea",
            "package_name": None,
            "active": True,
            "meta": {
                "slug": "tea",
                "human_name": "Tea time",
                "description": "Makes tea",
                "author": "Ann",
                "pub_date": "2025-11-01 00:00:00",
                "version": "1.2",
                "website": "https://tea.example",
                "license": "MIT",
                "package_path": Tea.__module__,
                "settings_url": None,
            },
            "mixins": {
                "base": {"key": "base", "human_name": "base"},
                "settings": {"key": "settings", "human_name": "Settings"},
                "ui": {"key": "ui", "human_name": "ui"},
            },
            "is_builtin": True,
            "is_sample": False,
            "is_installed": True,
            "is_package": False,
            "is_mandatory": False,
        }

    def test_what_a_plugin_does_not_state(self, client):
        """Description and author have a substitute; the rest is null."""
        assert shown(client, "bare")["meta"] == {
            **NO_META,
            "slug": "bare",
            "human_name": "Bare",
            "description": "Bare",
            "author": "No author found",
            "package_path": Bare.__module__,
        }

    def test_a_plugin_that_is_off(self, client, registry):
        """The ten keys are null; facts that are known without running it are in Python."""
        assert shown(client, "off") == {
            "pk": registry.get("off").pk,
            "key": "off",
            "name": "Off",
            "package_name": None,
            "active": False,
            "meta": NO_META,
            "mixins": {},
            "is_builtin": True,
            "is_sample": False,
            "is_installed": True,
            "is_package": False,
            "is_mandatory": False,
        }
        assert registry.get("off").title == "Off for now"
        assert registry.get("off").version == "3.0"

    def test_a_mandatory_plugin_that_is_not_there(self, client):
        """It is listed and mandatory without being installed, and shows nothing."""
        found = shown(client, "absent")

        assert (found["is_installed"], found["is_mandatory"]) == (False, True)
        assert (found["is_builtin"], found["meta"], found["mixins"]) == (False, NO_META, {})

    def test_a_wrong_date_costs_the_date_alone(self, client):
        """It is null, the list is answered, and the status names the plugin."""
        assert shown(client, "late")["meta"]["pub_date"] is None
        assert client("GET", "/api/plugins/", USER).body["count"] == 6
        errors = client("GET", "/api/plugins/status/", SUPERUSER).body["registry_errors"]
        assert [(error["stage"], error["name"]) for error in errors if error["name"] == "late"] == [
            ("init", "late")
        ]
        assert "PUBLISH_DATE" in str(errors)

    def test_the_page_of_settings_is_the_hosts(self, make_client, registry):
        """The host returns its address; an exception of the function costs the address alone."""

        def address(record):
            return {"tea": f"/settings/admin/plugin/{record.pk}/"}[record.slug]

        client = make_client(PluginAPI(registry, settings_url=address))

        pk = registry.get("tea").pk
        assert shown(client, "tea")["meta"]["settings_url"] == f"/settings/admin/plugin/{pk}/"
        assert shown(client, "bare")["meta"]["settings_url"] is None

    def test_an_unknown_plugin(self, client):
        """It is 404, with one sentence."""
        answer = client("GET", "/api/plugins/none/", USER)

        assert answer.status == 404
        assert set(answer.body) == {"detail"}
        assert isinstance(answer.body["detail"], str)

    def test_the_name_is_that_of_the_class_now(self, make_client, storage, registry):
        """A class with another NAME is listed by it after the next start."""

        class Renamed(Plugin):
            SLUG, NAME = "tea", "Green tea"

        with PluginRegistry("shop", builtin=[Renamed], storage=storage) as later:
            later.load()
            found = shown(make_client(PluginAPI(later)), "tea")

        assert found["name"] == "Green tea"
        assert found["pk"] == registry.get("tea").pk
        with PluginRegistry("shop", storage=storage) as without:
            without.load()
            found = shown(make_client(PluginAPI(without)), "tea")
        assert (found["is_installed"], found["name"]) == (False, "Green tea")


class TestPackages:
    @pytest.fixture
    def registry(self, site, monkeypatch):
        """Yield a plugin of a distribution, and one of the same that cannot be made."""
        module = "behaviour_coffee"
        site.dist(
            "shop-coffee",
            "2.0",
            entry_points={
                "shop.plugins": {"coffee": f"{module}:Coffee", "mocha": f"{module}:Mocha"}
            },
            metadata="Summary: Makes coffee\nAuthor: Bob\n"
            "License-Expression: MIT\nProject-URL: Home, https://coffee.example\n",
            modules={
                f"{module}.py": "from plugreg import Plugin\n"
                "class Coffee(Plugin): NAME = 'Coffee'\n"
                "class Mocha(Plugin):\n"
                "    def __init__(self): raise OSError('no chocolate')\n"
            },
        )
        monkeypatch.syspath_prepend(str(site))
        with PluginRegistry("shop", new_plugins="active") as registry:
            registry.load()
            yield registry
        sys.modules.pop(module, None)

    def test_a_plugin_of_a_distribution(self, client):
        """The distribution has attributes that the class lacks; the path is the module's name."""
        found = shown(client, "coffee")

        assert (found["package_name"], found["is_package"]) == ("shop-coffee", True)
        assert (found["is_builtin"], found["is_sample"]) == (False, False)
        assert found["meta"]["human_name"] == "Coffee"
        assert found["meta"]["description"] == "Makes coffee"
        assert found["meta"]["author"] == "Bob"
        assert found["meta"]["version"] == "2.0"
        assert found["meta"]["website"] == "https://coffee.example"
        assert found["meta"]["license"] == "MIT"
        assert found["meta"]["package_path"] == "behaviour_coffee"

    def test_a_plugin_whose_constructor_fails_is_installed(self, client):
        """It is wanted and there, though it shows nothing of itself."""
        found = shown(client, "mocha")

        assert (found["active"], found["is_installed"], found["is_package"]) == (True, True, True)
        assert (found["meta"], found["mixins"]) == (NO_META, {})

    def test_a_plugin_that_another_needs_stays_on(self, make_client, site, monkeypatch):
        """It is refused, and the one that needs it is named; the other way round it goes."""
        module = "behaviour_layers"
        source = "from plugreg import Plugin\nclass Base(Plugin): ...\nclass Top(Plugin): ...\n"
        for slug, needs in (("base", ""), ("top", "Requires-Dist: shop-base\n")):
            site.dist(
                f"shop-{slug}",
                entry_points={"shop.plugins": {slug: f"{module}:{slug.title()}"}},
                metadata=needs,
                modules={f"{module}.py": source},
            )
        monkeypatch.syspath_prepend(str(site))
        with PluginRegistry("shop", new_plugins="active") as registry:
            registry.load()
            client = make_client(PluginAPI(registry))
            off = {"json": {"active": False}}

            answer = client("PATCH", "/api/plugins/base/activate/", SUPERUSER, **off)
            assert (answer.status, set(answer.body)) == (400, {"non_field_errors"})
            assert "'top'" in answer.body["non_field_errors"][0]
            assert registry.get("base").active
            for slug in ("top", "base"):
                answer = client("PATCH", f"/api/plugins/{slug}/activate/", SUPERUSER, **off)
                assert (answer.status, answer.body) == (200, {"active": False})
        sys.modules.pop(module)


class TestByHand:
    def test_what_the_host_registered_is_the_hosts(self, client, registry):
        """It is listed with the number 0; nobody can switch it off or delete it from outside."""
        registry.register(Off, slug="by-hand")
        found = shown(client, "by-hand")
        assert (found["pk"], found["active"], found["is_installed"]) == (0, True, True)

        answer = client("PUT", "/api/plugins/by-hand/activate/", SUPERUSER, json={"active": False})
        assert (answer.status, set(answer.body)) == (400, {"non_field_errors"})
        answer = client("DELETE", "/api/plugins/by-hand/", SUPERUSER)
        assert (answer.status, set(answer.body)) == (400, {"detail"})
        assert registry.get("by-hand").active


class TestFolders:
    @pytest.fixture
    def registry(self, tmp_path):
        """Yield a registry that looks for plugins in a folder."""
        (tmp_path / "secret" / "plugs").mkdir(parents=True)
        source = "from plugreg import Plugin\nclass {}(Plugin): NAME = '{}'\n"
        (tmp_path / "secret/plugs/tea.py").write_text(source.format("Tea", "Tea"))
        (tmp_path / "secret/plugs/jam").mkdir()
        (tmp_path / "secret/plugs/jam/__init__.py").write_text(source.format("Jam", "Jam"))
        folders = [tmp_path / "secret/plugs"]
        with PluginRegistry("shop", directories=folders, new_plugins="active") as registry:
            registry.load()
            yield registry

    def test_where_the_server_has_its_files(self, client, tmp_path):
        """Readers see a file from the source's folder on, superusers all of it."""
        for slug, file in (("tea", "plugs/tea.py"), ("jam", "plugs/jam/__init__.py")):
            for actor in (USER, STAFF):
                assert shown(client, slug, actor)["meta"]["package_path"] == file
            whole = shown(client, slug, SUPERUSER)["meta"]["package_path"]
            assert whole == str(tmp_path / "secret" / file)

        listed = client("GET", "/api/plugins/", STAFF)
        assert "secret" not in str(listed.body)


class TestDelete:
    def test_everything_is_forgotten_at_once(self, client, registry, storage):
        """Stored rows go; an installed plugin is as if never seen."""
        client("PATCH", "/api/plugins/tea/settings/CUPS/", STAFF, json={"value": 5})
        client("PATCH", "/api/plugins/tea/user-settings/MILK/", USER, json={"value": True})
        client("PUT", "/api/plugins/tea/metadata/", STAFF, json={"metadata": {"a": 1}})
        pk = registry.get("tea").pk
        client("PATCH", "/api/plugins/tea/activate/", SUPERUSER, json={"active": False})

        answer = client("DELETE", "/api/plugins/tea/", SUPERUSER)

        assert (answer.status, answer.body) == (204, None)
        assert shown(client, "tea")["active"] is False
        assert client("GET", "/api/plugins/tea/metadata/", STAFF).body == {"metadata": {}}
        client("PATCH", "/api/plugins/tea/activate/", SUPERUSER, json={"active": True})
        assert client("GET", "/api/plugins/tea/settings/CUPS/", USER).body["value"] == "1"
        own = client("GET", "/api/plugins/tea/user-settings/MILK/", USER).body
        assert own["value"] == "False"
        # Its number was given away once, and is nobody's any more.
        assert shown(client, "tea")["pk"] > pk
        with PluginRegistry("shop", builtin=[Tea], storage=storage) as later:
            later.load()
            assert later.metadata("tea") == {}
            assert later.settings("tea")["CUPS"] == 1
            assert later.user_settings("tea", 7)["MILK"] is False

    def test_a_plugin_that_is_not_installed_is_gone(self, make_client, storage, registry):
        """Nothing is left of it, and it is 404 from then on."""
        with PluginRegistry("shop", builtin=[Bare], storage=storage) as later:
            later.load()
            client = make_client(PluginAPI(later))
            assert shown(client, "off")["is_installed"] is False

            assert client("DELETE", "/api/plugins/off/", SUPERUSER).status == 204
            assert client("GET", "/api/plugins/off/", USER).status == 404
            assert client("DELETE", "/api/plugins/off/", SUPERUSER).status == 404

    def test_an_active_plugin_stays(self, client):
        """It is 400, and the detail is a text as elsewhere."""
        answer = client("DELETE", "/api/plugins/tea/", SUPERUSER)

        assert answer.status == 400
        assert answer.body == {"detail": "Plugin cannot be deleted as it is currently active"}
        assert shown(client, "tea")["active"] is True

    def test_a_mandatory_plugin_stays(self, client):
        """It is refused as such, also where it is not installed."""
        for slug in ("must", "absent"):
            answer = client("DELETE", f"/api/plugins/{slug}/", SUPERUSER)
            assert answer.status == 400
            assert answer.body == {"detail": "Plugin cannot be deleted as it is mandatory"}
            assert shown(client, slug)["is_mandatory"] is True
