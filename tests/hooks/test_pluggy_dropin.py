"""pluggy's own test suite, run on plugreg's manager."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

import plugreg

# Loaded with ``-p``, before a test module can import the name from pluggy. It notes which manager
# each test module got, so that a run on pluggy's own cannot pass for one on plugreg's.
SWAP = """
import json
import os

import pluggy
import plugreg
from plugreg.hooks import PluginManager

pluggy.PluginManager = PluginManager


def pytest_collection_finish(session):
    modules = {each.module.__name__: each.module for each in session.items}
    managers = {
        name: module.PluginManager is PluginManager
        for name, module in modules.items()
        if hasattr(module, "PluginManager")
    }
    with open(os.environ["PLUGREG_SWAP_NOTES"], "w", encoding="utf-8") as file:
        json.dump({"plugreg": plugreg.__file__, "managers": managers}, file)
"""

INI = """
[pytest]
filterwarnings = error
"""


@pytest.fixture
def suite():
    """Return the folder of pluggy's tests, from its unpacked source distribution."""
    folder = os.environ.get("PLUGREG_PLUGGY_SDIST")
    if not folder:
        reason = "PLUGREG_PLUGGY_SDIST does not name an unpacked source distribution of pluggy"
        if os.environ.get("PLUGREG_TEST_NO_SKIP") == "1":
            pytest.fail(f"{reason}, and PLUGREG_TEST_NO_SKIP=1 forbids to skip")
        pytest.skip(reason)
    return Path(folder) / "testing"


def test_pluggys_own_suite(suite, tmp_path):
    """Every test that pluggy holds its own manager to passes with plugreg's in its place."""
    (tmp_path / "swapped_manager.py").write_text(SWAP, encoding="utf-8")
    (tmp_path / "pytest.ini").write_text(INI, encoding="utf-8")
    notes, report = tmp_path / "notes.json", tmp_path / "report.xml"
    path = [str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]
    # fmt: off
    command = [
        sys.executable, "-m", "pytest", "-q",
        "-p", "swapped_manager", "-p", "no:cacheprovider",
        "-c", str(tmp_path / "pytest.ini"), "--rootdir", str(suite),
        "--junitxml", str(report), str(suite),
    ]
    # fmt: on
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")},
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": os.pathsep.join(path),
        "PLUGREG_SWAP_NOTES": str(notes),
    }

    ran = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )

    assert ran.returncode == 0, ran.stdout + ran.stderr
    found = json.loads(notes.read_text(encoding="utf-8"))
    assert found["plugreg"] == plugreg.__file__
    assert len(found["managers"]) > 3
    assert all(found["managers"].values())
    (counts,) = ElementTree.parse(report).iter("testsuite")
    assert int(counts.get("tests")) > 150
    assert [counts.get(item) for item in ("failures", "errors", "skipped")] == ["0", "0", "0"]
