"""Which plugreg is tested: the installed one where that was asked for, and one only."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import plugreg


def test_processes_of_the_tests_use_the_same_plugreg():
    """A process that a test starts does not find another plugreg in the folder it stands in."""
    code = "import plugreg; print(plugreg.__file__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == plugreg.__file__


def test_the_wheel_is_tested():
    """Under ``make test`` plugreg comes from the wheel in the environment, with all its files."""
    if os.environ.get("PLUGREG_TEST_WHEEL") == "1":
        assert Path(plugreg.__file__).is_relative_to(sys.prefix)
        installed = distribution("plugreg")
        assert installed.read_text("direct_url.json") is not None
        assert '"editable": true' not in (installed.read_text("direct_url.json") or "")
    assert Path(plugreg.__file__).with_name("py.typed").is_file()
