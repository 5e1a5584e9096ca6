"""Installing from a shell: plans, consent, and the audit."""

from __future__ import annotations

import pytest

PLUGIN = "from plugreg import Plugin\n\nclass Tea(Plugin):\n    pass\n"
BROKEN = "raise RuntimeError('boom')\n"


@pytest.fixture
def filled(shop, tmp_path, request, monkeypatch):
    """Return a shop with an installer that stages two distributions without an index."""
    conftest = request.config.pluginmanager.get_plugin(
        str(request.config.rootpath / "tests" / "conftest.py")
    )
    installer = conftest.FolderInstaller(tmp_path / "plugins.d")
    installer.ready = {
        "shop-tea": ("1.0", {"tea": "shop_tea:Tea"}, {"shop_tea.py": PLUGIN}),
        "shop-bad": ("1.0", {"bad": "shop_bad:Bad"}, {"shop_bad.py": BROKEN}),
    }
    shop.options["installer"] = installer
    return shop


def slugs(shop):
    return shop.run("list", "--format", "names").out.split()


class TestConsent:
    def test_without_a_terminal_and_without_yes_nothing_is_changed(self, filled):
        """Exit code 4; the plan was shown."""
        for words in (["install", "shop-tea"], ["rollback"]):
            done = filled.run(*words, "--json")
            assert (done.code, done.document["error"]["code"]) == (4, "no-consent"), words
        assert "shop-tea" in filled.run("install", "shop-tea").err
        assert slugs(filled) == []

    def test_with_yes(self, filled):
        """It is installed, and stays off."""
        done = filled.run("install", "shop-tea", "--yes", "--json")

        assert done.code == 0
        (row,) = done.document["changes"]
        assert (row["distribution"], row["version"], row["plugins"]) == ("shop-tea", "1.0", ["tea"])
        assert slugs(filled) == ["tea"]
        assert filled.run("list", "--wanted", "--format", "count").out == "0\n"
        assert "shop-tea  add" in done.err

    def test_uninstall(self, filled):
        """Names the distributions that go, and asks."""
        filled.run("install", "shop-tea", "--yes")

        done = filled.run("uninstall", "tea")
        assert (done.code, "removes shop-tea with tea" in done.err) == (4, True)
        assert filled.run("uninstall", "tea", "--yes").code == 0
        assert slugs(filled) == []
        assert filled.run("uninstall", "tea", "--yes").code == 3

    def test_a_plugin_that_is_on_is_not_removed(self, filled):
        """Exit code 4 with the command that switches it off, and nobody is asked."""
        filled.run("install", "shop-tea", "--yes")
        filled.run("activate", "tea")

        done = filled.run("uninstall", "tea", "--yes", "--json")

        assert (done.code, done.document["error"]["code"]) == (4, "active")
        assert done.document["error"]["remedy"] == "plugreg deactivate tea"
        assert slugs(filled) == ["tea"]


class TestPlans:
    def test_plan(self, filled):
        """The changes, and nothing is changed."""
        done = filled.run("plan", "shop-tea", "--json")

        assert done.code == 0
        (row,) = done.document["changes"]
        assert (row["name"], row["kind"], row["after"]) == ("shop-tea", "add", "1.0")
        assert slugs(filled) == []
        assert filled.run("plan", "shop-nope").code == 1
        assert filled.run("plan", "not a requirement").code == 2

    def test_what_the_policy_forbids(self, filled):
        """Exit code 4, with the rule."""
        from plugreg.install import InstallPolicy

        filled.options["installer"].policy = InstallPolicy(denied=["shop-tea"])

        for command in ("plan", "install"):
            done = filled.run(command, "shop-tea", "--json")
            assert (done.code, done.document["error"]["code"]) == (4, "policy")
            assert "denied" in done.document["error"]["message"]

    def test_a_plugin_that_cannot_be_loaded(self, filled):
        """Exit code 1, unless it is kept on demand."""
        assert filled.run("install", "shop-bad", "--yes").code == 1
        assert filled.run("install", "shop-bad", "--yes", "--keep-broken").code == 0


class TestGenerations:
    def test_roll_back_and_audit(self, filled, tmp_path):
        """An earlier generation serves again; each attempt is recorded with its actor."""
        filled.run("install", "shop-tea", "--yes")
        filled.run("install", "shop-bad", "--yes", "--keep-broken")
        assert slugs(filled) == ["bad", "tea"]

        asked = filled.run("rollback")
        assert (asked.code, "shop-bad  remove" in asked.err) == (4, True)
        assert slugs(filled) == ["bad", "tea"]
        assert filled.run("rollback", "--yes").code == 0
        assert slugs(filled) == ["tea"]
        rows = filled.run("generations", "--json").document["generations"]
        assert [row["plugins"] for row in rows if row["serving"]] == [["tea"]]
        entries = filled.run("audit", "--json").document["audit"]
        assert [entry["action"] for entry in entries] == ["install", "install", "rollback"]
        assert all(entry["actor"] for entry in entries)
        (row,) = filled.run("show", "tea", "--json").document["plugins"]
        assert [(entry["action"], entry["outcome"]) for entry in row["audit"]] == [
            ("install", "done")
        ]

    def test_sync_shows_what_it_would_change(self, filled, tmp_path):
        """Of the plugins file and of a lock alike, before anybody is asked."""
        assert filled.run("sync").code == 1  # There is no plugins file.
        filled.run("install", "shop-tea", "--yes")
        path = tmp_path / "pylock.toml"
        filled.run("lock", str(path))
        filled.run("rollback", "0", "--yes")

        asked = filled.run("sync", "--locked", str(path))
        assert (asked.code, "shop-tea  add" in asked.err) == (4, True)
        filled.options["installer"].plugins_file = tmp_path / "plugins.txt"
        (tmp_path / "plugins.txt").write_text("shop-tea\n")
        asked = filled.run("sync")
        assert (asked.code, "shop-tea  add" in asked.err) == (4, True)
        assert slugs(filled) == []

    def test_lock(self, filled, tmp_path):
        """As a file, which sync takes."""
        assert filled.run("lock").code == 1
        filled.run("install", "shop-tea", "--yes")
        path = tmp_path / "pylock.toml"

        assert filled.run("lock", str(path)).out == f"{path}\n"
        assert "shop-tea" in path.read_text()
        assert filled.run("sync", "--locked", str(tmp_path / "none"), "--yes").code == 2


class TestWithoutInstaller:
    def test_it_is_refused(self, shop):
        """Exit code 4, with the missing option of the host; the audit can be read."""
        for words in (["plan", "x"], ["install", "x"], ["generations"], ["outdated"], ["lock"]):
            done = shop.run(*words, "--json")
            assert (done.code, done.document["error"]["code"]) == (4, "disabled"), words
        assert shop.run("audit", "--json").document["audit"] == []


class TestApply:
    def test_a_file_with_a_fault_installs_nothing(self, filled, shop, tmp_path):
        """A fault further down is found first."""
        shop.plugin("discount")
        filled.run("probe", "discount")
        path = tmp_path / "plugins.toml"
        path.write_text(
            "schema = 1\n[plugins.tea]\nrequirement = 'shop-tea'\n"
            "[plugins.discount]\nsettings = {NOPE = 1}\n"
        )

        assert filled.run("apply", str(path), "--yes").code == 2
        assert filled.run("generations", "--json").document["generations"] == []

    def test_installs_first(self, filled, tmp_path):
        """A requirement of the file that is not satisfied; then the wish is stored."""
        path = tmp_path / "plugins.toml"
        path.write_text("schema = 1\n[plugins.tea]\nactive = true\nrequirement = 'shop-tea'\n")

        assert filled.run("apply", str(path), "--plan").code == 2
        assert filled.run("apply", str(path), "--yes").code == 0
        assert filled.run("list", "--wanted", "--format", "names").out == "tea\n"
        assert filled.run("apply", str(path), "--plan").code == 0
