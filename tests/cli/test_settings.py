"""``plugreg settings``: layers, locks and secrets, while nothing of the plugin is imported."""

from __future__ import annotations

import json
import sys

import pytest


@pytest.fixture
def probed(shop):
    """Return a shop with a plugin whose settings are known from a probe."""
    shop.plugin("discount")
    assert shop.run("probe", "discount").code == 0
    return shop


class TestReading:
    def test_each_value_has_its_layer(self, probed):
        """Default, stored, or an override of the host, which locks it."""
        rows = {
            r["key"]: r for r in probed.run("settings", "discount", "--json").document["settings"]
        }
        assert (rows["PERCENT"]["value"], rows["PERCENT"]["layer"]) == ("10", "default")

        probed.run("settings", "discount", "set", "PERCENT", "20")
        (row,) = probed.run("settings", "discount", "get", "percent", "--json").document["settings"]
        assert (row["value"], row["layer"], row["locked"]) == ("20", "stored", False)

        probed.options["overrides"] = {"discount": {"PERCENT": 30}}
        (row,) = probed.run("settings", "discount", "get", "PERCENT", "--json").document["settings"]
        assert (row["value"], row["layer"], row["locked"]) == ("30", "override", True)
        assert probed.run("settings", "discount", "set", "PERCENT", "1").code == 4
        assert "shop_discount" not in sys.modules

    def test_schema(self, probed):
        """As JSON Schema, in text and in the document."""
        schema = json.loads(probed.run("settings", "discount", "schema").out)

        assert schema["properties"]["PERCENT"]["type"] == "integer"
        done = probed.run("settings", "discount", "schema", "--json")
        assert done.document["json_schema"] == schema

    def test_unknown_names(self, probed):
        """Of a plugin 3, of a setting 2 with the existing keys."""
        assert probed.run("settings", "nope").code == 3
        done = probed.run("settings", "discount", "get", "PERCNT")
        assert (done.code, "did you mean 'PERCENT'?" in done.err) == (2, True)


class TestWriting:
    def test_an_empty_value_is_none(self, probed):
        """The answer says that the default is read again; `get` takes one key."""
        probed.run("settings", "discount", "set", "PERCENT", "20")

        done = probed.run("settings", "discount", "set", "PERCENT", "", "--json")

        [row] = done.document["changes"]
        assert (row["result"], row["layer"], row["value"]) == ("unset", "default", "10")
        assert probed.run("settings", "discount", "get", "PERCENT", "API_KEY").code == 2

    def test_what_does_not_fit_is_refused(self, probed):
        """Although nothing is imported: the probe has seen the kind."""
        done = probed.run("settings", "discount", "set", "PERCENT", "many", "--json")

        assert (done.code, done.document["error"]["code"]) == (1, "setting")
        assert probed.run("settings", "discount", "get", "PERCENT").out == "10\n"

    def test_unset(self, probed):
        """The default is read again."""
        probed.run("settings", "discount", "set", "PERCENT", "20")

        assert probed.run("settings", "discount", "unset", "PERCENT").code == 0
        assert probed.run("settings", "discount", "get", "PERCENT").out == "10\n"

    def test_a_running_process_reads_it(self, probed):
        """After its next refresh."""
        probed.wish(discount=True)
        with probed.serving() as web:
            probed.run("settings", "discount", "set", "PERCENT", "25")
            web.refresh()
            assert web.settings("discount")["PERCENT"] == 25

    def test_of_a_user(self, probed):
        """With --user; settings of users are others."""
        assert (
            probed.run("settings", "discount", "--user", "7", "--json").document["settings"] == []
        )

    def test_without_a_probe_a_value_is_text(self, shop):
        """And that is said."""
        shop.plugin("discount")

        done = shop.run("settings", "discount", "set", "PERCENT", "20")

        assert done.code == 0
        assert "plugreg probe discount" in done.err
        assert shop.run("settings", "discount", "get", "PERCENT").out == "20\n"


class TestSecrets:
    SECRET = "hunter2-hunter2"

    def test_never_from_arguments(self, probed):
        """They are seen by everybody on the machine."""
        done = probed.run("settings", "discount", "set", "API_KEY", self.SECRET)

        assert done.code == 2
        assert "--stdin" in done.err
        assert self.SECRET not in done.out + done.err + probed.store.read_text()

    def test_from_standard_input(self, probed):
        """It is stored, and never shown."""
        done = probed.run(
            "settings", "discount", "set", "API_KEY", "--stdin", typed=self.SECRET + "\n"
        )

        assert done.code == 0
        assert self.SECRET in probed.store.read_text()
        for command in ("settings", "show", "why"):
            for more in ((), ("--json",)):
                shown = probed.run(command, "discount", *more)
                assert self.SECRET not in shown.out + shown.err + done.out + done.err
        assert probed.run("settings", "discount", "get", "API_KEY").out == "***\n"

    def test_from_the_environment(self, probed, monkeypatch):
        """By the name of a variable."""
        monkeypatch.setenv("SHOP_KEY", self.SECRET)

        assert probed.run("settings", "discount", "set", "API_KEY", "--env", "SHOP_KEY").code == 0
        assert self.SECRET in probed.store.read_text()
        assert probed.run("settings", "discount", "set", "API_KEY", "--env", "NOPE").code == 2

    def test_what_nobody_has_probed_is_not_shown_either(self, shop, monkeypatch):
        """Where it is not known to be a secret, and was kept out of the arguments."""
        shop.plugin("discount")
        monkeypatch.setenv("SHOP_KEY", self.SECRET)

        words = ("settings", "discount", "set", "API_KEY", "--env", "SHOP_KEY", "--json")
        done = shop.run(*words)

        assert done.code == 0
        assert self.SECRET not in done.out + done.err
        assert self.SECRET in shop.store.read_text()
