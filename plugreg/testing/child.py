"""The program of a child: import a plugin, or try its whole life, and write the observations."""

from __future__ import annotations

import io
import json
import os
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from plugreg._support.frozen import arguments
from plugreg.testing.children import ANSWER, REQUEST


def main(folder: str) -> NoReturn:
    """Carry out the request in *folder*, write the answer beside it, and end.

    Args:
        folder: The folder.
    """
    place = Path(folder)
    request = json.loads((place / REQUEST).read_text(encoding="utf-8"))
    act = {"import": _import, "life": _life}[request["act"]]
    answer = act(request)
    (place / ANSWER).write_text(json.dumps(answer), encoding="utf-8")
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads and exit functions of the plugin have no say any more.
    os._exit(0)


def _import(request: dict[str, Any]) -> dict[str, Any]:
    """Import the plugin's module, and return its effects on the process."""
    # Modules that every plugin or a host imports are not the plugin's doing.
    for name in ("logging", "pluggy", "plugreg", "plugreg.mixins.settings", "plugreg.plugin"):
        import_module(name)
    from plugreg.testing.residue import changes, surroundings
    from plugreg.testing.specs import import_object

    _write_no_bytecode()
    before, modules = surroundings(), {*sys.modules}
    out, err = io.StringIO(), io.StringIO()
    fault, code = None, "K301"
    started = time.process_time()
    try:
        with redirect_stdout(out), redirect_stderr(err):
            import_object(request["value"])
    except SystemExit as error:
        code, fault = "K302", f"it calls sys.exit({error.code!r})"
    except BaseException as error:  # noqa: BLE001 - Whatever it is, it is the answer.
        fault = f"{type(error).__name__}: {error}"
    return {
        "seconds": time.process_time() - started,
        "fault": fault,
        "code": code,
        "printed": out.getvalue() + err.getvalue(),
        "changes": list(changes(before, surroundings())),
        "modules": sorted({name.partition(".")[0] for name in {*sys.modules} - modules}),
    }


def _write_no_bytecode() -> None:
    """Keep the plugin's folder as it is, also where the plugin starts processes."""
    sys.dont_write_bytecode = True
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"


def _life(request: dict[str, Any]) -> dict[str, Any]:
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
    return {"seen": [*map(arguments, live(make_host, name=request["value"]))]}
