"""Plugins are checked against a contract from their sources; nothing of them is imported."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from plugreg import hookspec
from plugreg.contract import Contract, NoPluginError
from plugreg.contract.codes import CHECKS

ROOT = Path(__file__).parents[2]


class Hooks:
    @hookspec
    def price(self, item: str, amount: int) -> float | None: ...

    @hookspec(deprecated="2.3: use price", removed="3.0")
    def cost(self, item: str) -> float: ...

    @hookspec(since="2.2")
    def fresh(self) -> str | None: ...

    @hookspec(removed="2.0")
    def gone(self) -> None: ...


CONTRACT = Contract.of_specs("shop", [Hooks], version="2.4")

HEAD = """
import pluggy
from typing import Any, List, Optional, Union
from plugreg import Plugin, hookimpl
from plugreg.mixins import SettingsMixin
shop = pluggy.HookimplMarker("shop")
other = pluggy.HookimplMarker("other")
raise SystemExit("it was run")

"""


def found_in(make_wheel, body: str, **options) -> list[str]:
    source = HEAD + "class Courier(Plugin):\n" + body
    report = CONTRACT.check(make_wheel(source, **options))
    assert report.ok == (not any(finding.level == "error" for finding in report.findings))
    return [finding.code for finding in report.findings]


FINE = [
    "    @hookimpl\n    def price(self, item: str) -> float: return 1.0\n",
    "    @hookimpl(tryfirst=True)\n    def price(self, amount, item) -> Optional[int]: ...\n",
    "    @shop\n    def price(self) -> 'Union[float, None]': ...\n",
    "    @hookimpl(specname='price')\n    def my_price(self, item): ...\n",
    "    @hookimpl(optionalhook=True)\n    def from_another_host(self): ...\n",
    "    @hookimpl\n    def price(self, item) -> Any: ...\n",
    "    @hookimpl\n    def price(self, item, extra=None): ...\n",
    "    @hookimpl(wrapper=True)\n    def price(self, item) -> List[str]: yield\n",
    "    @hookimpl\n    def plugreg_activated(self) -> None: ...\n",
    "    def helper(self): ...\n",
]


@pytest.mark.parametrize("body", FINE)
def test_what_is_right_has_no_finding(make_wheel, body) -> None:
    """Any mark, fewer arguments, a narrower result, another name with specname: all are fine."""
    assert found_in(make_wheel, body) == []


BROKEN = [
    ("K101", "    @hookimpl\n    def prise(self, item): ...\n"),
    ("K101", "    @shop\n    def prise(self, item): ...\n"),
    ("K102", "    @hookimpl\n    def price(self, itme): ...\n"),
    ("K103", "    def price(self, item): ...\n"),
    ("K103", "    @other\n    def price(self, item): ...\n"),
    ("K104", "    @hookimpl\n    def cost(self, item): ...\n"),
    ("K105", "    @hookimpl\n    def gone(self): ...\n"),
    ("K106", "    @hookimpl\n    def price(self, item) -> str: ...\n"),
    ("K106", "    @hookimpl\n    def price(self, item) -> List[float]: ...\n"),
    ("K106", "    @hookimpl\n    def price(self, item) -> float | str: ...\n"),
    ("K107", "    SETTINGS = {'A': {}}\n"),
    ("K113", "    @hookimpl\n    def fresh(self): ...\n"),
    ("K114", "    @hookimpl\n    async def price(self, item): ...\n"),
]


@pytest.mark.parametrize(("code", "body"), BROKEN)
def test_each_mistake_has_its_code(make_wheel, code, body) -> None:
    """A mistake is found with its code alone, and the message ends with the mend."""
    report = CONTRACT.check(make_wheel(HEAD + "class Courier(Plugin):\n" + body))

    [finding] = report.findings
    row = next(row for row in CHECKS if row.code == code)
    assert (finding.code, finding.level) == (code, row.severity)
    assert finding.where.startswith("shop_courier.py:")
    assert row.remedy.removesuffix(".")[1:] in finding.message
    assert report.ok == (row.severity != "error")


def test_a_near_name_is_named(make_wheel) -> None:
    """A misspelt hook or argument is told with the one that was meant, and with its line."""
    body = (
        "    @hookimpl\n    def prise(self): ...\n    @hookimpl\n    def price(self, itme): ...\n"
    )
    source = "from plugreg import hookimpl\nclass Courier:\n" + body
    first, second = CONTRACT.check(make_wheel(source)).findings

    assert "'price'" in first.message
    assert "'item'" in second.message
    assert (first.where, second.where) == ("shop_courier.py:3", "shop_courier.py:5")


@pytest.mark.parametrize(
    ("code", "options"),
    [
        ("K108", {"requires": ()}),
        ("K108", {"requires": ("shop",)}),
        ("K109", {"requires": ("shop>=3",)}),
        ("K110", {"entry_points": None}),
        ("K111", {"entry_points": "courier = shop_courier:Missing"}),
        ("K111", {"entry_points": "courier = no_module:Courier"}),
    ],
)
def test_what_the_distribution_says_is_checked(make_wheel, code, options) -> None:
    """The range of host versions and the entry point are part of the contract."""
    assert found_in(make_wheel, "    pass\n", **options) == [code]


def test_a_module_with_a_syntax_error_is_a_finding(make_wheel) -> None:
    """A file that is no Python is told as such, and does not stop the check."""
    report = CONTRACT.check(make_wheel("class Courier(:\n"))

    assert [finding.code for finding in report.findings] == ["K112"]


def test_inherited_and_imported_parts_are_seen(make_wheel) -> None:
    """A base class in another module, an import of the class, and an instance all count."""
    modules = {
        "pkg/__init__.py": "from pkg.real import Courier as Courier\nready = Courier()\n",
        "pkg/real.py": "from pkg.base import Base\nclass Courier(Base):\n    pass\n",
        "pkg/base.py": (
            "import plugreg\nfrom plugreg import mixins as m\n"
            "class Base(m.SettingsMixin, plugreg.Plugin):\n    SETTINGS = {}\n"
            "    @plugreg.hookimpl\n    def prise(self): ...\n"
        ),
    }
    for point in ("pkg:Courier", "pkg.real:Courier", "pkg:ready"):
        report = CONTRACT.check(make_wheel(modules, entry_points=f"courier = {point}"))

        assert [(f.code, f.where) for f in report.findings] == [("K101", "pkg/base.py:5")]


def test_a_module_is_a_plugin(make_wheel) -> None:
    """Functions of a module are implementations as methods are."""
    source = "from plugreg import hookimpl\n@hookimpl\ndef prise(item): ...\ndef price(): ...\n"
    report = CONTRACT.check(make_wheel(source, entry_points="courier = shop_courier"))

    assert [finding.code for finding in report.findings] == ["K101", "K103"]


def test_a_class_with_unknown_bases_is_not_judged_for_what_they_may_have(make_wheel) -> None:
    """SETTINGS may be read by a base class of another distribution."""
    source = "from elsewhere import Base\nclass Courier(Base):\n    SETTINGS = {}\n"

    assert CONTRACT.check(make_wheel(source)).findings == ()


def test_a_wheel_that_is_damaged_inside_is_told(make_wheel) -> None:
    """Its folder of contents is whole, and what is packed is not."""
    wheel = make_wheel("")
    with zipfile.ZipFile(wheel, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("prices.txt", "tea 1\n" * 1000)
        start = archive.getinfo("prices.txt").header_offset + 30 + len("prices.txt")
    with wheel.open("r+b") as file:
        file.seek(start)
        file.write(b"\xff" * 8)

    with pytest.raises(NoPluginError, match="the wheel cannot be read"):
        CONTRACT.check(wheel)


@pytest.mark.parametrize("points", ["entry-points = 'tea'", "entry-points.'shop.plugins' = 'tea'"])
def test_entry_points_that_are_no_table_are_told(tmp_path, points) -> None:
    """A name without its value is a usual slip."""
    text = f"[project]\nname = 'tea'\nversion = '1'\n{points}\n"
    (tmp_path / "pyproject.toml").write_text(text, encoding="utf-8")

    with pytest.raises(NoPluginError, match=r'\[project.entry-points."shop.plugins"\] is no table'):
        CONTRACT.check(tmp_path)


def test_nothing_is_imported_and_nothing_stays(make_wheel, tmp_path) -> None:
    """The module of the plugin is not run, and the unpacked wheel is gone afterwards."""
    wheel = make_wheel(HEAD + "class Courier(Plugin):\n    pass\n")
    before = {*tmp_path.parent.rglob("*")}

    assert CONTRACT.check(wheel).ok
    assert "shop_courier" not in sys.modules
    assert {*tmp_path.parent.rglob("*")} == before


def test_a_folder_is_checked_as_its_wheel_will_be() -> None:
    """A sample plugin passes from its sources, with the contract of its own host."""
    sys.path.insert(0, str(ROOT / "sample_plugins" / "shop"))
    try:
        from shop.hookspecs import Hooks as ShopHooks
    finally:
        del sys.path[0]
    contract = Contract.of_specs("shop", [ShopHooks], version="2.4")

    assert contract.check(ROOT / "sample_plugins" / "shop-discount").findings == ()


def test_installed_plugins_are_checked_by_slug(make_wheel, tmp_path) -> None:
    """The question before an upgrade is answered for all plugins at once, and for one alone."""
    site = tmp_path / "site"
    for name, result in (("shop-a", "float"), ("shop-b", "str"), ("shop-c", "int")):
        module = name.replace("-", "_")
        source = HEAD + f"class P(Plugin):\n    @hookimpl\n    def price(self) -> {result}: ...\n"
        points = f"{name[-1]} = {module}:P"
        wheel = make_wheel({f"{module}.py": source}, points, name=name)
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(site)
    new = Contract.of_specs("shop", [Hooks], version="3.0")
    report = CONTRACT.check_installed(path=[str(site)])

    assert (str(report), report.breaking) == ("1 of 3 plugins breaks with shop 2.4", ("b",))
    assert str(new.check_installed(path=[str(site)])) == "3 of 3 plugins break with shop 3.0"
    assert CONTRACT.check("a", path=[str(site)]).ok
    assert [f.code for f in CONTRACT.check("b", path=[str(site)]).findings] == ["K106"]
    with pytest.raises(NoPluginError, match="'bb' is nothing to check"):
        CONTRACT.check("bb", path=[str(site)])


def test_what_is_no_project_is_refused_in_words(tmp_path) -> None:
    """A file that is no wheel, and a folder that is no project, are told apart."""
    bad = tmp_path / "bad-1.0-py3-none-any.whl"
    bad.write_bytes(b"no zip")

    with pytest.raises(NoPluginError, match="wheel cannot be read"):
        CONTRACT.check(bad)
    with pytest.raises(NoPluginError, match=r"pyproject\.toml cannot be read"):
        CONTRACT.check(tmp_path)


def test_without_griffe_the_extra_is_named(make_wheel) -> None:
    """Comparing needs no griffe; checking says what to install."""
    code = (
        "import sys; sys.modules['griffe'] = None\n"
        "from plugreg.contract import Contract\n"
        "contract = Contract.of_specs('shop', [type('S', (), {'f': __import__('plugreg')"
        ".hookspec(lambda self: 1)})])\n"
        "assert contract.compare(contract) == ()\n"
        f"contract.check({str(make_wheel('class Courier: pass'))!r})\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert "MissingExtraError" in done.stderr
    assert "plugreg[contract]" in done.stderr


def test_codes_are_unique_and_each_has_a_remedy() -> None:
    """Each code is one row, with sentences that end."""
    assert len({row.code for row in CHECKS}) == len(CHECKS)
    assert all(row.cause.endswith(".") and row.remedy.endswith(".") for row in CHECKS)
