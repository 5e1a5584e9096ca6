"""Plugins of pydantic: plugreg's own models are built without them, and others keep theirs."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, GetPydanticSchema, TypeAdapter, create_model
from pydantic.plugin import _loader

from plugreg.settings.types import Typed, without_plugins

HOSTILE = """
print("the plugin was imported")

class Spy:
    def new_schema_validator(self, schema, type_, path, kind, config, settings):
        print("asked for", path.name)
        return None, None, None

spy = Spy()
"""


def run(site: Path, code: str) -> list[str]:
    """Run a program beside a distribution that brings a plugin of pydantic; return its lines."""
    info = site / "spying-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: spying\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[pydantic]\nspy = spying_module:spy\n")
    (site / "spying_module.py").write_text(HOSTILE)
    code = f"import sys; sys.path.insert(0, {str(site)!r})\n{code}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_plugreg_runs_nothing_of_a_pydantic_plugin(tmp_path: Path) -> None:
    """Neither the API's import, its bodies and its document, nor a typed setting loads it.

    A model of the host has it afterwards, and no variable of the environment has changed.
    """
    code = """
import os
before = dict(os.environ)
from dataclasses import dataclass
from plugreg import Plugin, PluginRegistry
from plugreg.api import Operation, PluginAPI
from plugreg.mixins import SettingsMixin

@dataclass
class Size:
    width: int

class Tea(SettingsMixin, Plugin):
    NAME = "Tea"
    SETTINGS = {"SIZE": {"type": list[Size], "default": []}}

with PluginRegistry("shop") as registry:
    registry.load()
    tea = Tea()
    registry.register(tea)
    registry.settings("tea").set("SIZE", [{"width": 1}])
    assert registry.settings("tea").get("SIZE") == [Size(1)]
    api = PluginAPI(registry)
    api.openapi()
    for member in vars(PluginAPI).values():
        if isinstance(member, Operation) and member.body is not None:
            member.input.model_validate({"confirm": True, "value": "1", "metadata": 1})
assert dict(os.environ) == before
print("plugreg has done its work")

from pydantic import BaseModel
class OfTheHost(BaseModel):
    number: int
"""
    assert run(tmp_path, code) == [
        "plugreg has done its work",
        "the plugin was imported",
        "asked for OfTheHost",
    ]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of the types whose validators a plugin of pydantic was asked for."""
    names: list[str] = []

    class Spy:
        def new_schema_validator(self, schema: Any, type_: Any, path: Any, *rest: Any) -> Any:
            names.append(path.name)
            return None, None, None

    monkeypatch.setattr(_loader, "_plugins", {"spy": Spy()})
    return names


def test_another_thread_has_its_plugins_meanwhile(asked: list[str]) -> None:
    """While plugreg builds an adapter, a model of another thread is built with its plugins."""

    def build_beside(source: Any, handler: Any) -> Any:
        thread = threading.Thread(target=create_model, args=("Beside",))
        thread.start()
        thread.join()
        return handler(source)

    declared = Annotated[int, GetPydanticSchema(build_beside)]
    assert Typed(declared).value_from("1") == 1
    assert asked == ["Beside"]


def test_plugins_come_back_after_an_error(asked: list[str]) -> None:
    """A type that pydantic cannot handle leaves nothing switched off; blocks may be nested."""
    with pytest.raises(Exception, match="schema"), without_plugins(), without_plugins():
        TypeAdapter(object())
    with without_plugins():
        with without_plugins():
            pass
        create_model("Own")

    class OfTheHost(BaseModel):
        number: int

    assert asked == [OfTheHost.__qualname__]
