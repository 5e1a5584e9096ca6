"""Install and uninstall through every adapter, with an installer of the host's."""

from __future__ import annotations

import shutil
import sys

import pytest

from plugreg import Plugin, PluginRegistry, PluginState
from plugreg.api import Actor, PluginAPI
from plugreg.install import InstallPolicy

SUPERUSER = Actor(9, is_superuser=True)
INSTALL = "/api/plugins/install/"
METHODS = ("PATCH", "PUT")
MODULE = "behaviour_sauces"
SOURCE = (
    "from plugreg import Plugin\n"
    "class Ketchup(Plugin): NAME = 'Ketchup'\n"
    "class Mustard(Plugin): NAME = 'Mustard'\n"
    "class Failing(Plugin):\n"
    "    def __init__(self): raise OSError('no')\n"
)


class Built(Plugin): ...


class Must(Plugin): ...


class Broken(Plugin):
    def __init__(self):
        raise ValueError("no")


class Sample(Plugin): ...


@pytest.fixture
def shelf(folder_installer):
    """Yield an installer that has two distributions."""
    files = {f"{MODULE}.py": SOURCE}
    sauces = {"ketchup": f"{MODULE}:Ketchup", "mustard": f"{MODULE}:Mustard"}
    folder_installer.ready = {
        "shop-sauces": ("1.5", sauces, files),
        "shop-failing": ("1.0", {"failing": f"{MODULE}:Failing"}, files),
    }
    folder_installer.policy = InstallPolicy(
        indexes=["https://index.example/", "https://f.example/", "https://files.example/"],
        vcs_hosts=["https://git.example/"],
    )
    yield folder_installer
    sys.modules.pop(MODULE, None)


@pytest.fixture
def registry(shelf):
    with PluginRegistry(
        "shop",
        installer=shelf,
        builtin=[Built, Must, Broken],
        samples=[Sample],
        mandatory={"must", "broken"},
    ) as registry:
        registry.load()
        yield registry


@pytest.fixture
def sauces(registry):
    """Install a distribution with two plugins, and return its registry."""
    registry.install("shop-sauces")
    return registry


def install(client, **body):
    return client("POST", INSTALL, SUPERUSER, json=body)


def refused(sentence):
    return (400, {"non_field_errors": [sentence]})


def result(answer):
    return answer.status, answer.body


class TestInstall:
    def test_the_answer_has_the_four_fields_and_more(self, client, shelf, registry):
        """The published fields are at the top, the rest beside them."""
        answer = install(client, packagename="shop-sauces", confirm=True)
        asked = {"packagename": "shop-sauces", "url": "", "version": "", "confirm": True}

        assert answer.status == 201
        assert {name: answer.body[name] for name in asked} == asked
        assert set(answer.body) - set(asked) == {
            "result",
            "success",
            "output",
            "installed_version",
            "input",
        }
        assert answer.body["input"] == asked
        folder = shelf.environment / "generations" / "1"
        assert answer.body["result"] == f"Installed plugin into {folder}"
        assert answer.body["success"] == "Found plugins: 'ketchup', 'mustard'"
        assert answer.body["output"] == "Installing\nDone"
        assert answer.body["installed_version"] == "1.5"
        assert shelf.asked == [("shop-sauces", None)]
        assert registry.get("ketchup").state is PluginState.INACTIVE

    @pytest.mark.parametrize(
        ("body", "shown"),
        [
            (
                {"packagename": "shop-sauces", "url": "https://me:s3cret@index.example/simple"},
                ("shop-sauces", "https://****@index.example/simple"),
            ),
            (
                {"url": "git+https://s3cret@git.example/shop-sauces.git"},
                ("", "git+https://****@git.example/shop-sauces.git"),
            ),
            (
                {"packagename": "shop-sauces @ https://f.example/a.whl?token=s3cret"},
                ("shop-sauces @ https://f.example/a.whl?****", ""),
            ),
        ],
    )
    def test_the_answer_shows_no_credentials(self, client, registry, body, shown):
        """Neither at the top nor in the input, and the audit has none."""
        answer = install(client, confirm=True, **body)

        assert answer.status == 201
        assert (answer.body["packagename"], answer.body["url"]) == shown
        assert "s3cret" not in f"{answer.body} {registry.packages.audit()}"

    def test_another_installation_is_running(self, client, shelf):
        """It is a conflict, for whoever installs and for whoever uninstalls."""
        install(client, packagename="shop-sauces", confirm=True)
        answers = []

        def meanwhile():
            shelf.after = lambda: None
            answers.append(result(install(client, packagename="shop-sauces", confirm=True)))
            answers.append(result(uninstall(client, "ketchup")))

        shelf.after = meanwhile
        install(client, packagename="shop-failing", confirm=True)

        conflict = (409, {"detail": "Another installation is running"})
        assert answers == [conflict, conflict]

    def test_what_came_is_listed_at_once(self, client):
        """The plugins of the distribution are known, off, and of that package."""
        install(client, packagename="shop-sauces", confirm=True)
        found = client("GET", "/api/plugins/ketchup/", SUPERUSER).body

        assert (found["active"], found["is_installed"], found["is_package"]) == (False, True, True)
        assert found["package_name"] == "shop-sauces"

    @pytest.mark.parametrize(
        ("body", "asked"),
        [
            ({"packagename": "shop-sauces", "version": "1.5"}, ("shop-sauces==1.5", None)),
            ({"packagename": "shop-sauces", "version": ">=1, <2"}, ("shop-sauces<2,>=1", None)),
            (
                {"packagename": "shop-sauces", "url": "https://index.example/simple"},
                ("shop-sauces", "https://index.example/simple"),
            ),
            (
                {"url": "git+https://git.example/shop-sauces.git"},
                ("git+https://git.example/shop-sauces.git", None),
            ),
            (
                {"packagename": "shop-sauces", "url": "git+https://git.example/x", "version": "9"},
                ("shop-sauces@ git+https://git.example/x", None),
            ),
        ],
    )
    def test_what_is_asked_of_the_installer(self, client, shelf, body, asked):
        """A version is pinned, an index is one, and a repository says its version itself."""
        assert install(client, confirm=True, **body).status == 201
        ((requirement, index),) = shelf.asked

        assert (requirement.replace(" ", ""), index) == (asked[0].replace(" ", ""), asked[1])

    @pytest.mark.parametrize("how", ["json", "form", "multipart"])
    def test_three_ways_to_ask(self, client, how):
        """A form says yes in words."""
        body = {"packagename": "shop-sauces", "confirm": "on"}
        assert client("POST", INSTALL, SUPERUSER, **{how: body}).status == 201

    def test_it_must_be_confirmed(self, client, shelf):
        """Missing and false differ in JSON; a form does not send a box not ticked."""
        path = {"packagename": "shop-sauces"}
        required, unconfirmed = ["This field is required."], ["Installation not confirmed"]

        assert result(install(client, **path)) == (400, {"confirm": required})
        assert result(install(client)) == (400, {"confirm": required})
        assert result(install(client, confirm=False)) == (400, {"confirm": unconfirmed})
        for how in ("form", "multipart"):
            answer = client("POST", INSTALL, SUPERUSER, **{how: path})
            assert result(answer) == (400, {"confirm": unconfirmed})
        assert shelf.asked == []

    def test_something_must_be_named(self, client, shelf):
        """Without a name and an address both fields are named."""
        sentence = ["Either packagename or URL must be provided"]
        for body in ({}, {"packagename": "", "url": ""}, {"version": "1"}, {"packagename": " "}):
            answer = install(client, confirm=True, **body)
            assert result(answer) == (400, {"packagename": sentence, "url": sentence})
        assert shelf.asked == []

    def test_texts_may_be_blank_and_not_null(self, client):
        """Each field that is null is named."""
        answer = install(client, confirm=True, packagename=None, url=None, version=None)
        null = ["This field may not be null."]

        assert result(answer) == (400, {"packagename": null, "url": null, "version": null})

    @pytest.mark.parametrize(
        ("field", "body"),
        [
            ("packagename", {"packagename": "-e ."}),
            ("packagename", {"packagename": "--index-url=http://bad.example"}),
            ("packagename", {"packagename": "a; rm -rf /"}),
            ("packagename", {"packagename": "a b"}),
            ("url", {"packagename": "shop-sauces", "url": "file:///etc"}),
            ("url", {"packagename": "shop-sauces", "url": "http://plain.example"}),
            ("packagename", {"packagename": "shop-sauces @ file:///etc"}),
            ("packagename", {"packagename": "shop-sauces==newest"}),
            ("url", {"url": "git+http://plain.example/x"}),
            ("version", {"packagename": "shop-sauces", "version": "newest"}),
            ("version", {"packagename": "shop-sauces", "version": "1; python_version > '3'"}),
            ("version", {"packagename": "shop-sauces", "version": "1\x00"}),
        ],
    )
    def test_what_is_no_requirement_never_reaches_the_installer(self, client, shelf, field, body):
        """It is 400 under the field that is wrong."""
        answer = install(client, confirm=True, **body)

        assert (answer.status, set(answer.body)) == (400, {field})
        assert shelf.asked == []

    def test_the_installer_fails(self, client):
        """Its lines are the sentences, one for each."""
        answer = install(client, packagename="shop-nothing", confirm=True)

        assert result(answer) == (
            400,
            {"non_field_errors": ["ERROR: first line", "ERROR: there is no shop-nothing"]},
        )

    def test_without_an_installer_it_is_off(self, make_client):
        """The host has to allow it; the body is checked first all the same."""
        with PluginRegistry("shop") as registry:
            registry.load()
            client = make_client(PluginAPI(registry))
            answer = install(client, packagename="a", confirm=True)
            assert result(answer) == refused("Plugin installation is disabled")
            assert set(install(client, packagename="a").body) == {"confirm"}


def uninstall(client, slug, method="PATCH", **sent):
    return client(method, f"/api/plugins/{slug}/uninstall/", SUPERUSER, **sent)


class TestUninstall:
    @pytest.mark.parametrize("method", METHODS)
    @pytest.mark.parametrize("delete", [True, False])
    def test_the_answer_is_what_was_asked(self, client, sauces, method, delete):
        """The effective value comes back, for PATCH and PUT alike."""
        sauces.set_metadata("ketchup", {"a": 1})
        answer = uninstall(client, "ketchup", method, json={"delete_config": delete})

        assert result(answer) == (200, {"delete_config": delete})
        status = client("GET", "/api/plugins/ketchup/", SUPERUSER).status
        assert status == (404 if delete else 200)

    @pytest.mark.parametrize("method", METHODS)
    @pytest.mark.parametrize("sent", [{}, {"json": {}}, {"form": {"x": "1"}}])
    def test_the_config_goes_if_nothing_is_said(self, client, sauces, method, sent):
        """The default is true, also in a form and without a body."""
        assert result(uninstall(client, "ketchup", method, **sent)) == (
            200,
            {"delete_config": True},
        )
        assert "ketchup" not in sauces.plugins

    def test_a_config_that_stays(self, client, sauces):
        """The plugin is listed as not installed, with its stored rows."""
        sauces.set_metadata("ketchup", {"a": 1})
        uninstall(client, "ketchup", json={"delete_config": False})

        found = client("GET", "/api/plugins/ketchup/", SUPERUSER).body
        assert (found["is_installed"], found["is_package"]) == (False, True)
        assert (found["package_name"], found["name"]) == ("shop-sauces", "ketchup")
        answer = client("GET", "/api/plugins/ketchup/metadata/", SUPERUSER)
        assert answer.body == {"metadata": {"a": 1}}

    def test_what_is_no_boolean(self, client, sauces, shelf):
        """It is 400 under its name, and nothing is removed."""
        for wrong, sentence in (
            ("maybe", "Must be a valid boolean."),
            (None, "This field may not be null."),
        ):
            answer = uninstall(client, "ketchup", json={"delete_config": wrong})
            assert result(answer) == (400, {"delete_config": [sentence]})
        assert sauces.get("ketchup").is_installed

    @pytest.mark.parametrize(
        ("slug", "sentence"),
        [
            ("must", "Plugin cannot be uninstalled as it is currently active"),
            ("broken", "INVE-E10: Plugin cannot be uninstalled as it is mandatory"),
            ("sample", "INVE-E10: Plugin cannot be uninstalled as it is a sample plugin"),
            ("built", "INVE-E10: Plugin cannot be uninstalled as it is a built-in plugin"),
        ],
    )
    def test_what_the_host_brings_stays(self, client, slug, sentence):
        """The code of the reason is set apart from it."""
        assert result(uninstall(client, slug)) == refused(sentence)

    def test_an_active_plugin_stays(self, client, sauces):
        """It must be switched off first."""
        sauces.activate("ketchup")

        assert result(uninstall(client, "ketchup")) == refused(
            "Plugin cannot be uninstalled as it is currently active"
        )
        assert sauces.get("ketchup").active

    def test_a_package_stays_while_any_of_its_plugins_is_on(self, client, sauces):
        """The other plugin's desired state counts too, and it is named."""
        sauces.activate("mustard")
        answer = uninstall(client, "ketchup")

        assert (answer.status, set(answer.body)) == (400, {"non_field_errors"})
        assert "'mustard'" in answer.body["non_field_errors"][0]
        assert sauces.get("mustard").active

    def test_all_plugins_of_the_package_go(self, client, sauces):
        """Their configs are deleted together."""
        sauces.set_metadata("mustard", {"a": 1})
        assert uninstall(client, "ketchup").status == 200

        for slug in ("ketchup", "mustard"):
            assert client("GET", f"/api/plugins/{slug}/", SUPERUSER).status == 404

    def test_a_plugin_that_cannot_be_made_can_be_removed(self, client, registry):
        """Its constructor fails, and it is installed nevertheless."""
        registry.install("shop-failing", keep_broken=True)
        registry.activate("failing")
        assert registry.get("failing").state is PluginState.FAILED
        registry.deactivate("failing")

        assert result(uninstall(client, "failing")) == (200, {"delete_config": True})
        assert "failing" not in registry.plugins

    def test_what_is_not_there(self, client, sauces):
        """A config without a plugin, a plugin of no package, and a slug of nobody."""
        uninstall(client, "ketchup", json={"delete_config": False})
        assert result(uninstall(client, "ketchup")) == refused("Plugin is not installed")
        sauces.register(Built(), slug="by-hand")
        sauces.unregister("by-hand")
        assert uninstall(client, "by-hand").status == 404
        assert uninstall(client, "none").status == 404

    def test_a_plugin_of_a_folder(self, make_client, shelf, tmp_path):
        """It has no package to be removed."""
        folder = tmp_path / "plugs"
        folder.mkdir()
        (folder / "jam.py").write_text(
            "from plugreg import Plugin\nclass Jam(Plugin): NAME = 'Jam'\n"
        )
        with PluginRegistry("shop", directories=[folder], installer=shelf) as registry:
            registry.load()
            answer = uninstall(make_client(PluginAPI(registry)), "jam")

        assert result(answer) == refused("Plugin is not a packaged plugin")

    def test_it_is_gone_from_the_disk(self, client, sauces, shelf):
        """A distribution that somebody else has removed meanwhile is reported so."""
        shutil.rmtree(shelf.environment / "generations/1/shop_sauces-1.5.dist-info")

        assert result(uninstall(client, "ketchup")) == refused("Plugin installation not found")

    def test_without_an_installer_it_is_off(self, make_client):
        """That is the first reason, before any of the plugin's."""
        with PluginRegistry("shop", builtin=[Must], mandatory={"must"}) as registry:
            registry.load()
            client = make_client(PluginAPI(registry))
            for method in METHODS:
                answer = uninstall(client, "must", method)
                assert result(answer) == refused("Plugin uninstalling is disabled")
