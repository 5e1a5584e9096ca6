"""Looking at a plugin before it is switched on: it is loaded in a child process, and never here.

The child is a Python like this one: same program, flags, ``sys.path``, current folder and
environment variables, without a shell, without input, and in a session of its own. Whatever the
plugin does there, the parent waits no longer than it was told to, and ends all that is left.
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
from typing import IO, TYPE_CHECKING, Any, Final, NamedTuple

from plugreg._probe.child import REPORT, REQUEST, Request, named
from plugreg._state.probe_rows import (
    ProbeOutcome,
    ProbeReport,
    ProbeRows,
    ProbeUnavailableError,
    report_from,
    version_of,
)
from plugreg._support.names import near
from plugreg._support.process_groups import group_exists, has_ended, waited
from plugreg._support.redact import Scrubber
from plugreg.exceptions import PluginBlockedError, PluginNotFoundError
from plugreg.mixins import MixinSpec
from plugreg.records import HostRules, PluginSpec, Snapshot

if TYPE_CHECKING:
    from subprocess import Popen

MARK: Final = "PLUGREG_PROBE"
"""The environment variable of a child, by which a plugin can tell that it is only looked at."""

KEPT: Final = 32 * 1024
"""How many bytes of each stream are kept: one half from its beginning, the other from its end."""

_LARGEST_ANSWER: Final = 1024 * 1024
"""How many bytes an answer may have."""
_TOO_LARGE: Final = "the probe's answer has more than 1 MiB; the plugin declares more than is read"
_OVERWRITTEN: Final = "the probe's answer cannot be read; the plugin has written over it"
_GRACE: Final = 2.0
"""Seconds that what was ended has to be gone."""

_START: Final = (
    "import sys; sys.path[:] = {path!r}\nfrom plugreg._probe.child import main; main({folder!r})"
)

_NOT_BY_NAME: Final = (
    "it was given as an object, and a child process can only import what has a name; "
    "give it as 'module:attribute' to have it probed"
)


class Prober:
    """Probes the plugins of one registry, and has remembered what was learnt.

    ``host``, ``implicit_prefix`` and ``mixins``, the table of capabilities, are those of the host;
    ``scrubber`` gives what hides the protected values of a plugin.
    """

    def __init__(
        self,
        *,
        host: str,
        implicit_prefix: str | None,
        rules: HostRules,
        mixins: Sequence[MixinSpec],
        current: Callable[[], Snapshot],
        probe_rows: ProbeRows,
        scrubber: Callable[[str], Scrubber],
    ) -> None:
        self._host = host
        self._implicit_prefix = implicit_prefix
        self._rules = rules
        self._mixins = tuple(sorted(mixins, key=lambda each: each.order))
        self._current = current
        self._probe_rows = probe_rows
        self._scrubber = scrubber

    def probe(self, slug: str, timeout: float) -> ProbeReport:
        """Load a plugin in a child process and tell, within ``timeout`` seconds, what came of it.

        What takes longer is ended, which may take some seconds more.

        What a plugin does is told in the report; none of it is raised. The texts of the report are
        scrubbed of the plugin's protected values. It is remembered, but for a plugin that the host
        gave as an object: that one cannot be probed, and is not imported.

        The plugin is imported and constructed, not activated: it is bound to no registry, and no
        hook or mixin of it is called. A capability of the host's own counts where the plugin
        derives from its class by name. The plugin may lie: it runs as the user whom the host runs
        as. What it has started is ended too, unless that has left the session and, on Linux, has
        another environment as well.

        Raises PluginNotFoundError for a plugin that is not known or not installed,
        PluginBlockedError for one that the host forbids, ValueError for a ``timeout`` that is not
        positive, ProbeUnavailableError where no child can be started, and StorageError.
        """
        plugins = self._current().plugins
        known = plugins.get(slug)
        if known is None or known.spec is None:
            hint = near(slug, plugins) if known is None else "; it is not installed"
            raise PluginNotFoundError(slug, hint)
        forbidden = self._rules.blocks(slug)
        if forbidden is not None:
            raise PluginBlockedError(slug, forbidden)
        if not 0 < timeout < float("inf"):
            raise ValueError(f"timeout must be a number of seconds above 0, not {timeout!r}")
        spec = _by_name(known.spec)
        if spec is None:
            return ProbeReport(
                slug=slug,
                version=version_of(known.spec),
                at=datetime.now(UTC),
                outcome=ProbeOutcome.ERROR,
                detail=_NOT_BY_NAME,
            )
        scrubber = self._scrubber(slug)
        try:
            report = _scrubbed(self._look(spec, timeout, scrubber), scrubber)
        except OSError as error:
            reason = f"{sys.executable!r} cannot be started ({error})"
            raise ProbeUnavailableError(slug, reason) from error
        self._probe_rows.put(known.spec, report)
        return report

    def _look(self, spec: PluginSpec, timeout: float, scrubber: Scrubber) -> ProbeReport:
        """Return what was learnt. Of its texts those of settings, which get cut, are scrubbed."""
        import secrets
        import tempfile

        request = Request(
            token=secrets.token_hex(16),
            spec=spec,
            rules=self._rules,
            host=self._host,
            implicit_prefix=self._implicit_prefix,
            mixins=tuple(
                (each.key, each.cls.__module__, each.cls.__qualname__) for each in self._mixins
            ),
            seconds=timeout,
            dont_write_bytecode=sys.dont_write_bytecode,
            pycache_prefix=sys.pycache_prefix,
        )
        at = datetime.now(UTC)
        with tempfile.TemporaryDirectory(prefix="plugreg-", ignore_cleanup_errors=True) as folder:
            Path(folder, REQUEST).write_bytes(pickle.dumps(request))
            ended = _run(folder, timeout)
            if ended.code is not None and Path(folder, REQUEST).exists():
                raise ProbeUnavailableError(spec.slug, _not_started(ended))
            answer = _answer(Path(folder, REPORT), request.token)
        report = ProbeReport(
            slug=spec.slug,
            version=version_of(spec),
            at=at,
            outcome=ProbeOutcome.ERROR,
            stdout=ended.stdout,
            stderr=ended.stderr,
            seconds=ended.seconds,
        )
        death = _death(ended, has_answered=answer is not None)
        if death is not None:
            return replace(report, outcome=death[0], detail=death[1])
        if isinstance(answer, str):
            return replace(report, detail=answer)
        names = {each.key: each.human_name for each in self._mixins}
        try:
            row = {
                **answer,
                "mixins": {key: names[key] for key in answer["mixins"]},
                "settings": _scrubbed_settings(answer["settings"], scrubber),
                "user_settings": _scrubbed_settings(answer["user_settings"], scrubber),
                "version": report.version,
                "at": at.isoformat(),
            }
            learnt = report_from(spec.slug, row)
        except (KeyError, TypeError, ValueError):
            return replace(report, detail=_OVERWRITTEN)
        return replace(learnt, stdout=ended.stdout, stderr=ended.stderr)


def _by_name(spec: PluginSpec) -> PluginSpec | None:
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


class _Ended(NamedTuple):
    """How a child has ended: its exit code, None where its time was up, and what it printed."""

    code: int | None
    stdout: str
    stderr: str
    seconds: float
    timeout: float


def _death(ended: _Ended, *, has_answered: bool) -> tuple[ProbeOutcome, str] | None:
    """Return outcome and detail of a child that did not end as it was to, None if it did."""
    if ended.code is None:
        told = f"it took more than {ended.timeout:g} seconds, and was ended"
        return ProbeOutcome.TIMEOUT, told
    if ended.code < 0:
        return ProbeOutcome.SIGNAL, _signal_name(-ended.code)
    if ended.code > 0 or not has_answered:
        return ProbeOutcome.EXIT, f"it ended the process with exit code {ended.code}"
    return None


def _signal_name(number: int) -> str:
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    described = signal.strsignal(number)
    return f"{name} ({described})" if described else name


def _not_started(ended: _Ended) -> str:
    last = ended.stderr.strip().rpartition("\n")[2]
    return f"{sys.executable!r} ended with code {ended.code} before it looked at it ({last})"


def _answer(file: Path, token: str) -> Any:
    """Return the answer in the file, or in a sentence why it is none; None without a file.

    A plugin may have put anything there.
    """
    try:
        # To open a named pipe would wait for a writer, who is gone.
        if not stat.S_ISREG(file.lstat().st_mode):
            return _OVERWRITTEN
        with file.open("rb") as stream:
            text = stream.read(_LARGEST_ANSWER + 1)
        if len(text) > _LARGEST_ANSWER:
            return _TOO_LARGE
        answer = json.loads(text)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError):
        return _OVERWRITTEN
    return answer if isinstance(answer, dict) and answer.get("token") == token else _OVERWRITTEN


def _scrubbed(report: ProbeReport, scrubber: Scrubber) -> ProbeReport:
    return replace(
        report,
        detail=scrubber.cut_text(report.detail),
        stdout=scrubber.cut_text(report.stdout),
        stderr=scrubber.cut_text(report.stderr),
        warnings=tuple(map(scrubber.cut_text, report.warnings)),
    )


_FROM_PLUGIN: Final = ("name", "description", "units", "default", "choices")
"""The fields of a setting that may hold any text."""


def _scrubbed_settings(rows: Any, scrubber: Scrubber) -> list[dict[str, Any]]:
    """Return the settings of an answer, scrubbed. Raises KeyError and TypeError for others."""
    return [{**row, **{name: scrubber.value(row[name]) for name in _FROM_PLUGIN}} for row in rows]


# -- the process -----------------------------------------------------------------------------


def _run(folder: str, timeout: float) -> _Ended:
    """Run the child of the request in ``folder`` to its end. Nothing of it is left afterwards."""
    started = time.monotonic()
    process = _started(folder)
    streams = [_Stream(each) for each in (process.stdout, process.stderr) if each is not None]
    try:
        for each in streams:
            each.start()
        in_time = waited(lambda: has_ended(process), timeout)
        seconds = time.monotonic() - started
        if not in_time and sys.platform != "win32":
            # The child's own handler for it tells on stderr where it hangs.
            os.kill(process.pid, signal.SIGABRT)
            waited(lambda: has_ended(process), _GRACE)
    finally:
        _end(process, f"{MARK}={folder}".encode())
    for each in streams:
        each.join(_GRACE)
    stdout, stderr = map(str, streams)
    code = process.returncode if in_time else None
    return _Ended(code=code, stdout=stdout, stderr=stderr, seconds=seconds, timeout=timeout)


def _started(folder: str) -> Popen[bytes]:
    import subprocess

    # What multiprocessing starts its children with, too.
    flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    path = [each for each in sys.path if type(each) is str]
    code = _START.format(path=path, folder=folder)
    return subprocess.Popen(  # noqa: S603 - there is no shell, and no argument is a plugin's
        [sys.executable or "", *flags, "-c", code],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, MARK: folder},
        start_new_session=True,
    )


class _Stream(Thread):
    """Reads one stream of a child while it runs. ``str()`` is what was kept of it."""

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__(name="plugreg-probe", daemon=True)
        self._stream = stream
        self._head = b""
        self._tail = b""
        self._is_cut = False

    def run(self) -> None:
        """Read to the end, which is there when every process that holds the stream is gone."""
        with self._stream:
            while data := os.read(self._stream.fileno(), KEPT):
                room = KEPT // 2 - len(self._head)
                self._head += data[:room]
                tail = self._tail + data[room:]
                self._is_cut |= len(tail) > KEPT // 2
                self._tail = tail[-(KEPT // 2) :]

    def __str__(self) -> str:
        if not self._is_cut:
            return (self._head + self._tail).decode(errors="replace")
        # Half a character at the cut would hide from a scrubber what stands before it.
        head = self._head.decode(errors="replace").rstrip("\ufffd")
        tail = self._tail.decode(errors="replace").lstrip("\ufffd")
        return f"{head} … {tail}"


def _end(process: Popen[bytes], mark: bytes) -> None:
    """End the child and all that it has started, and wait until they are gone."""
    if sys.platform == "win32":
        process.kill()
        process.wait()
        return
    # The group has the number of its first process, which was not waited for yet.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if sys.platform == "linux":
        # Some may have left the group, and each look may find what was forked since the last.
        waited(lambda: not _killed(mark), _GRACE)
    else:
        waited(lambda: not group_exists(process.pid), _GRACE)


def _killed(mark: bytes) -> int:
    """End every process that has the mark in its environment; return how many these were."""
    count = 0
    for each in Path("/proc").iterdir():
        if each.name.isdigit():
            # It is gone by now, or another user's.
            with suppress(OSError):
                if mark in (each / "environ").read_bytes().split(b"\0"):
                    os.kill(int(each.name), signal.SIGKILL)
                    count += 1
    return count
