"""``plugreg new``: a plugin that is complete at once, and never overwritten afterwards."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

import pytest

import plugreg
from plugreg import hookspec
from plugreg.contract import Contract
from plugreg.mixins import MixinSpec
from plugreg.testing.scaffold.project import NewPlugin, read_record
from plugreg.testing.scaffold.update import write
from plugreg.testing.targets import check_target

ROOT = Path(__file__).parents[2]
PACKAGE = Path(plugreg.__file__).parents[1]
SCRIPTS = Path(sys.executable).parent

HOST = '''
"""A host with hooks of many types, and a capability of its own."""

import datetime
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from plugreg import PluginRegistry, hookspec
from plugreg.mixins import MixinSpec
from plugreg.storage import MemoryStorage


class Order:
    """An order of a customer."""


class LabelMixin:
    """For plugins that print labels."""

    def print_label(self, order: Order, copies: int = 1) -> bytes:
        """Print a label."""
        raise NotImplementedError

    def sizes(self) -> Sequence[str]:
        """Return the sizes of paper."""
        return []


class Hooks:
    """The hooks of the host."""

    @hookspec
    def price(self, item: str, at: datetime.datetime) -> float | None:
        """Say the price of an item."""

    @hookspec
    def names(self) -> Sequence[str]: ...

    @hookspec
    def colour(self) -> Literal["red", "blue"]: ...

    @hookspec
    def table(self, rows: Iterable[Mapping[str, int]]) -> dict[str, list[int]]: ...

    @hookspec
    def paid(self, order: Order, at_night: bool = False) -> None: ...

    @hookspec
    async def fetched(self, address: str) -> bytes | None:
        """Fetch what is "there\\""""

    @hookspec(historic=True)
    def opened(self, when: str) -> None:
        """Open it."""

    @hookspec(firstresult=True)
    def a_hook_with_a_very_long_name_and_more_arguments(
        self, first_argument: str, second_argument: str, third_argument: int
    ) -> str | None: ...


def make_registry(**options: Any) -> PluginRegistry:
    """Make the registry."""
    row = MixinSpec(key="label", human_name="Labels", cls=LabelMixin)
    given: dict[str, Any] = {"storage": MemoryStorage()} | options
    return PluginRegistry("desk", hookspecs=[Hooks], mixins=[row], **given)
'''

CONTRACT_OF = """
import sys
from desk_host import make_registry
from plugreg.contract import Contract
Contract.of(make_registry()).write(sys.argv[1])
"""


def run(folder: Path, *arguments: object, path: tuple[Path, ...] = (), code: int = 0) -> str:
    """Run a program of the environment of the tests, and return its output."""
    program, *rest = map(str, arguments)
    search = [*map(str, path), *([] if os.environ.get("PLUGREG_TEST_WHEEL") else [str(PACKAGE)])]
    done = subprocess.run(
        [SCRIPTS / program, *rest],
        cwd=folder,
        env={
            **{name: value for name, value in os.environ.items() if name != "PLUGREG_APP"},
            "PYTHONPATH": os.pathsep.join(search),
            "PYTHONDONTWRITEBYTECODE": "1",
            "MYPYPATH": os.pathsep.join(map(str, path)),
            "COLUMNS": "100",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def desk(tmp_path_factory) -> tuple[Path, Contract]:
    """Return the folder of a host that is no distribution, and its contract."""
    folder = tmp_path_factory.mktemp("desk")
    (folder / "desk_host.py").write_text(textwrap.dedent(HOST), encoding="utf-8")
    (folder / "py.typed").touch()
    run(folder, "python", "-c", CONTRACT_OF, "desk.json", path=(folder,))
    return folder, Contract.read(folder / "desk.json")


@pytest.fixture(scope="module")
def generated(desk) -> Path:
    """Return a folder with a plugin for all hooks and mixins together, and one for each."""
    folder, contract = desk
    everything = NewPlugin(
        name="desk-gift-wrap",
        contract=contract,
        app="desk_host:make_registry",
        hooks=(*contract.hooks,),
        mixins=(*contract.mixins,),
        is_host_installed=False,
    )
    plugins = [everything]
    plugins += [_alone(contract, f"desk-{hook[:6]}", hooks=(hook,)) for hook in contract.hooks]
    plugins += [_alone(contract, f"desk-{key}-mixin", mixins=(key,)) for key in contract.mixins]
    plugins += [_alone(contract, "desk-bare")]
    for plugin in plugins:
        write(folder / plugin.name, plugin.files(), {})
    return folder


def _alone(contract: Contract, name: str, **parts: tuple[str, ...]) -> NewPlugin:
    return NewPlugin(name=name, contract=contract, is_host_installed=False, **parts)


def test_all_that_is_generated_is_formatted_and_clean(generated) -> None:
    """Ruff has nothing to say of any project, with its own rules and the project's."""
    projects = sorted(path.parent for path in generated.glob("*/pyproject.toml"))

    assert len(projects) >= 18
    run(generated, "ruff", "format", "--check", "--no-cache", *projects)
    run(generated, "ruff", "check", "--no-cache", *projects)


def test_all_that_is_generated_is_typed(generated, request) -> None:
    """Mypy is strict, and finds nothing: in all plugins, and in the tests of the largest."""
    large = generated / "desk-gift-wrap"
    packages = [path.parent for path in generated.glob("*/*/py.typed") if large not in path.parents]
    options = tomllib.loads((large / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mypy"]
    # Most of the work is plugreg itself, which the next run need not read again.
    cache = request.config.cache.mkdir("mypy")

    assert options["strict"]
    run(large, "mypy", "--cache-dir", cache, *options["files"], *packages, path=(generated,))


def test_own_tests_pass_unedited(generated) -> None:
    """Those of each plugin in one run, and the checks of one as a class of tests."""
    projects = sorted(path.parent for path in generated.glob("*/pyproject.toml"))
    own = [file for p in projects for file in p.glob("tests/test_*.py") if "conf" not in file.name]
    out = run(
        *(generated, "python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error"),
        *("-c", os.devnull, "--rootdir", generated, "--import-mode=importlib", *own),
        generated / "desk-price" / "tests" / "test_conformance.py",
        path=(generated, *projects),
    )

    assert "failed" not in out
    assert len(own) == len(projects)


def test_it_builds_and_its_wheel_checks_clean(generated, desk, monkeypatch) -> None:
    """From the generated project to a wheel that has no finding but its exemptions."""
    monkeypatch.syspath_prepend(str(generated))
    project = generated / "desk-gift-wrap"
    run(project, "python", "-m", "hatchling", "build", "-t", "wheel")
    [wheel] = (project / "dist").glob("*.whl")
    report = check_target(desk[1], wheel)

    assert report.findings == ()
    assert {finding.code for finding, _ in report.exempted} >= {"K108"}


def test_the_host_that_is_no_distribution_is_not_required(generated) -> None:
    """A plugin can be installed where its host cannot; the exemption says why."""
    text = (generated / "desk-gift-wrap" / "pyproject.toml").read_text(encoding="utf-8")

    assert '"desk' not in text.split("dependencies = [")[1].split("]")[0]
    assert "K108" in text


def test_a_host_that_is_not_installed_is_found_from_the_project(desk) -> None:
    """The command, the tests and mypy look for it where it is."""
    plugin = NewPlugin(
        name="desk-tea", contract=desk[1], app="desk_host:make_registry", host_path=".."
    )
    tool = tomllib.loads(plugin.files()["pyproject.toml"])["tool"]

    assert (tool["plugreg"]["app"], tool["plugreg"]["path"]) == ("desk_host:make_registry", [".."])
    assert tool["pytest"]["ini_options"]["pythonpath"] == [".."]
    assert tool["mypy"]["mypy_path"] == [".."]
    assert tool["mypy"]["overrides"][0]["module"] == ["desk_host", "desk_host.*"]


def test_names_are_made_of_the_name(desk) -> None:
    """The slug is without the host's name, and class and module are made of it."""
    plugin = NewPlugin(name="desk-gift-wrap", contract=desk[1])
    other = NewPlugin(name="2nd.thing", contract=desk[1])

    assert (plugin.slug, plugin.class_name, plugin.module, plugin.title) == (
        *("gift-wrap", "GiftWrap", "desk_gift_wrap"),
        "Gift wrap",
    )
    assert other.class_name.isidentifier()
    assert other.module.isidentifier()


@pytest.mark.parametrize("name", ["class", "none", "desk-true", "async"])
def test_no_name_is_a_keyword(desk, name) -> None:
    """What is generated for it is Python, and imports its own module."""
    for path, text in NewPlugin(name=name, contract=desk[1]).files().items():
        if path.endswith(".py"):
            compile(text, path, "exec")


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"name": "-no-"}, "no name of a distribution"),
        ({"name": "a", "hooks": ("prise",)}, "did you mean 'price'"),
        ({"name": "a", "mixins": ("nothing",)}, "there are: "),
    ],
)
def test_what_is_not_there_is_told(desk, wrong, told) -> None:
    """A misspelt hook or mixin is told with a near one, or with all."""
    with pytest.raises(ValueError, match=told):
        NewPlugin(contract=desk[1], **wrong)


class OldHooks:
    @hookspec
    def price(self, item: str) -> float | None:
        """Say the price."""


class NewHooks:
    @hookspec
    def price(self, item: str, customer: str) -> float | None:
        """Say the price."""


def plugin_for(hooks: type) -> NewPlugin:
    contract = Contract.of_specs("desk", [hooks], version="1.0")
    return NewPlugin(name="desk-tea", contract=contract, hooks=("price",))


def updated(folder: Path) -> dict[str, str]:
    """Update a project to the new hooks; return the results of its files."""
    record = read_record((folder / ".plugreg-new.json").read_text(encoding="utf-8"))
    done = write(folder, plugin_for(NewHooks).files(), record.files)
    return {each.path: each.action for each in done}


@pytest.fixture
def begun(tmp_path) -> Path:
    """Return a project that was made for the old hooks."""
    plugin = plugin_for(OldHooks)
    write(tmp_path, plugin.files(), {})
    (tmp_path / ".plugreg-new.json").write_text(plugin.record(), encoding="utf-8")
    return tmp_path


def test_an_update_takes_over_what_nobody_has_changed(begun) -> None:
    """The new signature is there, in code and tests."""
    actions = updated(begun)

    assert actions["desk_tea/__init__.py"] == actions["tests/test_tea.py"] == "updated"
    assert actions["README.md"] == "unchanged"
    assert "customer: str" in (begun / "desk_tea" / "__init__.py").read_text(encoding="utf-8")


def test_an_update_keeps_what_the_author_has_written(begun) -> None:
    """A method of the author and the host's new argument are both there afterwards."""
    code = begun / "desk_tea" / "__init__.py"
    mine = "\n\ndef of_mine() -> int:\n    return 7\n"
    code.write_text(code.read_text(encoding="utf-8") + mine, encoding="utf-8")
    (begun / "README.md").write_text("# Mine\n", encoding="utf-8")
    (begun / "tests" / "test_tea.py").unlink()
    actions = updated(begun)
    text = code.read_text(encoding="utf-8")

    assert actions["desk_tea/__init__.py"] == "merged"
    assert "customer: str" in text
    assert mine in text
    assert (begun / "README.md").read_text(encoding="utf-8") == "# Mine\n"
    assert actions["tests/test_tea.py"] == "kept"
    assert not (begun / "tests" / "test_tea.py").exists()


def test_two_changes_of_one_line_are_left_to_the_author(begun) -> None:
    """The author's file stays as it is, and the new one stands beside it."""
    code = begun / "desk_tea" / "__init__.py"
    mine = code.read_text(encoding="utf-8").replace("item: str", "item: str = 'tea'")
    code.write_text(mine, encoding="utf-8")
    actions = updated(begun)

    assert actions["desk_tea/__init__.py"] == "conflict"
    assert code.read_text(encoding="utf-8") == mine
    beside = code.with_name("__init__.py.new").read_text(encoding="utf-8")
    assert "customer: str" in beside


def test_a_new_version_never_replaces_an_earlier_one(begun) -> None:
    """The author may have written into the file; the same new version is there once."""
    code = begun / "desk_tea" / "__init__.py"
    mine = code.read_text(encoding="utf-8").replace("item: str", "item: str = 'tea'")
    code.write_text(mine, encoding="utf-8")
    beside = code.with_name("__init__.py.new")
    beside.write_text("half taken over", encoding="utf-8")
    for _ in range(2):
        assert updated(begun)["desk_tea/__init__.py"] == "conflict"

    assert beside.read_text(encoding="utf-8") == "half taken over"
    assert "customer: str" in code.with_name("__init__.py.new2").read_text(encoding="utf-8")
    assert len([*code.parent.glob("*.new*")]) == 2


@pytest.mark.parametrize(("place", "kind"), [("README.md", "folder"), ("tests", "file")])
def test_a_folder_in_the_place_of_a_file_is_named(begun, place, kind) -> None:
    """So is a file in the place of a folder, before anything is written."""
    moved = begun / place
    moved.rename(begun / "elsewhere")
    moved.mkdir() if kind == "folder" else moved.touch()
    code = (begun / "desk_tea" / "__init__.py").read_text(encoding="utf-8")

    with pytest.raises(ValueError, match=f"{place}' is a {kind}, .*; move it away"):
        updated(begun)
    assert (begun / "desk_tea" / "__init__.py").read_text(encoding="utf-8") == code


def test_an_update_keeps_the_ends_of_lines_of_the_author(begun) -> None:
    """A project that was checked out with CRLF keeps it, in files that are merged, too."""
    code, tests = begun / "desk_tea" / "__init__.py", begun / "tests" / "test_tea.py"
    for file, more in ((code, b"MINE = 1\r\n"), (tests, b"")):
        file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n") + more)
    actions = updated(begun)

    assert (actions["desk_tea/__init__.py"], actions["tests/test_tea.py"]) == ("merged", "updated")
    for file in (code, tests):
        assert b"customer" in file.read_bytes()
        assert b"\n" not in file.read_bytes().replace(b"\r\n", b"")


def test_a_file_in_another_encoding_is_left_to_the_author(begun) -> None:
    """It stays as it is, the new one stands beside it, and all other files are updated."""
    code = begun / "desk_tea" / "__init__.py"
    mine = code.read_bytes() + "NAME = 'Käse'\n".encode("latin-1")
    code.write_bytes(mine)
    actions = updated(begun)

    assert (actions["desk_tea/__init__.py"], actions["tests/test_tea.py"]) == (
        "conflict",
        "updated",
    )
    assert code.read_bytes() == mine
    assert "customer: str" in code.with_name("__init__.py.new").read_text(encoding="utf-8")


def test_a_record_that_is_damaged_is_refused() -> None:
    """An update always begins from the files that were made."""
    for text in ("", "[]", "{}", json.dumps({"plugreg-new": 2, "files": {}})):
        with pytest.raises(ValueError, match="damaged, or of a newer plugreg"):
            read_record(text)


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        *[("app", 7), ("files.README.md", {"README.md": None}), ("hooks", "price")],
        *[("mixins.0", [1]), ("name", None), ("files", [])],
    ],
)
def test_a_field_of_a_wrong_type_is_named(begun, field, wrong) -> None:
    """A record that was edited by hand can be mended where it is wrong."""
    record = json.loads((begun / ".plugreg-new.json").read_text(encoding="utf-8"))
    record[field.partition(".")[0]] = wrong

    with pytest.raises(ValueError, match=f"damaged.*: field '{field}': .*; restore it"):
        read_record(json.dumps(record))


def test_a_stranger_needs_five_commands(tmp_path) -> None:
    """From nothing to a plugin that is installed, checked and active in the sample shop."""
    samples = Path(os.environ.get("PLUGREG_SAMPLES") or ROOT / "build" / "samples")
    if not (samples / "shop").is_dir():
        pytest.skip("no sample plugins are installed; run: make build/samples/done")
    site, path = tmp_path / "site", (tmp_path / "site", samples)
    app = ("--app", "shop.app:make_registry")
    parts = ("--hook", "price_change", "--mixin", "settings")

    made = run(tmp_path, "plugreg", *app, "new", "shop-weather", *parts, path=path)
    run(tmp_path / "shop-weather", "python", "-m", "hatchling", "build", "-t", "wheel")
    [wheel] = (tmp_path / "shop-weather" / "dist").glob("*.whl")
    run(tmp_path, "uv", "pip", "install", "-q", "--no-deps", "--offline", "--target", site, wheel)
    checked = run(tmp_path, "plugreg", *app, "check", "weather", path=path)
    run(tmp_path, "plugreg", *app, "activate", "weather", path=path)

    assert "created    shop-weather/tests/conftest.py" in made
    assert checked == "1 plugin checked: nothing is wrong\n"
    price = (
        "from shop.app import make_registry, price_of\n"
        "with make_registry() as registry:\n"
        "    registry.load()\n"
        "    print(registry.get('weather').state, price_of(registry, 'tea'))\n"
    )
    assert run(tmp_path, "python", "-c", price, path=path) == "active 4.0\n"
    run(
        *(tmp_path / "shop-weather", "python", "-m", "pytest", "-q", "-p", "no:cacheprovider"),
        path=(tmp_path / "shop-weather", samples),
    )


class LabelMixin:
    """A capability of the host."""


def test_a_capability_of_the_host_is_imported_from_there() -> None:
    """Plugreg's own come from plugreg.mixins, the host's from its module."""
    row = MixinSpec(key="label", human_name="Labels", cls=LabelMixin)
    contract = Contract.of_specs("desk", [OldHooks], mixins=[row])
    plugin = NewPlugin(name="desk-tea", contract=contract, mixins=("settings", "label"))
    code = plugin.files()["desk_tea/__init__.py"]

    assert "from plugreg.mixins import SettingsMixin\n" in code
    assert f"from {__name__} import LabelMixin\n" in code
    assert "class Tea(SettingsMixin, LabelMixin, Plugin):" in code
