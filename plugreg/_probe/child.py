"""What runs in the child process of a probe: one plugin is loaded, and looked at.

Nothing of a registry is here: no storage, no settings, no other plugin. What the plugin prints goes
to the process's own streams; what was learnt goes into a file of its own, as JSON. The process is
ended at once when that is written, whatever threads and exit functions the plugin has left.
"""

from __future__ import annotations

import inspect
import json
import os
import pickle
import signal
import sys
import warnings
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Final, NoReturn

from plugreg._lifecycle.load import load
from plugreg._support.guard import LONGEST_MESSAGE, Guard, cut, plain, safe_str
from plugreg.hooks import PluginManager, PlugregSpecs
from plugreg.mixins import SettingsMixin
from plugreg.records import HostRules, LoadedPlugin, PluginFailure, PluginSpec, Stage
from plugreg.settings.declaration import parse_definitions
from plugreg.settings.definition import (
    SettingDefinition,
    choice_text,
    choices_of,
    default_of,
    text_of,
)

REQUEST: Final = "request"
REPORT: Final = "report"
"""The files of a probe's folder: what the child is asked, and what it answers."""

_MOST_WARNINGS: Final = 100
_GRACE: Final = 1
"""Seconds beyond its time after which a child ends itself whose host was killed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What a child has to know: the plugin, and what of the host decides how it is loaded.

    ``token`` tells the child's answer from what a plugin has written by mistake. ``spec`` has no
    ``target``. ``mixins`` are key, module and qualified name of each class by which a plugin has a
    capability. ``seconds`` is how long the parent waits. The last two say how Python keeps
    compiled modules.
    """

    token: str
    spec: PluginSpec
    rules: HostRules
    host: str
    implicit_prefix: str | None
    mixins: tuple[tuple[str, str, str], ...]
    seconds: float
    dont_write_bytecode: bool
    pycache_prefix: str | None


def main(folder: str) -> NoReturn:
    """Load the plugin that the request in ``folder`` names, and write the answer beside it."""
    process = os.getpid()
    file = Path(folder, REQUEST)
    request: Request = pickle.loads(file.read_bytes())  # noqa: S301 - the parent's own
    _prepare(request)
    # By this the parent knows that whatever comes now is the plugin's doing.
    file.unlink()
    answer = {"token": request.token, **_look(request)}
    # The plugin may have forked, and let the copy go on.
    if os.getpid() == process:
        with Guard():
            sys.stdout.flush()
            sys.stderr.flush()
        Path(folder, REPORT).write_text(json.dumps(answer), encoding="utf-8")
    os._exit(0)


def _prepare(request: Request) -> None:
    import faulthandler

    # A probe leaves the compiled modules that an import in the host would leave.
    sys.dont_write_bytecode = request.dont_write_bytecode
    sys.pycache_prefix = request.pycache_prefix
    # Where it crashed, or hung when it was ended, is told on stderr.
    faulthandler.enable()
    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, request.seconds + _GRACE)
    with suppress(ImportError, ValueError, OSError):
        import resource

        # What crashes leaves no core file in the host's folder.
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def _look(request: Request) -> dict[str, Any]:
    """Return what was learnt, as :func:`plugreg._state.probe_rows.report_from` takes it."""
    manager = PluginManager(request.host, implicit_prefix=request.implicit_prefix)
    manager.add_hookspecs(PlugregSpecs)
    before, started = _peak_memory(), perf_counter()
    with warnings.catch_warnings(record=True) as caught:
        if not sys.warnoptions:
            warnings.simplefilter("default")
        loading = load(request.spec, request.rules, manager.has_implementations)
    seconds, after = perf_counter() - started, _peak_memory()
    answer: dict[str, Any] = {
        "outcome": "ok",
        "detail": "",
        "seconds": seconds,
        "memory": None if before is None or after is None else max(after - before, 0),
        "mixins": [],
        "settings": [],
        "user_settings": [],
        "hooks": [],
        "warnings": [_sentence(each) for each in caught[:_MOST_WARNINGS]],
    }
    if loading.loaded is None:
        return {**answer, **_fault(loading.failures[-1])}
    answer["warnings"] += [each.message for each in loading.loaded.failures]
    with Guard() as guard:
        answer |= _brings(loading.loaded, request, manager)
    if guard.error is not None:
        failure = PluginFailure.of(Stage.ACTIVATE, request.spec.slug, guard.error)
        answer |= _fault(failure)
    return answer


def _fault(failure: PluginFailure) -> dict[str, str]:
    """Return outcome and detail of what went wrong; its traceback goes to stderr."""
    with suppress(OSError):
        os.write(2, failure.traceback.encode())
    # A host outlives it, but it was not meant to.
    outcome = "exit" if failure.exception_type == "SystemExit" else "error"
    return {"outcome": outcome, "detail": f"{failure.stage}: {failure.message}"}


def _brings(loaded: LoadedPlugin, request: Request, manager: PluginManager) -> dict[str, Any]:
    plugin = loaded.plugin
    pairs = manager.implementations(plugin, loaded.slug).pairs
    found: dict[str, Any] = {
        "hooks": sorted({name for name, _ in pairs}),
        "mixins": [
            key
            for key, module, qualname in request.mixins
            if isinstance(cls := named(module, qualname), type) and issubclass(type(plugin), cls)
        ],
    }
    if issubclass(type(plugin), SettingsMixin):
        faults: list[str] = []
        for attribute in ("SETTINGS", "USER_SETTINGS"):
            definitions, wrong = parse_definitions(getattr(plugin, attribute), attribute)
            found[attribute.lower()] = [_setting(each) for each in definitions.values()]
            faults += wrong
        if faults:
            found |= {"outcome": "error", "detail": f"mixin 'settings': {'; '.join(faults)}"}
    return found


def named(module: str, qualname: str) -> Any:
    """Return what an imported module has under a dotted name, None where there is none.

    Nothing is imported: a plugin that derives from a class has its module imported. No code runs.
    """
    found: Any = sys.modules.get(module)
    for name in qualname.split("."):
        found = inspect.getattr_static(found, name, None)
    return found


def _setting(definition: SettingDefinition) -> dict[str, Any]:
    default = None
    told = not definition.protected and not callable(definition.default)
    if told and definition.has_default:
        default = text_of(definition, default_of(definition))
    asked = () if callable(definition.choices) else choices_of(definition)
    return {
        "key": definition.key,
        "name": safe_str(definition.name),
        "description": safe_str(definition.description),
        "units": safe_str(definition.units),
        "type": definition.wire_type,
        "default": default,
        "choices": [[choice_text(definition, each), safe_str(label)] for each, label in asked],
        "required": definition.required,
        "protected": definition.protected,
        "hidden": definition.hidden,
    }


def _sentence(warning: warnings.WarningMessage) -> str:
    place = f"({safe_str(warning.filename)}, line {safe_str(warning.lineno)})"
    with Guard():
        text = f"{warning.category.__name__}: {safe_str(warning.message)} {place}"
        return cut(plain(text), LONGEST_MESSAGE)
    return place


def _peak_memory() -> int | None:
    """Return the most memory that this process ever had, in bytes, None where nobody tells."""
    # On Linux ru_maxrss begins with that of the process that has started this one.
    with suppress(OSError):
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        for line in status.splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    with suppress(ImportError):
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
    return None
