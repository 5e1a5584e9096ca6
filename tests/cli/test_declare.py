"""``apply`` and ``export``: plugins as a file describes them, all or none of it."""

from __future__ import annotations

import tomllib

import pytest

CRASH = "import os\nos._exit(3)\n"


@pytest.fixture
def filled(shop):
    """Return a shop with two plugins, one of them probed, and a function that writes the file."""
    shop.plugin("discount")
    shop.plugin("tax")
    shop.plugin("crash", CRASH)
    shop.run("probe", "discount")
    return shop


@pytest.fixture
def file(tmp_path):
    """Return a function that writes plugins.toml and returns its path."""

    def write(text: str) -> str:
        path = tmp_path / "plugins.toml"
        path.write_text(f"schema = 1\n{text}", encoding="utf-8")
        return str(path)

    return write


def wanted(shop):
    rows = shop.run("list", "--json").document["plugins"]
    return [row["slug"] for row in rows if row["wanted"]]


def value(shop, key="PERCENT"):
    return shop.run("settings", "discount", "get", key).out.strip()


WISHES = """
[plugins.discount]
active = true
settings = {PERCENT = 20}
[plugins.tax]
active = false
"""


class TestApply:
    def test_makes_it_so(self, filled, file):
        """Wishes and settings; a second time there is nothing to do."""
        path = file(WISHES)
        filled.wish(tax=True)

        plan = filled.run("apply", path, "--plan", "--json")
        assert (plan.code, plan.document["ok"], len(plan.document["changes"])) == (2, True, 3)
        assert wanted(filled) == ["tax"]

        assert filled.run("apply", path).code == 0
        assert (wanted(filled), value(filled)) == (["discount"], "20")
        assert filled.run("apply", path, "--plan").code == 0
        assert filled.run("apply", path, "--json").document["changes"] == []

    def test_is_one_transaction(self, filled, file):
        """A value that is refused keeps the wishes from being stored."""
        before = filled.store.read_bytes()

        done = filled.run("apply", file(WISHES.replace("20", '"many"')), "--no-probe")

        assert done.code == 1
        assert filled.store.read_bytes() == before

    def test_a_plan_refuses_what_writing_would(self, filled, file):
        """A value of another type, as far as a probe has seen it, before anything is changed."""
        assert filled.run("probe", "discount").code == 0
        path = file("[plugins.discount]\nsettings = {PERCENT = 'many'}\n")

        for words in (["--plan"], []):
            done = filled.run("apply", path, *words, "--json")
            assert (done.code, done.document["error"]["code"]) == (1, "setting")
            assert "'PERCENT' of 'discount'" in done.document["error"]["message"]

    def test_a_setting_that_the_host_fixes(self, filled, file):
        """It is named; a file that has the value which is stored already is fine."""
        stored = file("[plugins.discount]\nsettings = {PERCENT = 20}\n")
        assert filled.run("probe", "discount").code == 0
        assert filled.run("apply", stored).code == 0
        filled.options["overrides"] = {"discount": {"PERCENT": 30}}
        assert filled.run("apply", stored).code == 0
        path = file("[plugins.discount]\nsettings = {PERCENT = 25}\n")

        for words in (["--plan"], []):
            done = filled.run("apply", path, *words)
            assert done.code == 1
            assert "'PERCENT' of 'discount': its value is fixed by the host" in done.err

    def test_is_one_commit(self, filled, file):
        """Others see all of it or nothing."""
        before = filled.make().storage.revision()

        filled.run("apply", file(WISHES), "--no-probe")

        assert filled.make().storage.revision() == before + 1

    def test_what_the_file_does_not_have_stays(self, filled, file):
        """Without --prune."""
        filled.wish(tax=True)
        filled.run("settings", "discount", "set", "PERCENT", "30")
        path = file("[plugins.discount]\nactive = true\nsettings = {}\n")

        filled.run("apply", path)
        assert (wanted(filled), value(filled)) == (["discount", "tax"], "30")

        filled.run("apply", path, "--prune")
        assert (wanted(filled), value(filled)) == (["discount"], "10")

    def test_prune_unsets_where_the_file_has_no_settings(self, filled, file):
        """A plugin without a table of settings has none in the file, and no user has any."""
        filled.run("settings", "discount", "set", "PERCENT", "30")
        path = file("[plugins.discount]\nactive = false\n")

        assert filled.run("apply", path, "--plan").code == 0
        assert filled.run("apply", path, "--plan", "--prune").code == 2
        assert filled.run("apply", path, "--prune").code == 0
        assert value(filled) == "10"

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "   \n",
            "schema = 1\n",
            "schema = 2\n[plugins.discount]\nactive = true\n",
            "schema = 1\n[plugins]\n",
            "schema = 1\n[plugins.discount\n",
            "schema = 1\n[plugins.discount]\nactive = 'yes'\n",
            "schema = 1\n[plugins.discount]\nactiv = true\n",
            "schema = 1\n[plugins.discount.user_settings.anna]\nA = 1\n",
            "schema = 1\n[plugins.discount.user_settings.--5]\nA = 1\n",
            "schema = 1\n[plugins.discount]\nsettings = {PERCENT = nan}\n",
            "schema = 1\n[plugins.discount]\nsettings = {PERCENT = [2026-01-01]}\n",
            "schema = 1\n[plugins.discount]\nsettings = {PERCENT = 1, percent = 2}\n",
        ],
    )
    def test_a_bad_file_changes_nothing(self, filled, tmp_path, text):
        """It never means that there are no plugins, not even with --prune."""
        filled.wish(tax=True)
        before = filled.store.read_bytes()
        path = tmp_path / "plugins.toml"
        path.write_text(text, encoding="utf-8")

        done = filled.run("apply", str(path), "--prune", "--json")

        assert (done.code, done.document["ok"]) == (2, False)
        assert filled.store.read_bytes() == before

    def test_a_date_is_named_with_its_remedy(self, filled, tmp_path):
        """TOML has dates, and settings are JSON values."""
        path = tmp_path / "plugins.toml"
        path.write_text("schema = 1\n[plugins.discount.settings]\nPERCENT = 1979-05-27\n")
        error = filled.run("apply", str(path), "--json").document["error"]
        assert "1979-05-27 is no JSON value; write a string" in error["message"]

    def test_no_file(self, filled, tmp_path):
        """Likewise."""
        assert filled.run("apply", str(tmp_path / "none.toml"), "--prune").code == 2
        assert filled.run("apply", str(tmp_path)).code == 2

    def test_a_plugin_that_ends_its_process(self, filled, file):
        """Nothing is stored, not even of others."""
        path = file("[plugins.discount]\nactive = true\n[plugins.crash]\nactive = true\n")

        assert filled.run("apply", path).code == 1
        assert wanted(filled) == []

    def test_an_unknown_plugin(self, filled, file):
        """Without a requirement it cannot be installed."""
        assert filled.run("apply", file("[plugins.nope]\nactive = true\n")).code == 3

    def test_what_is_needed_stays(self, filled, file):
        """A plugin that stays on may need a plugin that the file switches off."""
        filled.plugin("loyalty", metadata="Requires-Dist: shop-discount\n")
        filled.wish(loyalty=True, discount=True)

        assert filled.run("apply", file("[plugins.discount]\nactive = false\n")).code == 4
        assert wanted(filled) == ["discount", "loyalty"]


class TestSecrets:
    def test_only_by_reference(self, filled, file):
        """The value itself does not stand in the file."""
        done = filled.run("apply", file("[plugins.discount]\nsettings = {API_KEY = 'hunter2'}\n"))
        assert done.code == 2
        assert "hunter2" not in done.err

        reference = "[plugins.discount.settings]\nAPI_KEY = {'$env' = 'SHOP_KEY'}\n"
        assert filled.run("apply", file(reference)).code == 0
        assert filled.run("apply", file(reference), "--plan").code == 0
        assert "SHOP_KEY" in filled.run("export").out

    def test_export_leaves_them_out(self, filled):
        """And says so."""
        words = ("settings", "discount", "set", "API_KEY", "--stdin")
        filled.run(*words, typed="hunter2-hunter2")

        done = filled.run("export")

        assert "hunter2" not in done.out + done.err
        assert "discount.API_KEY is left out" in done.err


class TestExport:
    def test_writes_what_apply_takes(self, filled, tmp_path):
        """In the same shop there is no difference, and in an empty one it is made so."""
        filled.wish(discount=True)
        filled.run("settings", "discount", "set", "PERCENT", "25")
        path = str(tmp_path / "out.toml")

        assert filled.run("export", path).code == 0

        plugins = tomllib.loads((tmp_path / "out.toml").read_text())["plugins"]
        assert plugins["discount"] == {
            "active": True,
            "requirement": "shop-discount==1.0",
            "settings": {"PERCENT": 25},
        }
        assert filled.run("apply", path, "--plan").code == 0
        filled.store.unlink()
        assert filled.run("apply", path).code == 0
        assert (wanted(filled), value(filled)) == (["discount"], "25")

    def test_what_is_gone_and_what_the_host_brings(self, filled, tmp_path, site):
        """The desired state of a missing plugin stays; the host's own version is not requested."""
        points = {"shop.plugins": {"core": "shop_core:Discount"}}
        site.dist("shop", "2.4", points, modules={"shop_core.py": "raise RuntimeError\n"})
        filled.wish(tax=True, core=True)
        for path in sorted(site.folder.glob("shop_tax*/*")):
            path.unlink()
        next(site.folder.glob("shop_tax*.dist-info")).rmdir()
        path = str(tmp_path / "out.toml")

        assert filled.run("export", path).code == 0

        plugins = tomllib.loads((tmp_path / "out.toml").read_text())["plugins"]
        assert (plugins["tax"], plugins["core"]) == ({"active": True}, {"active": True})
        assert filled.run("apply", path, "--plan").code == 0
