"""Probes: a plugin is loaded in a child process, never here, before it is switched on.

The child is a Python like this one: same program, flags, ``sys.path``, current folder and
environment variables, without a shell, without input, and in a session of its own. Whatever the
plugin does there, the parent waits no longer than its timeout, and ends all processes left.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import stat
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread
from typing import IO, Any, Final, NamedTuple

from plugreg._probe.child import REPORT, REQUEST, ProbeRequest
from plugreg._state.probe_report import (
    ProbeOutcome,
    ProbeReport,
    ProbeUnavailableError,
    report_from,
)
from plugreg._state.probe_rows import ProbeRows, version_of
from plugreg._support.imported import named
from plugreg._support.process import (
    GRACE,
    end,
    has_ended,
    interpreter_flags,
    start,
    wait_for_group,
    wait_until,
)
from plugreg._support.redact import Scrubber
from plugreg._support.slugs import near
from plugreg.exceptions import PluginBlockedError, PluginNotFoundError
from plugreg.mixins import MixinSpec
from plugreg.records import HostRules, PluginSpec, Snapshot

MARK: Final = "PLUGREG_PROBE"
"""The environment variable of a child, by which a plugin can find out that it is probed."""

KEPT: Final = 32 * 1024
"""How many bytes of each stream are kept: one half from its beginning, the other from its end."""

_LARGEST_ANSWER: Final = 1024 * 1024
"""How many bytes an answer may have."""
_TOO_LARGE: Final = "the probe's answer has more than 1 MiB; the plugin declares more than is read"
_OVERWRITTEN: Final = "the probe's answer cannot be read; the plugin has written over it"

_START: Final = """import sys
sys.path[:] = {path!r}
from plugreg._probe.child import main
sys.dont_write_bytecode, sys.pycache_prefix = {bytecode!r}
main({folder!r})
"""

_NOT_BY_NAME: Final = (
    "it was given as an object, and a child process can only import what has a name; "
    "give it as 'module:attribute' to have it probed"
)


class Prober(NamedTuple):
    """Probes the plugins of one registry, and remembers the reports.

    Attributes:
        host: The host's name.
        implicit_prefix: The host's prefix of unmarked hook implementations.
        rules: The host's rules.
        mixins: The host's table of capabilities.
        current: Returns the snapshot.
        probe_rows: Where reports are stored.
        scrubber: Returns the scrubber of a plugin's protected values.
        constructs: Whether the host makes the objects of classes itself.
    """

    host: str
    implicit_prefix: str | None
    rules: HostRules
    mixins: Sequence[MixinSpec]
    current: Callable[[], Snapshot]
    probe_rows: ProbeRows
    scrubber: Callable[[str], Scrubber]
    constructs: bool = False

    def probe(self, slug: str, timeout: float) -> ProbeReport:
        """Load a plugin in a child process and return a report on it.

        The plugin is imported and constructed, unless the host constructs it itself, and not
        activated: it is bound to no registry, and no hook or mixin of it is called. A capability
        of the host counts if the plugin derives from its class by name. The plugin may lie: it
        runs as the same user as the host. Processes that it started are ended, too, unless they
        left the session and, on Linux, changed their environment.

        The strings of the report are scrubbed of the plugin's protected values. The report is
        stored, unless the host gave the plugin as an object: that plugin cannot be probed, and is
        not imported.

        Args:
            slug: The plugin.
            timeout: Seconds until the child is ended, which may take some seconds more.

        Returns:
            The report. No fault of the plugin is raised.

        Raises:
            PluginNotFoundError: If the plugin is not known, or not installed.
            PluginBlockedError: If the host forbids the plugin.
            ValueError: If *timeout* is not a finite number above 0.
            ProbeUnavailableError: If no child can be started.
            StorageError: If the report cannot be stored.
        """
        plugins = self.current().plugins
        known = plugins.get(slug)
        if known is None or known.spec is None:
            hint = near(slug, plugins) if known is None else "; it is not installed"
            raise PluginNotFoundError(slug, hint)
        forbidden = self.rules.blocks(slug, known.spec)
        if forbidden is not None:
            raise PluginBlockedError(slug, forbidden)
        if not 0 < timeout < float("inf"):
            raise ValueError(f"timeout must be a number of seconds above 0, not {timeout!r}")
        spec = by_name(known.spec)
        if spec is None:
            return replace(_blank(known.spec), detail=_NOT_BY_NAME)
        report = self._report(spec, timeout, _own_path(spec))
        self.probe_rows.put(known.spec, report)
        return report

    def fault_of_staged(self, spec: PluginSpec, path: Sequence[str], timeout: float) -> str | None:
        """Load a plugin that is not installed yet in a child process; nothing is stored.

        Args:
            spec: The plugin.
            path: What ``sys.path`` is to be in the child, which compiles nothing.
            timeout: Seconds until the child is ended.

        Returns:
            What is wrong with the plugin, None if it can be loaded or the host forbids it.

        Raises:
            ProbeUnavailableError: If no child can be started.
        """
        if self.rules.blocks(spec.slug) is not None:
            return None
        report = self._report(spec, timeout, path)
        return None if report.outcome is ProbeOutcome.OK else f"{report.outcome}: {report.detail}"

    def _report(self, spec: PluginSpec, timeout: float, path: Sequence[str] | None) -> ProbeReport:
        scrubber = self.scrubber(spec.slug)
        try:
            report = self._run_child(spec, timeout, scrubber, path)
        except OSError as error:
            reason = f"{sys.executable!r} cannot be started ({error})"
            raise ProbeUnavailableError(spec.slug, reason) from error
        return replace(
            report,
            detail=scrubber.cut_text(report.detail),
            stdout=scrubber.cut_text(report.stdout),
            stderr=scrubber.cut_text(report.stderr),
            warnings=tuple(map(scrubber.cut_text, report.warnings)),
        )

    def _run_child(
        self, spec: PluginSpec, timeout: float, scrubber: Scrubber, path: Sequence[str] | None
    ) -> ProbeReport:
        """Return the report. Strings of settings, which get cut, are scrubbed already."""
        import secrets
        import tempfile

        mixins = sorted(self.mixins, key=lambda mixin: mixin.order)
        request = ProbeRequest(
            token=secrets.token_hex(16),
            spec=spec,
            rules=self.rules,
            host=self.host,
            implicit_prefix=self.implicit_prefix,
            mixins=tuple((m.key, m.cls.__module__, m.cls.__qualname__) for m in mixins),
            constructs=self.constructs,
            seconds=timeout,
        )
        with tempfile.TemporaryDirectory(prefix="plugreg-", ignore_cleanup_errors=True) as folder:
            Path(folder, REQUEST).write_bytes(pickle.dumps(request))
            code, stdout, stderr, seconds = _run(folder, timeout, path)
            if code is not None and Path(folder, REQUEST).exists():
                _, _, line = stderr.strip().rpartition("\n")
                ending = f"ended with code {code} before it loaded the plugin ({line})"
                raise ProbeUnavailableError(spec.slug, f"{sys.executable!r} {ending}")
            answer = _read_answer(Path(folder, REPORT), request.token)
        report = replace(_blank(spec), stdout=stdout, stderr=stderr, seconds=seconds)
        if code is None:
            detail = f"it took more than {timeout:g} seconds, and was ended"
            return replace(report, outcome=ProbeOutcome.TIMEOUT, detail=detail)
        if code < 0:
            return replace(report, outcome=ProbeOutcome.SIGNAL, detail=_signal_name(-code))
        if code > 0 or answer is None:
            detail = f"it ended the process with exit code {code}"
            return replace(report, outcome=ProbeOutcome.EXIT, detail=detail)
        if isinstance(answer, str):
            return replace(report, detail=answer)
        names = {mixin.key: mixin.human_name for mixin in mixins}
        try:
            row = {
                **answer,
                "mixins": {key: names[key] for key in answer["mixins"]},
                "settings": _scrub_settings(answer["settings"], scrubber),
                "user_settings": _scrub_settings(answer["user_settings"], scrubber),
                "version": report.version,
                "at": report.at.isoformat(),
            }
            return replace(report_from(spec.slug, row), stdout=stdout, stderr=stderr)
        except (KeyError, TypeError, ValueError):
            return replace(report, detail=_OVERWRITTEN)


def _blank(spec: PluginSpec) -> ProbeReport:
    return ProbeReport(
        slug=spec.slug,
        version=version_of(spec),
        at=datetime.now(UTC),
        outcome=ProbeOutcome.ERROR,
    )


def _own_path(spec: PluginSpec) -> Sequence[str] | None:
    """Return the path for a plugin with an environment of its own, None for another one."""
    folder = None if spec.distribution is None else str(Path(spec.path or "").parent)
    return None if folder is None or folder in sys.path else [folder, *sys.path]


def by_name(spec: PluginSpec) -> PluginSpec | None:
    """Return a spec by which a child finds the same plugin, None if it could not."""
    if spec.target is not None:
        module, _, qualname = spec.value.partition(":")
        found = named(module, qualname) if qualname else sys.modules.get(module)
        if found is not spec.target:
            return None
    # Another process has another __main__.
    if spec.module == "__main__":
        return None
    return replace(spec, target=None, attributes={})


def _signal_name(number: int) -> str:
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    described = signal.strsignal(number)
    return f"{name} ({described})" if described else name


def _read_answer(file: Path, token: str) -> Any:
    """Return the answer in a file, a sentence on why it is unusable, or None without a file.

    A plugin may have put anything there.
    """
    try:
        # To open a named pipe would wait for a writer, who is gone.
        if not stat.S_ISREG(file.lstat().st_mode):
            return _OVERWRITTEN
        with file.open("rb") as stream:
            data = stream.read(_LARGEST_ANSWER + 1)
        if len(data) > _LARGEST_ANSWER:
            return _TOO_LARGE
        answer = json.loads(data)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError):
        return _OVERWRITTEN
    return answer if isinstance(answer, dict) and answer.get("token") == token else _OVERWRITTEN


_FROM_PLUGIN: Final = ("name", "description", "units", "default", "choices")
"""The fields of a setting that may hold any string."""


def _scrub_settings(rows: Any, scrubber: Scrubber) -> list[dict[str, Any]]:
    """Return the settings of an answer, scrubbed. Raises KeyError and TypeError for others."""
    return [{**row, **{name: scrubber.value(row[name]) for name in _FROM_PLUGIN}} for row in rows]


def _run(
    folder: str, timeout: float, path: Sequence[str] | None
) -> tuple[int | None, str, str, float]:
    """Run the child of the request in ``folder`` to its end. Nothing of it is left afterwards.

    Return its exit code, None after the timeout, its output to both streams, and its seconds.
    """
    # A probe leaves the compiled modules that an import in the host would leave.
    bytecode = sys.dont_write_bytecode or path is not None, sys.pycache_prefix
    path = [entry for entry in (sys.path if path is None else path) if type(entry) is str]
    code = _START.format(path=path, folder=folder, bytecode=bytecode)
    started = time.monotonic()
    process = start(
        [sys.executable or "", *interpreter_flags(), "-X", "faulthandler", "-c", code],
        {**os.environ, MARK: folder},
    )
    streams = [_Stream(pipe) for pipe in (process.stdout, process.stderr) if pipe is not None]
    try:
        for stream in streams:
            stream.start()
        in_time = wait_until(lambda: has_ended(process), timeout)
        seconds = time.monotonic() - started
        if not in_time and sys.platform != "win32":
            # The child's own handler writes to stderr where it hangs.
            os.kill(process.pid, signal.SIGABRT)
            wait_until(lambda: has_ended(process), GRACE)
    finally:
        end(process)
        if sys.platform == "linux":
            # Some may have left the group, and each look may find processes forked since the last.
            wait_until(lambda: not _kill_marked(f"{MARK}={folder}".encode()), GRACE)
        else:
            wait_for_group(process)
    for stream in streams:
        stream.join(GRACE)
    stdout, stderr = map(str, streams)
    return process.returncode if in_time else None, stdout, stderr, seconds


class _Stream(Thread):
    """Reads one stream of a child while it runs. ``str()`` is the part that was kept."""

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__(name="plugreg-probe", daemon=True)
        self._stream = stream
        self._head = self._tail = b""

    def run(self) -> None:
        """Read to the end, which is there when every process that holds the stream is gone."""
        with self._stream:
            while data := os.read(self._stream.fileno(), KEPT):
                room = KEPT // 2 - len(self._head)
                self._head += data[:room]
                self._tail = (self._tail + data[room:])[-KEPT // 2 - 1 :]

    def __str__(self) -> str:
        if len(self._tail) <= KEPT // 2:
            return (self._head + self._tail).decode(errors="replace")
        # Half a character at the cut would hide from a scrubber what stands before it.
        head = self._head.decode(errors="replace").rstrip("\ufffd")
        tail = self._tail[1:].decode(errors="replace").lstrip("\ufffd")
        return f"{head} … {tail}"


def _kill_marked(mark: bytes) -> int:
    """Kill every process that has the mark in its environment; return how many there were."""
    count = 0
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            # The process may be gone by now, or another user's.
            with suppress(OSError):
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    os.kill(int(entry.name), signal.SIGKILL)
                    count += 1
    return count
