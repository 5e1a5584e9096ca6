"""The shape of the house: a room imports only from lower floors, wherever the import stands."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import plugreg

ROOT = Path(plugreg.__file__).parent

FLOORS = [
    {"exceptions", "_names", "_guard", "_scrub", "_forks", "_children", "circuits"},
    {"records", "context", "_outages", "_turns", "_texts", "_typed", "references", "observation"},
    {
        "async_calls",
        "definitions",
        "failures",
        "retries",
        "watching",
        "hooks",
        "storage",
        "encryption",
        "selection",
    },
    {"declarations", "dispatch", "discovery", "resolve", "schemas", "stored"}
    | {"leases", "presence", "hints", "probes", "supervision"},
    {"plugin", "mixins", "overrides", "values"},
    {"load", "modules", "activate", "configs", "settings", "migrations", "calling", "capabilities"}
    | {"catalogue", "ui", "options", "assets", "health", "events", "schedules"},
    {"build", "binding", "configuration", "settings_health", "install"} | {"freshness"},
    {"lifecycle", "_probe_child"},
    {"wishes", "shared", "probe"},
    {"registry"},
    {"api"},
    {"adapters"},
]
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}


def _imports() -> dict[str, set[str]]:
    """Map each module of plugreg to the modules it imports, function-level imports included."""
    files = {_name_of(file): file for file in ROOT.rglob("*.py")}
    found: dict[str, set[str]] = {}
    for name, file in files.items():
        found[name] = set()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                named = [each.name for each in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{file} has a relative import; write plugreg.…"
                named = [f"{node.module}.{each.name}" for each in node.names]
                named = [each if each in files else str(node.module) for each in named]
            else:
                continue
            found[name] |= {each for each in named if each.split(".")[0] == "plugreg"} - {name}
    return found


def _name_of(file: Path) -> str:
    parts = ("plugreg", *file.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def test_every_room_has_a_floor() -> None:
    """No module stands outside the house."""
    rooms = {_room(module) for module in _imports()} - {""}

    assert set(FLOOR_OF) == rooms


def test_rooms_import_only_from_lower_floors() -> None:
    """An import that goes up, or to the same floor, is found wherever in the file it stands."""
    wrong = [
        f"{module} imports {other}"
        for module, others in _imports().items()
        for other in others
        if _room(module) and _room(other) != _room(module)
        if not _room(other) or FLOOR_OF[_room(other)] >= FLOOR_OF[_room(module)]
    ]

    assert wrong == []


def test_modules_form_no_cycle() -> None:
    """Within a room, too, imports go one way."""
    imports = _imports()
    order = list(TopologicalSorter(imports).static_order())

    assert set(order) == set(imports)


def test_only_hooks_knows_pluggy() -> None:
    """A change of pluggy's private parts is a change of one room."""
    knowing = {
        _room(_name_of(file))
        for file in ROOT.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if (isinstance(node, ast.Import) and any(e.name.startswith("pluggy") for e in node.names))
        or (isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pluggy"))
    }

    assert knowing == {"hooks"}


HEAVY = [
    "pydantic",
    "tinydb",
    "filelock",
    "cryptography",
    "importlib_metadata",
    "sqlalchemy",
    "redis",
    "packaging.requirements",
    "packaging.metadata",
    "email",
    "asyncio",
]


def test_importing_and_loading_stays_light() -> None:
    """Neither the import nor a load with the storage in memory brings in a heavy module."""
    code = (
        "import sys\n"
        "from plugreg import PluginRegistry, Plugin, hookspec, hookimpl\n"
        "with PluginRegistry('shop', host_version='2.4') as registry:\n"
        "    registry.load()\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_importing_reads_no_file_and_starts_nothing() -> None:
    """Importing plugreg opens only modules, starts no thread and changes nothing global.

    Opened files are counted with an audit hook, which sees what any part of the process opens.
    """
    code = (
        "import sys, threading, logging, signal, warnings, os\n"
        "import pluggy, packaging, inspect, ast, dataclasses, enum, datetime, importlib.util\n"
        "import importlib.metadata, json\n"
        "opened = []\n"
        "def hook(event, args):\n"
        "    if event == 'open' and not str(args[0]).endswith(('.py', '.pyc')):\n"
        "        opened.append(str(args[0]))\n"
        "    if event in ('subprocess.Popen', 'socket.connect', 'os.mkdir', 'os.rename'):\n"
        "        opened.append(event)\n"
        "before = (list(sys.path), list(sys.meta_path), list(warnings.filters),\n"
        "          logging.root.level, list(logging.root.handlers), dict(os.environ))\n"
        "sys.addaudithook(hook)\n"
        "import plugreg\n"
        "after = (list(sys.path), list(sys.meta_path), list(warnings.filters),\n"
        "         logging.root.level, list(logging.root.handlers), dict(os.environ))\n"
        "opened = [each for each in opened if '__pycache__' not in each]\n"
        "print(opened, threading.active_count(), before == after)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[] 1 True"


def test_no_mutable_module_state() -> None:
    """No module of plugreg holds a dict, list or set that something could be put into.

    Two registries in one process could otherwise meet there.
    """
    code = (
        "import importlib, pkgutil, plugreg, types\n"
        "names = [each.name for each in pkgutil.walk_packages(plugreg.__path__, 'plugreg.')]\n"
        "for name in names:\n"
        "    for key, value in vars(importlib.import_module(name)).items():\n"
        "        if isinstance(value, (dict, list, set)) and not key.startswith('__'):\n"
        "            print(name, key)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines() == []


def test_public_names_are_sorted_and_there() -> None:
    """``__all__`` is what there is, in alphabetical order, so that a diff of it reads well."""
    assert list(plugreg.__all__) == sorted(plugreg.__all__)
    for name in plugreg.__all__:
        assert hasattr(plugreg, name), name


@pytest.mark.parametrize("name", ["Discovery", "no_such_name"])
def test_what_is_not_public_is_not_offered(name: str) -> None:
    """The package offers no more than its public names."""
    assert not hasattr(plugreg, name)
