"""Fixtures of the tests of the command line: commands in this process, and the program."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner

import plugreg
from plugreg import PluginRegistry, hookspec
from plugreg.cli import group
from plugreg.storage import TinyDBStorage

PROGRAM = Path(sys.executable).with_name("plugreg")

PLUGIN = """
from plugreg import Plugin, hookimpl
from plugreg.mixins import SettingsMixin

class Discount(SettingsMixin, Plugin):
    SETTINGS = {
        "PERCENT": {"name": "Per cent", "default": 10, "validator": int},
        "API_KEY": {"name": "Key", "protected": True, "default": ""},
    }

    @hookimpl
    def price(self, item: str) -> float:
        return 1.0
"""

CRASH = "import os\nos._exit(3)\n"

BROKEN = "raise RuntimeError('boom')\n"

HOST = """
import sys
sys.path.append({site!r})
from plugreg import PluginRegistry, hookspec
from plugreg.storage import open_storage

class Hooks:
    @hookspec
    def price(self, item: str) -> float | None: ...

print("the host prints")

def make_registry(process=None):
    return PluginRegistry(
        "shop", host_version="2.4", hookspecs=[Hooks], storage=open_storage({store!r}),
        process=process,
    )
"""


class Hooks:
    """The hooks of the shop."""

    @hookspec
    def price(self, item: str) -> float | None: ...


class Done(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """The JSON on standard output, which must be all that is there."""
        found: dict[str, Any] = json.loads(self.out)
        assert found["schema"] == 1
        return found


class Shop:
    """A host with plugins in a site folder, a store and the commands on them."""

    def __init__(self, folder: Path, site) -> None:
        self.folder = folder
        self.site = site
        self.store = folder / "plugins.json"
        self.options: dict[str, Any] = {}

    @property
    def url(self) -> str:
        return f"tinydb:///{self.store}"

    @property
    def path(self) -> str:
        """The PYTHONPATH by which the program finds the plugins without a host."""
        return f"{self.site}{os.pathsep}{self.environ().get('PYTHONPATH', '')}"

    def plugin(self, slug, source=PLUGIN, version="1.0", *, metadata="", name="Discount") -> None:
        """Install a plugin."""
        module = f"shop_{slug.replace('-', '_')}"
        self.site.dist(
            f"shop-{slug}",
            version,
            {"shop.plugins": {slug: f"{module}:{name}"}},
            metadata=metadata,
            modules={f"{module}.py": source},
        )

    def make(self, **options: Any) -> PluginRegistry:
        """Return the host's registry, which is not loaded."""
        given = {
            "host_version": "2.4",
            "hookspecs": [Hooks],
            "storage": TinyDBStorage(self.store),
        }
        return PluginRegistry("shop", **{**given, **self.options, **options})

    @contextmanager
    def serving(self, process: str = "web", **options: Any) -> Iterator[PluginRegistry]:
        """Yield a registry that is loaded, and heard as a process."""
        registry = self.make(process=process, on_failure=lambda _: None, **options)
        with registry:
            registry.load()
            yield registry
        registry.storage.close()

    def run(self, *args: str, typed: str | None = None) -> Done:
        """Run a command in this process."""
        made: list[PluginRegistry] = []

        def factory() -> PluginRegistry:
            made.append(self.make())
            return made[0]

        result = CliRunner().invoke(group(factory), args, prog_name="plugreg", input=typed)
        for registry in made:
            registry.close()
            registry.storage.close()
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Done(result.exit_code, result.stdout, result.stderr)

    def write_host(self) -> None:
        """Write the host as a module, for the program."""
        text = HOST.format(site=str(self.site), store=self.url)
        (self.folder / "host.py").write_text(text, encoding="utf-8")

    def environ(self, **changes: str) -> dict[str, str]:
        """Return the environment of the program, without variables that would colour its output."""
        left = (
            *("NO_COLOR", "FORCE_COLOR", "COLUMNS", "TERM", "PYTHONSAFEPATH"),
            *("PLUGREG_APP", "PLUGREG_SAFE_MODE", "PLUGREG_ONLY", "PLUGREG_WITHOUT"),
        )
        kept = {name: value for name, value in os.environ.items() if name not in left}
        root = str(Path(plugreg.__file__).parents[1])
        path = {} if os.environ.get("PLUGREG_TEST_WHEEL") else {"PYTHONPATH": root}
        return {**kept, "PYTHONDONTWRITEBYTECODE": "1", "TERM": "xterm", **path, **changes}

    def program(self, *args: str, timeout: float = 120, **options: Any) -> Done:
        """Run the installed program, as a user does."""
        self.write_host()
        environ = self.environ(PLUGREG_APP="host:make_registry", **options.pop("env", {}))
        given = {"capture_output": True, "stdin": subprocess.DEVNULL, **options}
        done = subprocess.run(
            [PROGRAM, *args],
            cwd=self.folder,
            env=environ,
            text=True,
            timeout=timeout,
            check=False,
            **given,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def wish(self, **wanted: bool) -> None:
        """Store wishes without loading anything."""
        with self.make(safe_mode=True, on_failure=lambda _: None) as registry:
            registry.load()
            registry.switch({slug.replace("_", "-"): on for slug, on in wanted.items()})
        registry.storage.close()


@pytest.fixture
def shop(tmp_path, site, monkeypatch) -> Iterator[Shop]:
    """Yield a shop without plugins, whose site is on the path."""
    monkeypatch.syspath_prepend(str(site))
    for name in ("NO_COLOR", "FORCE_COLOR", "PLUGREG_APP"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    yield Shop(tmp_path, site)
    for name in [name for name in sys.modules if name.startswith("shop_")]:
        del sys.modules[name]
