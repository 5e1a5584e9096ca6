"""Services of the host in a plugin's process: settings, metadata, the logger, host hooks."""

from __future__ import annotations

import logging
import os
from typing import Any

import pytest

from plugreg import IsolationError, PluginDiedError, SettingError, hookspec
from plugreg.isolation import Isolated, call_host

VICTIM = """
import datetime, logging, os, sys, threading
from plugreg import Plugin, hookimpl
from plugreg.isolation import call_host
from plugreg.mixins import SettingsMixin

class Small:
    def __eq__(self, other): return False

def even(value):
    if value % 2:
        raise ValueError("it must be even")

class Victim(SettingsMixin, Plugin):
    SETTINGS = {
        "FEE": {"name": "Fee", "default": 4, "validator": [int, even]},
        "TOKEN": {"name": "Token", "protected": True},
        "DAYS": {"name": "Days", "type": list[int], "default": [1]},
        "SINCE": {"name": "Since", "type": datetime.date | None},
        "LUCK": {"name": "Luck", "default": lambda: "7"},
        "COLOUR": {"name": "Colour", "choices": lambda: [("red", "Red"), ("blue", "Blue")]},
        "PATH": {"name": "Path"},
    }
    USER_SETTINGS = {"BADGE": {"name": "Badge", "default": "none"}}
    heard = []

    @hookimpl
    def plugreg_activated(self):
        self.set_metadata({"activated": os.getpid()})

    @hookimpl
    def plugreg_settings_changed(self, changed):
        assert type(changed) is frozenset
        self.heard.append(sorted(changed))

    @hookimpl
    def act(self, what):
        name, _, rest = what.partition(" ")
        return str(getattr(self, name)(*rest.split()))

    def read(self, key):
        return repr(self.get_setting(key))

    def badge(self, user):
        return self.get_user_setting("BADGE", int(user))

    def give(self, user, badge):
        self.set_user_setting("BADGE", badge, int(user))
        return self.badge(user)

    def write(self, key, value):
        self.set_setting(key, value)
        return repr(self.get_setting(key))

    def note(self, word):
        self.set_metadata({"word": word})
        return self.get_metadata()["word"]

    def meta(self):
        return self.get_metadata().get("word")

    def list_heard(self):
        found = list(self.heard)
        self.heard.clear()
        return found

    def tell(self, word):
        print("printed", word)
        print("erred", word, file=sys.stderr)
        self.logger.warning("logged %s", word)
        self.logger.info("quiet %s", word)
        logging.getLogger("library").error("of a library %s", word)

    def ask(self, word):
        return call_host(self, "shout", word=word)

    def ask_other(self):
        return call_host(self, "act", what="x")

    def leave(self, word):
        sys.exit(word)

    def in_thread(self, value):
        thread = threading.Thread(target=self.set_setting, args=("FEE", value))
        thread.start()
        thread.join()
        return self.get_setting("FEE")
"""


class More:
    """Hooks that the plugin may call."""

    @hookspec
    def shout(self, word: str) -> str:
        """Return the word in capitals."""


SHOUTER = """
from plugreg import hookimpl
@hookimpl
def shout(word): return word.upper()
"""


@pytest.fixture
def opened(host: Any) -> Any:
    """Return a registry with the plugin."""
    host.write("victim", VICTIM)
    host.write("shouter", SHOUTER)
    options = Isolated(timeout=host.wait, may_call=[More.shout])
    return host.open(
        {"victim": options},
        hookspecs=[host.hooks, More],
        overrides={"victim": {"PATH": {"$env": "HOME"}}},
    )


def act(registry: Any, what: str) -> Any:
    """Return the plugin's answer."""
    outcome = next(o for o in registry.outcomes("act", what=what) if o.slug == "victim")
    if outcome.error is not None:
        raise outcome.error
    return outcome.value


def test_settings_are_read_from_a_copy(opened: Any) -> None:
    """The plugin sees each value that the host has stored, fixed, or defaults, at once."""
    settings = opened.settings("victim")

    assert act(opened, "read FEE") == "4"
    settings.set("FEE", 8)
    assert act(opened, "read FEE") == "8"
    assert act(opened, "read PATH") == repr(os.environ["HOME"])
    settings.set("DAYS", [1, 2])
    assert (settings["DAYS"], act(opened, "read DAYS")) == ([1, 2], "[1, 2]")
    settings.set("SINCE", "2026-01-02")
    assert act(opened, "read SINCE") == repr(settings["SINCE"]) == "datetime.date(2026, 1, 2)"
    assert (settings["LUCK"], act(opened, "read LUCK")) == ("7", "'7'")
    opened.user_settings("victim", 3).set("BADGE", "gold")
    assert (act(opened, "badge 3"), act(opened, "badge 4")) == ("gold", "none")


def test_settings_are_written_through_the_host(opened: Any) -> None:
    """Values that the plugin stores are stored by the host, with all its checks."""
    assert act(opened, "write FEE 6") == "6"
    assert opened.settings("victim")["FEE"] == 6
    assert act(opened, "give 3 silver") == "silver"
    assert opened.user_settings("victim", 3)["BADGE"] == "silver"
    with pytest.raises(SettingError, match="even"):
        act(opened, "write FEE 7")
    with pytest.raises(KeyError):
        act(opened, "write FEES 6")
    assert opened.settings("victim")["FEE"] == 6
    assert act(opened, "in_thread 10") == "10"


def test_functions_of_settings_run_in_the_process(opened: Any) -> None:
    """Validators and choices of the plugin apply to values that the host stores."""
    settings = opened.settings("victim")
    with pytest.raises(SettingError, match="even"):
        settings.set("FEE", 5)
    with pytest.raises(SettingError):
        settings.set("COLOUR", "green")
    settings.set("COLOUR", "blue")
    assert settings["COLOUR"] == "blue"


def test_the_plugin_hears_of_changes(opened: Any) -> None:
    """It hears of each change, its own too, as a plugin in the host does."""
    act(opened, "list_heard")
    opened.settings("victim").set("FEE", 8)
    act(opened, "write FEE 10")

    assert act(opened, "list_heard") == "[['FEE'], ['FEE']]"


def test_metadata(opened: Any) -> None:
    """Metadata is read from a copy, and written through the host."""
    assert opened.metadata("victim") == {"activated": opened.get("victim").process.pid}
    assert act(opened, "note tea") == "tea"
    assert opened.metadata("victim")["word"] == "tea"
    opened.set_metadata("victim", {"word": "coffee"})
    assert act(opened, "meta") == "coffee"


def test_logs_and_prints_arrive_scrubbed(
    host: Any, opened: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Log records and output of the plugin are logged here, without its protected values."""
    opened.settings("victim").set("TOKEN", "sesame-sesame")
    logging.getLogger("plugreg.plugin.victim").setLevel(logging.INFO)
    with caplog.at_level(logging.INFO, "plugreg.plugin.victim"):
        opened.reload(force=True)
        act(opened, "tell sesame-sesame")
        expected = {
            ("printed ***", logging.INFO),
            ("erred ***", logging.WARNING),
            ("logged ***", logging.WARNING),
            ("quiet ***", logging.INFO),
            ("of a library ***", logging.ERROR),
        }

        def told() -> set[Any]:
            return {
                (record.getMessage(), record.levelno)
                for record in caplog.records
                if record.name == "plugreg.plugin.victim"
            }

        assert host.eventually(lambda: expected <= told()), told()
    assert "sesame" not in caplog.text


def test_errors_are_scrubbed(opened: Any) -> None:
    """The end of stderr in an error has no protected value."""
    opened.settings("victim").set("TOKEN", "sesame-sesame")
    with pytest.raises(PluginDiedError) as caught:
        act(opened, "leave sesame-sesame")

    assert (caught.value.exitcode, caught.value.stderr.strip()) == (1, "***")


def test_hooks_of_the_host(opened: Any) -> None:
    """The plugin calls the hooks that the host allows, and no other."""
    assert act(opened, "ask tea") == "['TEA']"
    with pytest.raises(IsolationError, match="may_call"):
        act(opened, "ask_other")


def test_calling_the_host_from_the_host(host: Any) -> None:
    """A plugin that is not isolated has no such way."""
    from plugreg import Plugin, PluginNotBoundError

    with pytest.raises(PluginNotBoundError):
        call_host(Plugin(), "act", what="x")


def test_values_after_a_restart(opened: Any) -> None:
    """Another process begins with the values that hold then."""
    opened.settings("victim").set("FEE", 12)
    os.kill(opened.get("victim").process.pid, 9)
    for _ in range(2):
        try:
            assert act(opened, "read FEE") == "12"
            break
        except PluginDiedError:
            continue
    assert opened.metadata("victim") == {"activated": opened.get("victim").process.pid}
