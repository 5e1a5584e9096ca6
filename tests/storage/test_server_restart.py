"""The server is restarted under load: nothing is lost, reads go on, and all recovers by itself."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

HARNESS = Path(__file__).with_name("restart.py")
IS_MISSING = 77


def restart(*options):
    """Run the harness as people do, and return its exit code and its output."""
    process = subprocess.Popen(
        [sys.executable, HARNESS, "--rounds", "1", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Ctrl-C is not for it: it is asked to end, and ends its server first.
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    try:
        output, errors = process.communicate()
    finally:
        process.terminate()
        process.wait()
    if process.returncode == IS_MISSING:
        if os.environ.get("PLUGREG_TEST_NO_SKIP") == "1":
            pytest.fail(f"{output}, and PLUGREG_TEST_NO_SKIP=1 forbids to skip")
        pytest.skip(output)
    assert errors == ""
    return process.returncode, output


def test_loses_nothing_and_is_got_over():
    """However the server ends, and whenever: each commit that was acknowledged is there, once.

    Those that write go on in the same objects, with no other errors than those that say that the
    store was away, or that a commit may have been made. Those that were idle notice nothing. A
    registry is read from while there is no server, and sees afterwards values of another process,
    long before its next look would be due.
    """
    code, output = restart("--how", "fast", "immediate", "kill", "--every", "100")

    assert code == 0, output
    assert ": 0 faults" in output


def test_makes_no_commit_twice_whose_answer_was_lost():
    """It was made, and not acknowledged: that is reported as unknown, and is there once."""
    code, output = restart("--how", "fast", "immediate", "kill", "--lose-answers")

    assert code == 0, output
    assert ": 0 faults" in output
    assert int(re.search(r"and (\d+) of them made", output)[1]) >= 3


def test_notices_a_server_that_acknowledges_too_early():
    """The harness is not blind: a server that says too early that a commit is made is caught."""
    # One restart may find all on disk by chance.
    code, output = restart("--how", *["immediate", "kill"] * 2, "--hasty")

    assert code == 1
    assert "\nlost: " in output
