"""Types are tested like code: files that are never run, only checked."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

import plugreg

FOLDER = Path(__file__).parent
FILES = sorted(each for each in FOLDER.glob("*.py") if not each.name.startswith("test_"))


@pytest.fixture(scope="module")
def mypy(tmp_path_factory):
    """Return a function that runs mypy --strict on files, with the plugreg that is tested here."""
    if importlib.util.find_spec("mypy") is None:
        reason = "mypy is not installed; pip install mypy"
        if os.environ.get("PLUGREG_TEST_NO_SKIP") == "1":
            pytest.fail(f"{reason}. PLUGREG_TEST_NO_SKIP=1 forbids to skip")
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("mypy")
    ini = folder / "mypy.ini"
    ini.write_text("[mypy]\nstrict = True\n", encoding="utf-8")
    environment = {**os.environ}
    root = Path(plugreg.__file__).parent.parent
    if "site-packages" not in root.parts:
        environment["MYPYPATH"] = str(root)

    def run(*files):
        return subprocess.run(
            [
                sys.executable,
                "-m",
                "mypy",
                f"--config-file={ini}",
                f"--cache-dir={folder / 'cache'}",
                "--follow-imports=silent",
                *map(str, files),
            ],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_typing_files(mypy):
    """Each file here has the types that it asserts, and the errors that it expects."""
    ran = mypy(*FILES)

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert f"no issues found in {len(FILES)} source file" in ran.stdout


def test_the_check_is_not_blind(mypy, tmp_path):
    """A wrong assertion, and an error that is expected but is none, are both told."""
    wrong = tmp_path / "wrong.py"
    text = (FOLDER / "hooks.py").read_text(encoding="utf-8")
    wrong.write_text(
        text.replace("currency=5)", 'currency="CHF")').replace("list[float])", "list[str])", 1),
        encoding="utf-8",
    )

    ran = mypy(wrong)

    assert ran.returncode == 1
    assert "[assert-type]" in ran.stdout
    assert 'Unused "type: ignore" comment' in ran.stdout
    assert "Found 2 errors" in ran.stdout
