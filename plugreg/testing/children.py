"""Children that run a plugin for the checks: the parent's side."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from plugreg._support.frozen import NamedTuple
from plugreg._support.process import end

REQUEST: Final = "request.json"
ANSWER: Final = "answer.json"

_CODE: Final = """
import sys; sys.path[:0] = {search!r}
from plugreg.testing.child import main; main({folder!r})
"""
_KEPT: Final = 4000
"""How many characters of its output are kept."""


class ChildEnd(NamedTuple):
    """The result of a child: its answer or None, and its output.

    ``reason`` says why there is no answer, as a clause.
    """

    answer: list[Any] | None
    reason: str
    output: str


def run_child(request: Mapping[str, Any], search: Sequence[str], timeout: float) -> ChildEnd:
    """Run a request in a child of its own session, in an empty folder, and wait for its end.

    Nothing of it is left afterwards.

    Args:
        request: The request, as JSON values; see `plugreg.testing.child`.
        search: Folders before all others on ``sys.path``.
        timeout: Seconds until it is ended.
    """
    with tempfile.TemporaryDirectory(prefix="plugreg-check-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / REQUEST).write_text(json.dumps(request), encoding="utf-8")
        (folder / "work").mkdir()
        code = _CODE.format(search=[*search, *filter(None, sys.path)], folder=name)
        with (folder / "output").open("wb") as output:
            process = subprocess.Popen(  # noqa: S603 - there is no shell
                [sys.executable, "-c", code],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=folder / "work",
                start_new_session=True,
            )
            try:
                process.wait(timeout)
                reason = _reason(process.returncode)
            except subprocess.TimeoutExpired:
                reason = f"it took more than {timeout:g} seconds, and was ended"
            finally:
                end(process)
        written = (folder / "output").read_text(encoding="utf-8", errors="replace")
        return ChildEnd(_read(folder / ANSWER), reason, written[-_KEPT:])


def _reason(code: int) -> str:
    if code >= 0:
        return f"it ended the process with exit code {code}"
    try:
        return f"it ended the process by signal {signal.Signals(-code).name}"
    except ValueError:
        return f"it ended the process by signal {-code}"


def _read(file: Path) -> list[Any] | None:
    try:
        answer = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return answer if isinstance(answer, list) else None
