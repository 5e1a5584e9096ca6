"""A command runs without a shell, is told of line by line, and leaves nothing when it ends."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from queue import Queue

import pytest

import plugreg
from plugreg._support.command import Completed, _follow, _Output, last_lines, run
from plugreg._support.process import has_ended
from plugreg._support.url_secrets import masker

SECRET = "s3cret-canary"

# It holds a lock on a file while it lives, and so tells whether it does.
HOLDER = """
import fcntl, os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN if "deaf" in sys.argv else signal.SIG_DFL)
if "session" in sys.argv:
    os.setsid()
lock = open(sys.argv[1], "w")
fcntl.flock(lock, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(600)
"""
# It starts one of these, waits until it has the lock, and ends or stays.
PARENT = f"""
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", {HOLDER!r}, *sys.argv[1:]], stdout=subprocess.PIPE)
child.stdout.readline()
print("ready", flush=True)
if "stays" in sys.argv:
    time.sleep(600)
"""
# The same, but the child has the stream of its parent.
SHARING = f"""
import subprocess, sys
subprocess.Popen([sys.executable, "-c", {HOLDER!r}, *sys.argv[1:]])
"""


def python(code, *arguments, **how):
    given = {"timeout": 60.0, "environment": {"PATH": os.environ["PATH"]}} | how
    return run([sys.executable, "-c", code, *map(str, arguments)], **given)


def is_free(lock: Path) -> bool:
    """Return whether whoever held the lock has ended."""
    with lock.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


class TestOutput:
    def test_both_streams_are_kept_in_order_with_the_exit_code(self):
        """Output to either is passed on as it was written, and an exit code is no error."""
        done = python(
            "import os, sys\n"
            "for at in range(5):\n"
            "    os.write(1 + at % 2, b'line %d\\n' % at)\n"
            "sys.exit(3)"
        )

        assert done == Completed(3, "line 0\nline 1\nline 2\nline 3\nline 4")

    def test_each_line_is_told_as_it_comes(self, tmp_path):
        """The command goes on only when its first line was told, which it waits for."""
        answer = tmp_path / "answer"
        told = []

        def listen(line):
            told.append(line)
            answer.touch()

        python(
            "import pathlib, sys, time\n"
            "print('first', flush=True)\n"
            "while not pathlib.Path(sys.argv[1]).exists(): time.sleep(0.01)\n"
            "print('second')",
            answer,
            listen=listen,
        )

        assert told == ["first", "second"]

    @pytest.mark.parametrize("error", [ValueError("no"), SystemExit(1)])
    def test_a_listener_that_fails_costs_nothing(self, error):
        """The command runs to its end, and all that it tells is kept."""

        def listen(line):
            raise error

        assert python("print('a'); print('b')", listen=listen) == Completed(0, "a\nb")

    def test_secrets_are_masked_for_all(self):
        """Neither the listener nor the output has them, nor credentials in any URL."""
        told = []
        done = python(
            "import sys; print(sys.argv[1]); print('https://me:pw@example.org/x?token=abc')",
            f"password {SECRET}, and again: {SECRET}",
            mask=masker([SECRET]),
            listen=told.append,
        )

        assert told == done.output.splitlines()
        for secret in (SECRET, "me:pw", "abc"):
            assert secret not in done.output

    def test_an_overlong_line_is_left_out(self):
        """Where it was cut, half a secret would stand, which nobody could find."""
        done = python(
            "import sys\n"
            "print('before')\n"
            "sys.stdout.write('x' * 8186 + sys.argv[1] + 'x' * 200_000 + '\\n')\n"
            "print('after')",
            SECRET,
            mask=masker([SECRET]),
        )

        assert done.output.splitlines()[::2] == ["before", "after"]
        assert len(done.output) < 1_000

    def test_the_last_megabyte_is_kept(self):
        """A command that tells without end fills no memory; its last lines matter."""
        done = python("for at in range(20_000): print('x' * 100, at)")

        assert done.output.endswith("x 19999")
        assert 900_000 < len(done.output) <= 1_000_000

    def test_a_text_that_is_no_utf8_is_told_nevertheless(self):
        """Its odd bytes are replaced."""
        done = python("import os; os.write(1, b'caf\\xe9\\n')")

        assert done.output == "caf\N{REPLACEMENT CHARACTER}"


class TestSurroundings:
    def test_there_is_no_terminal(self):
        """Nothing can be asked there, since the session is its own."""
        assert python("import os; print(os.getsid(0) == os.getpid())").output == "True"

    def test_there_is_no_input(self):
        """Input of the host's own process is not the command's."""
        with host("import sys; print(repr(sys.stdin.read()))") as process:
            assert process.communicate("an answer", timeout=60)[0] == "''\n"

    def test_arguments_reach_the_program_as_they_are(self):
        """No shell looks at them."""
        arguments = ["$HOME", "`id`", "a b", "; exit 1", "*", "--", "-x", ""]
        done = python("import sys; print(sys.argv[1:])", *arguments)

        assert done.output == repr(arguments)

    def test_it_has_the_variables_that_it_is_given(self, monkeypatch, tmp_path):
        """Nothing of this process's environment passes by itself; it works in the folder."""
        monkeypatch.setenv("PLUGREG_CANARY", SECRET)
        done = python(
            "import os; print(os.getcwd(), sorted(os.environ))",
            environment={"PATH": os.environ["PATH"], "GIVEN": "1", "LC_ALL": "C.UTF-8"},
            folder=tmp_path,
        )

        assert done.output == f"{tmp_path} ['GIVEN', 'LC_ALL', 'PATH']"

    @pytest.mark.parametrize("program", ["/no/such/program", "/etc/passwd", ""])
    def test_a_program_that_cannot_be_started_is_told(self, program):
        """The reason names it."""
        with pytest.raises(OSError, match=f"{program!r} is no program"):
            run([program], timeout=60, environment={})


class TestEnding:
    @pytest.mark.parametrize("deaf", [(), ("deaf",)])
    def test_after_its_time_all_of_it_is_ended(self, tmp_path, deaf):
        """Its children too, and those that ignore to be asked; its output stays."""
        lock = tmp_path / "lock"
        # On a machine that is slow, or pauses, it takes longer until there is anything to end.
        for seconds in (1.5, 6.0, 24.0, 96.0):
            told = []
            done = python(PARENT, lock, "stays", *deaf, timeout=seconds, listen=told.append)
            if told:
                break

        assert is_free(lock)
        assert done == Completed(None, "ready")

    def test_a_command_that_never_stops_telling_has_its_time_too(self):
        """Its lines do not put off the end."""
        assert python("while True: print('x' * 100)", timeout=1).code is None

    def test_one_that_has_ended_was_in_time(self):
        """However late that is seen, as where the machine has paused: nothing is undone for it."""
        lines: Queue[bytes | None] = Queue()
        for each in (b"done\n", None):
            lines.put(each)
        with subprocess.Popen([sys.executable, "-c", ""]) as process:
            assert _waited_for(lambda: has_ended(process))
            output = _Output(str, None)
            assert _follow(process, lines, output, deadline=time.monotonic())

        assert list(output.lines) == ["done"]

    @pytest.mark.parametrize("error", [KeyboardInterrupt(), GeneratorExit()])
    def test_an_interrupt_ends_all_of_it(self, tmp_path, error):
        """An exception while lines are passed on propagates when nothing is left."""
        lock = tmp_path / "lock"

        def listen(line):
            raise error

        with pytest.raises(type(error)):
            python(PARENT, lock, "stays", listen=listen)

        assert is_free(lock)

    def test_a_real_interrupt_ends_all_of_it(self, tmp_path):
        """Ctrl-C in the host's own process ends the command, which has another session."""
        lock = tmp_path / "lock"
        with host(PARENT, lock, "stays") as process:
            assert process.stdout.readline() == "ready\n"
            process.send_signal(signal.SIGINT)
            process.wait(timeout=60)

            assert is_free(lock)
            assert "KeyboardInterrupt" in process.stderr.read()

    @pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
    def test_a_killed_host_takes_its_command_along(self, tmp_path):
        """An installer that went on would change the environment while it is put back."""
        lock = tmp_path / "lock"
        with host(HOLDER, lock) as process:
            assert process.stdout.readline() == "held\n"
            process.kill()
            process.wait(timeout=60)

        assert _waited_for(lambda: is_free(lock))

    def test_what_is_left_behind_is_ended(self, tmp_path):
        """A command that has ended leaves no child that could still change something."""
        lock = tmp_path / "lock"

        assert python(PARENT, lock) == Completed(0, "ready")
        assert is_free(lock)

    def test_a_child_that_keeps_the_stream_is_not_waited_for(self, tmp_path):
        """The end of the command counts, not that of the stream."""
        lock = tmp_path / "lock"

        assert python(SHARING, lock) == Completed(0, "held")
        assert is_free(lock)

    def test_one_that_has_left_the_session_is_not_waited_for(self, tmp_path):
        """It cannot be ended with it, but neither does it hold anything up."""
        lock = tmp_path / "lock"
        code = HOLDER.replace("print(", "print(os.getpid(), ")
        done = python(SHARING.replace(repr(HOLDER), repr(code)), lock, "session")
        pid, said = done.output.split()
        os.kill(int(pid), signal.SIGKILL)

        assert said == "held"
        assert _waited_for(lambda: is_free(lock))


def host(code, *arguments):
    """Start a process that runs a command, and prints each line of it."""
    root = str(Path(plugreg.__file__).parents[1])
    program = (
        "import signal, sys\n"
        "from plugreg._support.command import run\n"
        # Where the tests run in the background, the shell has them ignore it.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "run([sys.executable, '-c', *sys.argv[1:]], timeout=600, environment={},\n"
        "    listen=lambda line: print(line, flush=True))\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", program, code, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": root},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _waited_for(condition) -> bool:
    """Wait until a condition holds, for at most a minute."""
    deadline = time.monotonic() + 60
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


def test_reasons_are_the_last_lines_without_tracebacks():
    """Of a traceback the exception is one, its frames are not; blank lines are left out."""
    lines = ["before", "", "Traceback (most recent call last):", "  File x", "ValueError: no"]
    assert last_lines(lines) == ["before", "ValueError: no"]
    assert last_lines(map(str, range(100))) == [str(number) for number in range(80, 100)]
