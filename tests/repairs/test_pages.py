"""The page of the codes has each of the table, with cause and remedy."""

from __future__ import annotations

import re
from pathlib import Path

from plugreg.repairs import CODES

PAGE = Path(__file__).parents[2] / "docs" / "operator" / "repairs.md"


def test_the_page_explains_each_code():
    """By the title and severity of the table, with a cause and a remedy, in order."""
    codes = PAGE.read_text(encoding="utf-8").partition("## Codes\n\n")[2]

    sections = re.findall(
        r"### (P\d{3})\n\n\*\*(.+)\*\* \((\w+)\)\. .+\.\n\n\*\*Remedy\*\*: .+\.\n", codes
    )

    assert sections == [(row.code, row.title, row.severity) for row in CODES.values()]
    assert codes.count("### ") == len(sections)
