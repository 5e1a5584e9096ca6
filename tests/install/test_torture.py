"""A small round of the torture of environments; ``torture.py`` is the whole of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import plugreg

HARNESS = Path(__file__).with_name("torture.py")


def torture(folder: Path, driver: str, how: str, rounds: int) -> tuple[int, str]:
    """Return the exit code and the output of the harness."""
    done = subprocess.run(
        [sys.executable, HARNESS, folder, driver, "--how", how, "--rounds", str(rounds)],
        env={**os.environ, "PYTHONPATH": str(Path(plugreg.__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=600,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("driver", "how", "rounds"),
    [("pip", "kill", 1), ("uv", "kill", 2), ("uv", "full", 2), ("uv", "together", 2)],
)
def test_nothing_is_lost(uv_path, tmp_path, driver, how, rounds) -> None:
    """An acknowledged change serves, all of it, and nothing is left over after the next change.

    Hosts were killed at random instants, had no room on the disk, or installed at once.
    """
    code, output = torture(tmp_path / "shop", driver, how, rounds)
    assert code == 0, output


def test_the_harness_is_not_blind(uv_path, tmp_path) -> None:
    """Where something is lost, it says so."""
    code, output = torture(tmp_path / "shop", "uv", "damage", 1)
    assert code == 1, output
    assert "is not as recorded" in output
