"""Capabilities of isolated plugins: those that are data work, the others are refused."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from plugreg import Stage, ValueNotSentError
from plugreg.api import Actor
from plugreg.isolation import Isolated
from plugreg.mixins import MixinSpec, ValidationFault

VICTIM = """
import os
from plugreg import Plugin
from plugreg.mixins import (ActionMixin, EventMixin, MailMixin, NavigationMixin, NotificationMixin,
                            ScheduleMixin, UserInterfaceMixin, ValidationMixin)

class Victim(ActionMixin, EventMixin, MailMixin, NavigationMixin, NotificationMixin, ScheduleMixin,
             UserInterfaceMixin, ValidationMixin, Plugin):
    TITLE = "The victim"
    VERSION = "1.2"
    AUTHOR = "Somebody"
    ADMIN_SOURCE = "admin.js"
    ACTION_NAME = "wave"
    NAVIGATION = [{"name": "Here", "link": "/here"}]
    NAVIGATION_TAB_NAME = "Places"
    SCHEDULED_TASKS = {"sweep": {"func": "sweep", "schedule": "I", "minutes": 5}}
    events = []
    waved = mailed = None

    def get_admin_context(self):
        return {"pid": os.getpid()}

    def perform_action(self, user=None, data=None):
        self.waved = data

    def get_result(self, user=None, data=None):
        return self.waved == data

    def get_info(self, user=None, data=None):
        return {"pid": os.getpid(), "events": self.events, "mail": self.mailed}

    def wants_process_event(self, event):
        return event != "dull"

    def process_event(self, event, *args, **kwargs):
        self.events.append([event, list(args), kwargs])

    def process_mail_out(self, mail):
        self.mailed = mail

    def filter_targets(self, targets):
        return (target for target in targets if target != "x")

    def send_notification(self, target, category, users, context):
        return context["ok"]

    def sweep(self):
        return os.getpid()

    def get_ui_panels(self, request, context, **kwargs):
        yield {"key": "panel", "title": f"{request.actor.id} {context['page']}",
               "options": {"staff": request.actor.is_staff}}

    def get_ui_dashboard_items(self, request, context, **kwargs):
        if request.actor is None:
            raise ValueError("who?")
        return []

    def validate_name(self, name):
        if name == "bad":
            self.raise_error({"name": "it is bad"})
        return name == "good"

    async def generate_name(self, start):
        return start + "!"
"""


@pytest.fixture
def opened(host: Any) -> Any:
    """Return a registry with the plugin."""
    (host.folder / "static").mkdir(parents=True)
    host.write("victim", VICTIM)
    return host.open()


def test_facts(opened: Any) -> None:
    """A plugin's attributes are in its record."""
    record = opened.get("victim")

    assert (record.title, record.version, record.author) == ("The victim", "1.2", "Somebody")
    assert {*record.mixins} == {
        *("action", "base", "events", "mail", "navigation", "notification", "schedule", "ui"),
        "validation",
    }
    details = opened.admin("victim")
    assert details.source == "/static/plugins/victim/admin.js"
    assert details.context == {"pid": record.process.pid}


def test_actions_and_events_and_mail(opened: Any) -> None:
    """Methods of mixins run in the process, and keep their state there."""
    [plugin] = opened.with_mixin("action")

    plugin.perform_action(user="me", data={"a": (1, 2)})
    opened.events.emit("sold", 1, what="tea")
    opened.events.emit("dull")
    opened.capabilities.outcomes("mail", "process_mail_out", {"to": "you"})
    answer = plugin.get_response(user="me", data={"a": [1, 2]})

    assert (answer["action"], answer["result"]) == ("wave", True)
    assert answer["info"]["pid"] == opened.get("victim").process.pid != os.getpid()
    assert ["sold", [1], {"what": "tea"}] in answer["info"]["events"]
    assert "dull" not in str(answer["info"]["events"])
    assert answer["info"]["mail"] == {"to": "you"}


def test_user_interface(opened: Any) -> None:
    """Features come from the process, which gets the actor; a fault is a record."""
    [panel] = opened.ui_features("panel", {"page": "item"}, actor=Actor(7, is_staff=True))

    assert (panel.key, panel.title) == ("panel", "7 item")
    assert panel.options == {"staff": True}
    assert opened.ui_features("dashboard") == ()
    assert "who?" in opened.get("victim").errors[0].message


def test_navigation_and_schedule(opened: Any) -> None:
    """Links and tasks are data, and a task runs in the process."""
    from plugreg.mixins import navigation_links, navigation_tab_name

    [plugin] = opened.with_mixin("navigation")
    assert [link.link for link in navigation_links(plugin)] == ["/here"]
    assert navigation_tab_name(plugin) == "Places"
    [task] = opened.schedules.tasks()
    assert (task.name, task.task.minutes) == ("plugin.victim.sweep", 5)
    assert opened.schedules.run(task.name).value == opened.get("victim").process.pid


def test_validation_and_notification(opened: Any) -> None:
    """A refusal is the answer that it is in the host; async methods are awaited."""
    calls = opened.capabilities
    [good] = calls.outcomes("validation", "validate_name", "good")
    [bad] = calls.outcomes("validation", "validate_name", "bad")
    [made] = asyncio.run(calls.aoutcomes("validation", "generate_name", "tea"))
    [targets] = calls.outcomes("notification", "filter_targets", ["x", "y"])
    [sent] = calls.outcomes("notification", "send_notification", "t", "c", [1], {"ok": True})

    assert good.value is True
    assert type(bad.error) is ValidationFault
    assert (bad.error.message, bad.failure) == ({"name": "it is bad"}, None)
    assert (made.value, targets.value, sent.value) == ("tea!", ["y"], True)
    [unsent] = calls.outcomes("validation", "validate_name", object())
    assert type(unsent.error) is ValueNotSentError


def test_files_for_browsers(host: Any, tmp_path: Path) -> None:
    """Files of an isolated plugin's package are served, though it is not imported here."""
    package = host.folder / "pack"
    (package / "static").mkdir(parents=True)
    (package / "static" / "admin.js").write_text("alert(1)", encoding="utf-8")
    (package / "__init__.py").write_text(
        "from plugreg import Plugin\nclass Pack(Plugin):\n    pass\n", encoding="utf-8"
    )
    registry = host.open(Isolated())

    assert registry.assets("pack", "admin.js").content == b"alert(1)"


REFUSED = {
    "wrapper": (
        "from plugreg import hookimpl\n@hookimpl(wrapper=True)\ndef act(what):\n    return (yield)",
        "wrapper",
    ),
    "urls": (
        "from plugreg import Plugin\nfrom plugreg.mixins import UrlsMixin\n"
        "class Victim(UrlsMixin, Plugin):\n    URLS = ['x']",
        "'urls'",
    ),
    "bringing": (
        "from plugreg import Plugin, hookimpl\nclass Victim(Plugin):\n    @hookimpl\n"
        "    def plugreg_plugins(self): return []",
        "brings plugins",
    ),
    "settings of a class of its own": (
        "import enum\nfrom plugreg import Plugin\nfrom plugreg.mixins import SettingsMixin\n"
        "class Colour(enum.Enum):\n    RED = 'r'\n"
        "class Victim(SettingsMixin, Plugin):\n    SETTINGS = {'C': {'type': Colour}}",
        "SETTINGS['C']",
    ),
    "settings that import what they name": (
        "from pydantic import ImportString\nfrom plugreg import Plugin\n"
        "from plugreg.mixins import SettingsMixin\n"
        "class Victim(SettingsMixin, Plugin):\n    SETTINGS = {'C': {'type': ImportString}}",
        "SETTINGS['C']",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_isolated(host: Any, what: str) -> None:
    """It is a failure at activation that says why, and its neighbour serves."""
    source, reason = REFUSED[what]
    host.write("victim", source)
    host.write("neighbour", host.neighbour)
    registry = host.open()
    record = registry.get("victim")

    assert record.state == "failed"
    assert [failure.stage for failure in record.errors] == [Stage.ACTIVATE]
    assert reason in record.errors[0].message
    assert record.process is None
    assert registry.call(host.hooks.act, what="x") == ["healthy"]


def test_implicit_marks_are_refused(host: Any) -> None:
    """A function that only the host's prefix makes an implementation is told of."""
    host.write(
        "victim",
        "from plugreg import hookimpl\n@hookimpl\ndef act(what): return 'x'\n"
        "def shop_more(what): return 1",
    )
    registry = host.open(implicit_prefix="shop_")

    assert "shop_more" in registry.get("victim").errors[0].message
    assert registry.get("victim").errors[0].stage == Stage.ACTIVATE


SCALE = """
from dataclasses import dataclass

@dataclass
class Weight:
    grams: int

class ScaleMixin:
    IS_READY = True
    def weigh(self, item: str, times: int = 1) -> Weight:
        raise NotImplementedError
    def tare(self, device): ...
    def double(self, weight: Weight) -> Weight:
        return weight
"""

SCALE_PLUGIN = """
from shop_scale import ScaleMixin, Weight
from plugreg import Plugin

class Victim(ScaleMixin, Plugin):
    def weigh(self, item, times=1):
        return Weight(len(item) * times)
    def double(self, weight):
        return Weight(weight.grams * 2)
"""


@pytest.fixture
def scale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Yield the module of a host's own capability."""
    import sys

    (tmp_path / "host").mkdir()
    (tmp_path / "host" / "shop_scale.py").write_text(SCALE, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path / "host"))
    import shop_scale

    yield shop_scale
    del sys.modules["shop_scale"]


def test_rows_of_the_host(host: Any, scale: Any) -> None:
    """A capability of the host's own is refused, unless its row names methods to be sent."""
    host.write("victim", SCALE_PLUGIN)
    row = MixinSpec("scale", "Scale", scale.ScaleMixin)
    refused = host.open(mixins=[row]).get("victim")
    assert refused.state == "failed"
    assert "'scale'" in refused.errors[0].message

    sent = MixinSpec("scale", "Scale", scale.ScaleMixin, remote=("weigh", "double"))
    registry = host.open(mixins=[sent])
    [outcome] = registry.capabilities.outcomes("scale", "weigh", "tea", times=2)
    assert outcome.value == scale.Weight(6)
    [outcome] = registry.capabilities.outcomes("scale", "double", scale.Weight(4))
    assert outcome.value == scale.Weight(8)
    assert sent.remote == ("weigh", "double")
    with pytest.raises(TypeError, match="write"):
        MixinSpec("scale", "Scale", scale.ScaleMixin, remote="weigh")
