"""Protected values where the output of an isolated plugin is cut."""

from __future__ import annotations

import logging
from typing import Any

import pytest

SECRET = "swordfish-by-the-hundred"

VICTIM = """
import os, sys
from plugreg import Plugin, hookimpl
from plugreg.mixins import SettingsMixin

class Victim(SettingsMixin, Plugin):
    SETTINGS = {"TOKEN": {"name": "Token", "protected": True}}

    @hookimpl
    def act(self, what):
        secret = self.get_setting("TOKEN")
        if what == "line":
            sys.stderr.write("x" * 8180 + secret + "y" * 200_000 + "\\nend\\n")
        else:
            # At once, so that it is received in pieces that end anywhere.
            data = (secret + "\\n").encode() * 20_000
            while data:
                data = data[os.write(2, data):]
            os._exit(1)
"""


@pytest.fixture
def opened(host: Any) -> Any:
    """Return a registry whose plugin has a protected value."""
    host.write("victim", VICTIM)
    registry = host.open()
    registry.settings("victim").set("TOKEN", SECRET)
    return registry


def test_long_line(opened: Any, host: Any, caplog: pytest.LogCaptureFixture) -> None:
    """No piece of a protected value is logged where a long line is cut."""
    with caplog.at_level(logging.INFO, "plugreg.plugin.victim"):
        opened.call(host.hooks.act, what="line")
        assert host.eventually(lambda: "end" in caplog.messages)
    assert SECRET[:5] not in caplog.text
    assert "x" * 8180 in caplog.text


def test_end_of_stderr(opened: Any, host: Any) -> None:
    """The kept end of stderr begins with a line, and so with no piece of a protected value."""
    (outcome,) = opened.outcomes(host.hooks.act, what="die")
    lines = outcome.error.stderr.splitlines()
    assert len(lines) > 1000
    assert not [line for line in lines if line in SECRET]
    assert not [line for line in lines if "hundred" in line]
