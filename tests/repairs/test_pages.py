"""The page of the codes is made of their table."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from plugreg.repairs import CODES

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_has_what_the_table_says():
    """After a change of a code: python -c 'import tables; tables.write_repairs()' in docs."""
    spec = importlib.util.spec_from_file_location("docs_tables_of_repairs", DOCS / "tables.py")
    tables = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tables)
    page = DOCS.joinpath("operator", "repairs.md").read_text(encoding="utf-8")

    assert page.partition("## Codes\n\n")[2] == tables.repairs()
    for row in CODES.values():
        assert f"### {row.code}\n\n**{row.title}** ({row.severity}). " in page
