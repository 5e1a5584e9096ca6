"""The reference has an entry for everything that the code knows, and for nothing else."""

from __future__ import annotations

import importlib.util
import pickle
import re
import traceback
from pathlib import Path

import pytest

import plugreg
from plugreg import PluginState, Stage, StorageUnavailableError
from plugreg.mixins import ValidationFault

DOCS = Path(__file__).parents[2] / "docs"
_spec = importlib.util.spec_from_file_location("docs_tables", DOCS / "tables.py")
tables = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tables)


def _page(name):
    return (DOCS / name).read_text(encoding="utf-8")


def _sections(text, level):
    """Return the text below each heading of a level, by its title."""
    parts = re.split(rf"^{'#' * level} (.*)\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_each_error_has_a_remedy():
    """Whoever gets an error finds its entry, and what to do."""
    entries = _sections(_page("reference/errors.md"), 3)

    assert sorted(entries) == sorted(tables.error_classes())
    assert [name for name, text in entries.items() if "**Remedy**:" not in text] == []


@pytest.mark.parametrize(("title", "members"), [("States", PluginState), ("Stages", Stage)])
def test_each_state_and_stage_has_an_entry(title, members):
    """So does whoever sees a state, or a failure of some stage."""
    entries = _sections(_sections(_page("reference/stages.md"), 2)[title], 3)

    assert list(entries) == [str(member) for member in members]
    assert [name for name, text in entries.items() if "**Remedy**:" not in text] == ["active"] * (
        title == "States"
    )


def test_an_error_names_its_page():
    """The traceback of an error leads to its entry, also from another process."""
    error = pickle.loads(pickle.dumps(StorageUnavailableError("a", "b")))
    error.add_note("and more")

    assert error.page == "reference/errors.html#storageunavailableerror"
    shown = "".join(traceback.format_exception(error)).splitlines()
    assert shown[-2:] == [f"see {error.page} in plugreg's documentation", "and more"]


def test_an_error_of_a_plugin_names_the_page_of_its_base():
    """A class of a plugin has no page of its own."""

    class Refused(ValidationFault):
        pass

    assert Refused("no").page == "reference/errors.html#validationfault"


def test_each_option_is_described():
    """No option of the registry is without a meaning."""
    assert tables.options().count("\n") == len(tables.arguments(plugreg.PluginRegistry)) + 1


@pytest.mark.parametrize("table", tables.TABLES.values(), ids=tables.TABLES)
def test_each_table_is_asked_for_by_a_page(table):
    """A table that no page shows is of no use."""
    asked = re.findall(
        r"^<!-- table: (\w+) -->$",
        "".join(page.read_text(encoding="utf-8") for page in DOCS.rglob("*.md")),
        re.MULTILINE,
    )

    assert table.__name__ in asked
    assert table().strip()
