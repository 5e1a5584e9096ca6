"""The shape of the package: a module imports only from lower levels, wherever the import stands."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import plugreg

ROOT = Path(plugreg.__file__).parent

LEVELS = (
    "exceptions < _support < records observation < hooks discovery storage encryption selection"
    " < _calls settings hints < _state < plugin mixins < assets capabilities events schedules ui"
    " < _lifecycle < _probe install < repairs isolation < registry < api contract"
    " < admin testing < cli < adapters sphinxext __main__"
)
LEVEL_OF = {
    name: level for level, names in enumerate(LEVELS.split(" < ")) for name in names.split()
}


def _imports() -> dict[str, set[str]]:
    """Map each module of plugreg to the modules it imports, function-level imports included."""
    files = {_name_of(file): file for file in ROOT.rglob("*.py")}
    found: dict[str, set[str]] = {}
    for name, file in files.items():
        found[name] = set()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                named = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{file} has a relative import; write plugreg.…"
                named = [f"{node.module}.{alias.name}" for alias in node.names]
                named = [target if target in files else str(node.module) for target in named]
            else:
                continue
            found[name] |= {target for target in named if target.split(".")[0] == "plugreg"}
        found[name] -= {name}
    return found


def _name_of(file: Path) -> str:
    parts = ("plugreg", *file.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _folder(module: str) -> str:
    """Return the part of a module's name that has a level: a folder, or a module beside it."""
    return module.split(".")[1] if "." in module else ""


def test_everything_has_a_level() -> None:
    """No folder and no module stands outside of the order."""
    assert set(LEVEL_OF) == {_folder(module) for module in _imports()} - {""}


def test_imports_go_to_lower_levels() -> None:
    """An import that goes up, or to the same level, is found wherever in the file it stands."""
    wrong = [
        f"{module} imports {other}"
        for module, others in _imports().items()
        for other in others
        if _folder(module) and _folder(other) != _folder(module)
        if not _folder(other) or LEVEL_OF[_folder(other)] >= LEVEL_OF[_folder(module)]
    ]

    assert wrong == []


def test_modules_form_no_cycle() -> None:
    """Within a folder, too, imports go one way."""
    imports = _imports()

    assert set(TopologicalSorter(imports).static_order()) == set(imports)


def test_the_top_is_for_users() -> None:
    """At most 16 modules lie beside the folders, and none of them is machinery."""
    names = [file.name for file in ROOT.glob("*.py")]

    assert len(names) <= 16
    assert [name for name in names if name.startswith("_") and not name.startswith("__")] == []


def test_only_hooks_knows_pluggy() -> None:
    """A change of pluggy's private parts is a change of one room."""
    knowing = {
        _folder(_name_of(file))
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

    Opened files are counted with an audit hook, which sees every file that the process opens.
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
    """``__all__`` lists all names, in alphabetical order, so that a diff of it reads well."""
    assert list(plugreg.__all__) == sorted(plugreg.__all__)
    for name in plugreg.__all__:
        assert hasattr(plugreg, name), name


@pytest.mark.parametrize("name", ["Discovery", "no_such_name"])
def test_what_is_not_public_is_not_offered(name: str) -> None:
    """The package offers no more than its public names."""
    assert not hasattr(plugreg, name)


def test_names_of_classes_are_unique() -> None:
    """A class name stands for one class of the package, so that a reader can search for it.

    ``Change`` is the name of two public classes: of a plan, and between two contracts.
    """
    names = [
        node.name
        for file in ROOT.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
    ]

    assert {name for name in names if names.count(name) > 1} == {"Change"}
