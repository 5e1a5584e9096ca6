"""Writers that die at random instants, and a harness that would notice a loss."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROUNDS = os.environ.get("PLUGREG_TORTURE_ROUNDS", "30")
HARNESS = Path(__file__).with_name("torture.py")


def run(url, how):
    """Run the harness as people do."""
    return subprocess.run(
        [sys.executable, HARNESS, url, "--how", how, "--rounds", ROUNDS],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )


def torture(url, how):
    """Return the harness's exit code and its output."""
    process = run(url, how)
    assert process.stderr == ""
    return process.returncode, process.stdout


@pytest.mark.parametrize("how", ["kill", "interrupt", "first"])
def test_loses_nothing_that_was_acknowledged(tmp_path, how):
    """Killed or interrupted at any instant, the store is whole and has all that was acknowledged.

    After an interrupt the same object goes on: no lock is left held.
    """
    code, output = torture(f"tinydb:///{tmp_path}/store-{{round}}.json", how)

    assert code == 0, output
    assert "0 unreadable, 0 lost, 0 failed" in output


def test_notices_a_store_that_acknowledges_too_early(tmp_path):
    """The harness is not blind: a store that says too early that it is done is caught."""
    code, output = torture(f"hasty:///{tmp_path}/store.json", "kill")

    assert code == 1
    assert "was acknowledged" in output
    assert ", 0 lost" not in output


def test_refuses_one_store_where_each_round_makes_its_own(tmp_path):
    """Records of earlier rounds would be taken for a loss."""
    process = run(f"tinydb:///{tmp_path}/store.json", "first")

    assert process.returncode == 2
    assert "{round}" in process.stderr
    assert not any(tmp_path.iterdir())
