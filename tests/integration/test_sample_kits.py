"""Each sample plugin has its tests with it, which use the kit of the shop."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import plugreg

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "sample_plugins"
PACKAGE = Path(plugreg.__file__).parents[1]


def test_the_tests_of_the_samples_pass(samples, tmp_path) -> None:
    """The shop's fixture and its checks hold for all samples: fine ones pass, broken ones fail."""
    path = [str(samples)] if os.environ.get("PLUGREG_TEST_WHEEL") else [str(samples), str(PACKAGE)]
    done = subprocess.run(
        [
            *(sys.executable, "-P", "-m", "pytest", "-q", "-p", "no:cacheprovider"),
            *("--import-mode=importlib", "-W", "error", "-c", os.devnull),
            *("--rootdir", SAMPLES, SAMPLES),
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^\d+ passed", done.stdout.splitlines()[-1])


def test_every_sample_has_tests() -> None:
    """No plugin of the shop is without; fine ones are checked as their authors would."""
    plugins = [folder for folder in SAMPLES.glob("shop-*") if (folder / "pyproject.toml").exists()]
    plugins = [folder for folder in plugins if folder.name != "shop-rates"]  # It is a library.
    without = [folder.name for folder in plugins if not [*folder.glob("tests/test_*.py")]]
    texts = {
        folder.name: "".join(file.read_text("utf-8") for file in folder.glob("tests/test_*.py"))
        for folder in plugins
    }

    assert without == []
    unchecked = {name for name, text in texts.items() if "Conformance)" not in text}
    broken = {name for name in texts if "broken" in name}
    # In the process of the checks old-rates would have the library of the shop.
    assert unchecked == {*broken, "shop-bad-actor", "shop-old-rates", "shop-too-new"}
