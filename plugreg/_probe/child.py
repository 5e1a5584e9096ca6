"""The program of a probe's child process: it loads one plugin and reports on it.

Nothing of a registry is here: no storage, no settings, no other plugin. The plugin prints to the
process's own streams; the answer is a file of its own, as JSON. The process ends at once after
writing it, whatever threads and exit functions the plugin has left.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import sys
import warnings
from contextlib import suppress
from pathlib import Path
from time import perf_counter
from typing import Any, Final, NamedTuple, NoReturn

from plugreg._lifecycle.load import Acceptance, load
from plugreg._support.guard import LONGEST_MESSAGE, Guard, cut, plain, safe_str
from plugreg._support.imported import named
from plugreg._support.process import keep_no_core
from plugreg.hooks import PluginManager
from plugreg.mixins import SettingsMixin
from plugreg.mixins.settings import version_fault
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
"""The files of a probe's folder: the request, and the child's answer."""

_MOST_WARNINGS: Final = 100
_GRACE: Final = 1
"""Seconds beyond its time after which a child ends itself whose host was killed."""


class ProbeRequest(NamedTuple):
    """The plugin to probe, and the options of its host that decide how it is loaded.

    ``token`` distinguishes the child's answer from a file that the plugin wrote by mistake.
    ``spec`` has no ``target``. ``mixins`` are key, module and qualified name of the class of each
    capability. ``constructs`` says that the host makes the objects of classes itself, so that none
    is made here. ``seconds`` is how long the parent waits.
    """

    token: str
    spec: PluginSpec
    rules: HostRules
    host: str
    implicit_prefix: str | None
    mixins: tuple[tuple[str, str, str], ...]
    constructs: bool
    seconds: float


def main(folder: str) -> NoReturn:
    """Load the plugin that the request in ``folder`` names, and write the answer beside it."""
    process = os.getpid()
    file = Path(folder, REQUEST)
    request: ProbeRequest = pickle.loads(file.read_bytes())  # noqa: S301 - the parent's own
    _prepare(request)
    # From here on the parent blames the plugin for everything.
    file.unlink()
    answer = {"token": request.token, **_probe(request)}
    # The plugin may have forked, and let the copy go on.
    if os.getpid() == process:
        with Guard():
            sys.stdout.flush()
            sys.stderr.flush()
        Path(folder, REPORT).write_text(json.dumps(answer), encoding="utf-8")
    os._exit(0)


def _prepare(request: ProbeRequest) -> None:
    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, request.seconds + _GRACE)
    keep_no_core()


def _probe(request: ProbeRequest) -> dict[str, Any]:
    """Return the answer, as :func:`plugreg._state.probe_report.report_from` takes it."""
    manager = PluginManager(request.host, implicit_prefix=request.implicit_prefix)
    manager.add_own_hookspecs()
    acceptance = Acceptance(
        manager.has_implementations,
        lambda cls: any(key != "base" for key in _mixins_of(cls, request)),
        request.rules.accepts_any,
        (lambda cls, _spec: cls) if request.constructs else None,
    )
    before, started = _peak_memory(), perf_counter()
    with warnings.catch_warnings(record=True) as caught:
        if not sys.warnoptions:
            warnings.simplefilter("default")
        loading = load(request.spec, request.rules, acceptance)
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
        "warnings": [_sentence(warning) for warning in caught[:_MOST_WARNINGS]],
    }
    if loading.loaded is None:
        return answer | _fault(loading.failures[-1])
    answer["warnings"] += [failure.message for failure in loading.loaded.failures]
    with Guard() as guard:
        answer |= _inspect(loading.loaded, request, manager)
    if guard.error is not None:
        answer |= _fault(PluginFailure.of(Stage.ACTIVATE, request.spec.slug, guard.error))
    return answer


def _fault(failure: PluginFailure) -> dict[str, str]:
    """Return outcome and detail of a failure, whose traceback goes to stderr."""
    with suppress(OSError):
        os.write(2, failure.traceback.encode())
    # A host outlives SystemExit, but a plugin must not raise it.
    outcome = "exit" if failure.exception_type == "SystemExit" else "error"
    return {"outcome": outcome, "detail": f"{failure.stage}: {failure.message}"}


def _inspect(loaded: LoadedPlugin, request: ProbeRequest, manager: PluginManager) -> dict[str, Any]:
    """Return the plugin's hooks, mixins and settings."""
    plugin = loaded.plugin
    cls = plugin if request.constructs and issubclass(type(plugin), type) else type(plugin)
    found: dict[str, Any] = {
        "hooks": sorted({name for name, _ in manager.implementations(plugin, loaded.slug).pairs}),
        "mixins": _mixins_of(cls, request),
    }
    if issubclass(cls, SettingsMixin):
        faults: list[str] = []
        for attribute in ("SETTINGS", "USER_SETTINGS"):
            definitions, new_faults = parse_definitions(getattr(plugin, attribute), attribute)
            found[attribute.lower()] = [_setting(setting) for setting in definitions.values()]
            faults += new_faults
        version = plugin.SETTINGS_VERSION
        if version_fault(version) is None:
            found["settings_version"] = version
        if faults:
            found |= {"outcome": "error", "detail": f"mixin 'settings': {'; '.join(faults)}"}
    return found


def _mixins_of(cls: type, request: ProbeRequest) -> list[str]:
    """Return the keys of the capabilities of a class; no module is imported for that."""
    return [
        key
        for key, module, qualname in request.mixins
        if isinstance(mixin := named(module, qualname), type) and issubclass(cls, mixin)
    ]


def _setting(definition: SettingDefinition) -> dict[str, Any]:
    default = None
    is_shown = not definition.protected and not callable(definition.default)
    if is_shown and definition.has_default:
        default = text_of(definition, default_of(definition))
    choices = () if callable(definition.choices) else choices_of(definition)
    return {
        "key": definition.key,
        "name": safe_str(definition.name),
        "description": safe_str(definition.description),
        "units": safe_str(definition.units),
        "type": definition.wire_type,
        "default": default,
        "choices": [[choice_text(definition, value), safe_str(label)] for value, label in choices],
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
    """Return the peak memory of this process in bytes, None where that is unknown."""
    # On Linux ru_maxrss begins with the peak of the parent process.
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
