"""The benchmarks run from end to end; their figures are for their reader to judge."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from types import ModuleType

import pytest

from plugreg.discovery import discover

CASE = "--only=lookups:those with a capability"
FOLDER = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture
def sites(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return the module that fabricates sites."""
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.delitem(sys.modules, "sites", raising=False)
    return importlib.import_module("sites")


def run(folder: Path, *options: str) -> str:
    """Run the benchmarks as make does, in a folder of its own; return their output."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONSAFEPATH"}
    command = [sys.executable, str(FOLDER / "run.py"), "--quick", "--runs=1", *options]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Return the folder of a run of one small case, with its files, and its output."""
    folder = tmp_path_factory.mktemp("benchmarks")
    return folder, run(folder, CASE, "--json=out.json", "--svg=pictures")


def test_a_run_gives_a_table_json_and_a_picture(done):
    """All three have every contestant at every size, and nothing else is left behind."""
    folder, printed = done
    found = json.loads((folder / "out.json").read_text(encoding="utf-8"))
    contestants = {each["contestant"] for each in found["results"]}
    sizes = {each["size"] for each in found["results"]}
    assert "plugreg, with_mixin" in contestants
    assert len(contestants) * len(sizes) == len(found["results"])
    assert len(sizes) > 1
    for each in found["results"]:
        assert 0 < each["low"] <= each["median"] <= each["high"]
        assert each["runs"] == 1
        assert each["contestant"] in printed
    floor = found["results"][0]
    assert (floor["part"], floor["ratio"]) == ("floor", 1)
    assert found["versions"]["pluggy"] == importlib.metadata.version("pluggy")
    assert f"pluggy {found['versions']['pluggy']}" in printed
    assert any(each["verdicts"] for each in found["results"])
    assert "Budgets: " in printed

    picture = ET.parse(folder / "pictures" / "lookups.svg").getroot()
    assert picture.tag == "{http://www.w3.org/2000/svg}svg"
    texts = [each.text or "" for each in picture.iter("{http://www.w3.org/2000/svg}text")]
    for name in contestants:
        assert sum(text.startswith(f"{name}, ") for text in texts) == 1
    assert len(list(picture.iter("{http://www.w3.org/2000/svg}polyline"))) == len(contestants)
    assert not list((folder / "build" / "bench").iterdir())


def test_a_comparison_prints_ratios(done, tmp_path):
    """Each figure stands beside that of before with their ratio, and so do ratios to the floor."""
    before = json.loads((done[0] / "out.json").read_text(encoding="utf-8"))
    for each in before["results"]:
        each["median"] = 1.0
        each["ratio"] = 8.0
    (tmp_path / "before.json").write_text(json.dumps(before), encoding="utf-8")

    printed = run(tmp_path, CASE, "--compare=before.json", "--json=now.json")

    now = json.loads((tmp_path / "now.json").read_text(encoding="utf-8"))
    rows = printed.partition("Against before.json")[2].splitlines()
    ratios = [row for row in rows if "lookups: those with a capability: " in row]
    assert len(ratios) == len(now["results"])
    for row in ratios:
        assert "1.00 s" in row
        # Nanoseconds beside a second.
        assert " 0.00 \N{MULTIPLICATION SIGN} " in row
        assert "8.00 \N{MULTIPLICATION SIGN} \N{RIGHTWARDS ARROW} " in row


def test_a_fabricated_site_is_found_alike_by_all(sites, tmp_path):
    """importlib.metadata and plugreg find the same plugins in it, as many as were asked for."""
    site = sites.fabricate(tmp_path / "site", 20, 4)

    found = discover(sites.GROUP, [str(site)])
    expected = {
        (entry.name, entry.value, distribution.name, distribution.version)
        for distribution in importlib.metadata.distributions(path=[str(site)])
        for entry in distribution.entry_points
        if entry.group == sites.GROUP
    }

    assert len(list(importlib.metadata.distributions(path=[str(site)]))) == 20
    assert len(expected) == 4
    assert {(e.name, e.value, e.distribution, e.version) for e in found} == expected


def test_the_cases_are_named_once_and_hold_together():
    """Each budget names contestants and sizes that its case has, and each group has cases."""
    code = (
        "import importlib, cases\n"
        "for group in cases.GROUPS:\n"
        "    found = importlib.import_module('cases.' + group).CASES\n"
        "    assert found, group\n"
        "    for case in found.values():\n"
        "        names = [each.name for each in case.contestants]\n"
        "        assert len(set(names)) == len(names), case.name\n"
        "        assert set(case.quick) <= set(case.sizes), case.name\n"
        "        for budget in case.budgets:\n"
        "            assert {budget.of, budget.against} <= {*names, ''}, (case.name, budget)\n"
        "            assert set(budget.sizes) <= {*case.sizes, *case.huge}, (case.name, budget)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(FOLDER), *sys.path])}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
