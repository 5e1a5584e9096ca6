"""The program of a child: import a plugin, or try its whole life, and write the findings."""

from __future__ import annotations

import io
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import Any, Final, NoReturn

from plugreg._support.frozen import arguments
from plugreg.contract.codes import finding
from plugreg.contract.values import Finding
from plugreg.testing.children import ANSWER, REQUEST

SLOW: Final = 1.0
"""Seconds of CPU time from which on an import is slow; other processes do not count."""

HEAVY: Final = frozenset(
    ("numpy", "pandas", "scipy", "matplotlib", "torch", "tensorflow", "sklearn", "django", "boto3")
)
"""Packages that take long to import, and are better imported where they are used."""

_CHANGES: Final = (
    ("thread", "K304"),
    ("task", "K304"),
    ("signal", "K305"),
    ("the root logger", "K307"),
    ("logger", "K307"),
    ("", "K306"),
)
"""Codes of the changes that an import makes to the process, by the beginnings of their clauses."""


def main(folder: str) -> NoReturn:
    """Carry out the request in *folder*, write the answer beside it, and end.

    Args:
        folder: The folder.
    """
    place = Path(folder)
    request = json.loads((place / REQUEST).read_text(encoding="utf-8"))
    act = {"import": _import, "life": _life}[request["act"]]
    answer = [arguments(found) for found in act(request)]
    (place / ANSWER).write_text(json.dumps(answer), encoding="utf-8")
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads and exit functions of the plugin have no say any more.
    os._exit(0)


def _import(request: dict[str, Any]) -> Iterator[Finding]:
    """Import the plugin's module, and yield its faults and its effects on the process."""
    # Modules that every plugin or a host imports are not the plugin's doing.
    for name in ("logging", "pluggy", "plugreg", "plugreg.mixins.settings", "plugreg.plugin"):
        import_module(name)
    from plugreg.testing.residue import changes, surroundings
    from plugreg.testing.specs import import_object

    _write_no_bytecode()
    value: str = request["value"]
    before, modules = surroundings(), {*sys.modules}
    out, err = io.StringIO(), io.StringIO()
    fault: tuple[str, str] | None = None
    started = time.process_time()
    try:
        with redirect_stdout(out), redirect_stderr(err):
            import_object(value)
    except SystemExit as error:
        fault = "K302", f"it calls sys.exit({error.code!r})"
    except BaseException as error:  # noqa: BLE001 - Whatever it is, it is the answer.
        fault = "K301", f"{type(error).__name__}: {error}"
    seconds = time.process_time() - started
    changed, new = changes(before, surroundings()), {*sys.modules} - modules
    if fault is not None:
        yield finding(fault[0], value, fault[1])
    if printed := (out.getvalue() + err.getvalue()).strip():
        yield finding("K303", value, f"it prints {printed.splitlines()[0]!r}")
    for clause in changed:
        code = next(code for beginning, code in _CHANGES if clause.startswith(beginning))
        yield finding(code, value, clause)
    if seconds > SLOW:
        yield finding("K308", value, f"its import takes {seconds:.1f} s")
    if heavy := sorted(HEAVY & {name.partition(".")[0] for name in new}):
        yield finding("K309", value, f"it imports {', '.join(heavy)}")


def _write_no_bytecode() -> None:
    """Keep the plugin's folder as it is, also where the plugin starts processes."""
    sys.dont_write_bytecode = True
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"


def _life(request: dict[str, Any]) -> Iterable[Finding]:
    # What is slow to compile, and may be kept.
    import_module("hypothesis")
    import_module("pydantic")
    from plugreg.contract import Contract
    from plugreg.testing.host import host_maker
    from plugreg.testing.living import live
    from plugreg.testing.specs import find_mixins, find_specs

    _write_no_bytecode()
    contract = Contract.read(request["contract"])
    plugin = (request["slug"], request["value"])
    make_host = host_maker([*find_specs(contract), *find_mixins(contract), plugin], contract)
    return live(make_host, name=request["value"])
