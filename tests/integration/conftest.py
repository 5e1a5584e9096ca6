"""The sample shop, in a process for each call, on wheels that ``make test`` has built."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import plugreg

ROOT = Path(__file__).parents[2]
PREAMBLE = """
import json, sys
from shop.app import *
from shop.hookspecs import Hooks

def imported():
    return sorted(name for name in sys.modules if name.startswith("shop_"))

registry = make_registry(sys.argv[1])
registry.load()
"""


@pytest.fixture(scope="session")
def samples() -> Path:
    """Give a folder with all sample distributions, installed by pip."""
    named = os.environ.get("PLUGREG_SAMPLES")
    folder = Path(named) if named else ROOT / "build" / "samples"
    if not (folder / "shop").is_dir():
        reason = f"no sample plugins are installed in {folder}; run: make build/samples/done"
        if os.environ.get("PLUGREG_TEST_NO_SKIP") == "1":
            pytest.fail(f"{reason}. PLUGREG_TEST_NO_SKIP=1 forbids to skip")
        pytest.skip(reason)
    return folder


class Shop:
    """The sample shop with one store and one folder of plugins, in a process for each call."""

    def __init__(self, site, store):
        self.site = site
        self.store = store

    def python(self, *arguments):
        """Run Python with the samples, and with the plugreg that is tested here."""
        path = [str(self.site), str(Path(plugreg.__file__).parents[1])]
        return subprocess.run(
            [sys.executable, "-P", "-W", "error", *arguments],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
            capture_output=True,
            text=True,
            check=False,
        )

    def run(self, code):
        """Run ``code`` after the shop's registry was loaded; return what it left in ``answer``."""
        done = self.python("-c", f"{PREAMBLE}{code}\nprint(json.dumps(answer))", str(self.store))
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def shop(samples, tmp_path):
    """Give the shop with all samples and an empty store."""
    return Shop(samples, tmp_path / "plugins.json")


@pytest.fixture
def copied(samples, tmp_path):
    """Give the shop with a copy of all samples, to do harm to."""
    return Shop(
        shutil.copytree(samples, tmp_path / "site", ignore=shutil.ignore_patterns("*.pyc")),
        tmp_path / "plugins.json",
    )
