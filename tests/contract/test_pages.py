"""The pages on contracts: the code runs as it stands, and the tables are those of the code."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import plugreg
from plugreg._support.frozen import arguments
from plugreg.contract import Contract
from plugreg.contract.file import dumps
from plugreg.testing import CHECKS

DOCS = Path(__file__).parents[2] / "docs"


def blocks(page: str, language: str) -> list[str]:
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def test_the_page_for_authors_runs(make_wheel, tmp_path) -> None:
    """All code of the page runs in one process, and prints what it says."""
    body = "@hookimpl\n    def price(self, item): ...\n"
    wheel = make_wheel(f"from plugreg import hookimpl\nclass Courier:\n    {body}")
    (tmp_path / "dist").mkdir()
    wheel.rename(tmp_path / "dist" / wheel.name)
    code = "\n".join(blocks("author/contract.md", "python"))
    done = subprocess.run(
        [sys.executable, "-P", "-W", "error", "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(plugreg.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    printed = re.findall(r"^# ((?:major|minor).*)$", code, re.MULTILINE)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [*printed, "True", "0 of 0 plugins break with shop 3.0"]


def test_the_format_is_that_of_the_file(tmp_path) -> None:
    """The example can be read, and has each key that is written, also in the tables."""
    [example] = blocks("reference/contract.md", "json")
    file = tmp_path / "shop.json"
    file.write_text(example, encoding="utf-8")
    contract = Contract.read(file)
    page = (DOCS / "reference/contract.md").read_text(encoding="utf-8")

    assert json.loads(dumps(contract)) == json.loads(example)
    described = {*re.findall(r"`([\w-]+)`", page)}
    hook = contract.hooks["price"]
    keys = {*json.loads(example), *arguments(hook), *arguments(hook.arguments[0])}
    assert keys - described == set()


def test_each_code_has_its_line() -> None:
    """The table of codes is that of the code, word by word."""
    lines = (DOCS / "reference/checks.md").read_text(encoding="utf-8").splitlines()

    rows = [f"| {' | '.join(row[:5])} |" for row in CHECKS]
    assert [line for line in lines if line.startswith("| K")] == rows
