"""The installed program as a user runs it: in a terminal and piped, and beside processes."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from plugreg.storage import TinyDBStorage

PROGRAM = Path(sys.executable).with_name("plugreg")
CRASH = "import os\nos._exit(3)\n"
ANSI = re.compile(r"\x1b\[[0-9;]*m")

SERVICE = """
import sys
import host
registry = host.make_registry(process="web")
registry.load()
print("serving", *registry.active, flush=True)
with registry.watch(0.1):
    sys.stdin.read()
registry.close()
"""


@pytest.fixture
def filled(shop):
    """Return a shop with three plugins, one of which is on."""
    shop.plugin("discount")
    shop.plugin("tax")
    shop.plugin("a-plugin-with-a-name-that-is-longer-than-anybody-would-want-to-type")
    shop.wish(discount=True)
    return shop


def in_terminal(shop, *args, columns=80, typed=b"", prompt=b"? [", **environ):
    """Run the program in a pseudo-terminal; return exit code and output."""
    shop.write_host()
    pid, terminal = pty.fork()
    if pid == 0:
        # A shell has its background jobs ignore it.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.chdir(shop.folder)
        given = shop.environ(PLUGREG_APP="host:make_registry", COLUMNS=str(columns), **environ)
        os.execve(PROGRAM, [str(PROGRAM), *args], given)
    shown = b""
    while select.select([terminal], [], [], 120)[0]:
        try:
            block = os.read(terminal, 65536)
        except OSError:
            break
        if not block:
            break
        shown += block
        if typed and prompt in shown:
            os.write(terminal, typed)
            typed = b""
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status), shown.decode().replace("\r\n", "\n")


@contextmanager
def service(shop):
    """Run a process with a registry until the block ends; give its first line."""
    shop.write_host()
    process = subprocess.Popen(
        [sys.executable, "-c", SERVICE],
        cwd=shop.folder,
        env=shop.environ(),
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    with process:
        process.stdout.readline()  # The host prints at import.
        yield process.stdout.readline().split()
        process.stdin.close()


class TestTerminal:
    @pytest.mark.parametrize("columns", [80, 120])
    def test_a_table_fits(self, filled, columns):
        """It is coloured, cut with an ellipsis, and no line is wider than the terminal."""
        code, shown = in_terminal(filled, "list", columns=columns)

        lines = [line for line in shown.splitlines() if not line.startswith("the host")]
        assert code == 0
        assert ANSI.search(shown)
        assert max(len(ANSI.sub("", line)) for line in lines) <= columns
        assert ("…" in shown) is (columns == 80)

    def test_no_colours_where_nobody_wants_them(self, filled):
        """By NO_COLOR, TERM=dumb and --color never; --color always wins over all of them."""
        for words, environ in (
            (["list"], {"NO_COLOR": "1"}),
            (["list"], {"TERM": "dumb"}),
            (["list", "--color", "never"], {"FORCE_COLOR": "1"}),
        ):
            assert not ANSI.search(in_terminal(filled, *words, **environ)[1]), (words, environ)
        always = in_terminal(filled, "list", "--color", "always", NO_COLOR="1")
        assert ANSI.search(always[1])

    def test_asks_for_consent(self, filled):
        """No is the default; the answer is read from the terminal."""
        code, shown = in_terminal(filled, "bisect", typed=b"good\n")

        assert code == 1
        assert "good or bad?" in shown

    def test_a_secret_that_is_typed_is_not_shown(self, filled):
        """Without a value it is asked for; the typed value is stored, and seen nowhere."""
        assert filled.run("probe", "discount").code == 0
        words = ("settings", "discount", "set", "API_KEY")
        code, shown = in_terminal(filled, *words, typed=b"hunter2-hunter2\n", prompt=b"API_KEY: ")

        assert code == 0, shown
        assert "hunter2" not in shown
        assert "hunter2-hunter2" in filled.store.read_text()

    def test_the_keyboard_ends_it(self, filled):
        """Ctrl-C: exit code 130, without a traceback."""
        code, shown = in_terminal(filled, "bisect", typed=b"\x03")

        assert code == 130
        assert "Traceback" not in shown


class TestPipes:
    def test_without_a_terminal_there_are_no_colours(self, filled):
        """Unless FORCE_COLOR asks for them. JSON is the same at any width, and has none."""
        assert not ANSI.search(filled.program("list").out)
        assert ANSI.search(filled.program("list", env={"FORCE_COLOR": "1"}).out)
        documents = {
            filled.program("list", "--json", env=environ).out
            for environ in ({"FORCE_COLOR": "1"}, {"COLUMNS": "20"}, {"COLUMNS": "200"})
        }
        assert len(documents) == 1
        assert json.loads(documents.pop())["ok"] is True

    def test_a_reader_that_leaves(self, filled):
        """Nothing is said of it."""
        reader, writer = os.pipe()
        os.close(reader)
        done = filled.program("list", capture_output=False, stdout=writer, stderr=subprocess.PIPE)
        os.close(writer)

        assert done.code == 0
        assert "Traceback" not in done.err
        assert "Broken pipe" not in done.err

    def test_closed_standard_output(self, filled):
        """A change is made; the answer cannot be shown."""
        filled.write_host()
        environ = filled.environ(PLUGREG_APP="host:make_registry")
        for command, code in (("list", 1), ("deactivate discount", 1)):
            done = subprocess.run(
                ["sh", "-c", f"{PROGRAM} {command} >&-"],
                cwd=filled.folder,
                env=environ,
                capture_output=True,
                text=True,
                check=False,
            )
            assert (done.returncode, "Traceback" in done.stderr) == (code, False), command
        assert filled.run("list", "--wanted", "--format", "names").out == ""

    def test_a_full_disk(self, filled):
        """The answer cannot be written: exit code 1, and why."""
        with Path("/dev/full").open("w") as full:
            streams = {"capture_output": False, "stdout": full, "stderr": subprocess.PIPE}
            done = filled.program("list", "--json", **streams)

        assert done.code == 1
        assert "No space left on device" in done.err
        assert "Traceback" not in done.err

    def test_an_interrupt(self, filled):
        """SIGINT while a command runs: exit code 130."""
        filled.write_host()
        with subprocess.Popen(
            [PROGRAM, "bisect", "--", "sleep", "60"],
            cwd=filled.folder,
            env=filled.environ(PLUGREG_APP="host:make_registry"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        ) as process:
            # The host prints, and the command is started soon after.
            process.stderr.readline()
            time.sleep(0.5)
            os.killpg(process.pid, signal.SIGINT)
            out, err = process.communicate(timeout=60)

        assert (process.returncode, out) == (130, "")
        assert "Traceback" not in err


class TestDisks:
    def test_a_locked_store(self, filled):
        """Exit code 5 for a writing command, after the lock's time-out; a listing does not wait."""
        url = f"tinydb:///{filled.store}?lock_timeout=0.2"
        storage = TinyDBStorage(filled.store)
        source = ("--store", url, "--group", "shop.plugins")
        with storage.transaction():
            listed = filled.program(*source, "list", env={"PYTHONPATH": filled.path})
            done = filled.program(
                *source, "deactivate", "discount", "--json", env={"PYTHONPATH": filled.path}
            )
        storage.close()

        assert listed.code == 0
        assert (done.code, done.document["error"]["code"]) == (5, "locked")

    def test_a_store_that_cannot_be_reached(self, filled):
        """Exit code 5."""
        source = ("--store", "tinydb:////no/such/folder/x.json", "--group", "shop.plugins")

        assert filled.program(*source, "list").code == 5

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts")
    def test_a_full_file_system(self, filled, tmp_path):
        """A change is refused with exit code 5, and the store stays as it was."""
        small = tmp_path / "small"
        small.mkdir()
        mounted = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)]
        if subprocess.run(mounted, check=False, capture_output=True).returncode:
            pytest.skip("nothing can be mounted here")
        try:
            store = small / "plugins.json"
            store.write_bytes(filled.store.read_bytes())
            before = store.read_bytes()
            filler = os.open(small / "filler", os.O_WRONLY | os.O_CREAT)
            with suppress(OSError):
                while True:
                    os.write(filler, b"x" * 512)
            os.close(filler)
            source = ("--store", f"tinydb:///{store}", "--group", "shop.plugins")
            environ = {"PYTHONPATH": filled.path}
            done = filled.program(*source, "deactivate", "discount", env=environ)
            after = store.read_bytes()
        finally:
            subprocess.run(["umount", str(small)], check=True)

        assert done.code == 5, done
        assert after == before


class TestHosts:
    def test_a_host_that_cannot_be_imported(self, filled):
        """Exit code 5, and the way round it."""
        filled.write_host()
        for text in ("1 / 0", "import sys; sys.exit(0)", "import no_such_module"):
            (filled.folder / "bad.py").write_text(text)
            done = filled.program("--app", "bad:registry", "list", "--json")
            assert (done.code, done.document["error"]["code"]) == (5, "host"), text
        assert filled.program("--app", "host:nothing", "list").code == 5
        assert filled.program("--app", "host", "list").code == 2
        assert filled.program("--app", "host:Hooks", "list").code == 5

    def test_the_nearest_pyproject(self, filled):
        """Its [tool.plugreg] names the host, from a folder below, too."""
        filled.write_host()
        (filled.folder / "pyproject.toml").write_text(
            '[tool.plugreg]\napp = "host:make_registry"\n'
        )
        below = filled.folder / "below"
        below.mkdir()
        environ = filled.environ()
        for words in ([PROGRAM], [sys.executable, "-m", "plugreg"]):
            done = subprocess.run(
                [*words, "list", "--format", "count"],
                cwd=below,
                env=environ,
                capture_output=True,
                text=True,
                check=False,
            )
            assert (done.returncode, done.stdout) == (0, "3\n"), done.stderr

    def test_without_the_extra(self, tmp_path, filled):
        """One line says what to install."""
        code = "import sys; sys.modules['click'] = None\nfrom plugreg.cli import main\nmain()\n"
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=filled.environ(),
            capture_output=True,
            text=True,
            check=False,
        )

        assert done.returncode == 5
        assert len(done.stderr.splitlines()) == 1
        assert "pip install 'plugreg[cli]'" in done.stderr


class TestBesideProcesses:
    def test_two_processes_are_heard_and_follow(self, filled):
        """SERVES counts them; a switched plugin is taken in by both."""
        with service(filled) as one, service(filled) as other:
            assert one == other == ["serving", "discount"]
            (row,) = filled.program("list", "--wanted", "--json").document["plugins"]
            assert (row["state"], row["serves"]) == ("active", "2/2")

            assert filled.program("activate", "tax").code == 0
            deadline = time.monotonic() + 60
            while filled.program("status", "--check").code and time.monotonic() < deadline:
                pass
            rows = filled.program("list", "--wanted", "--json").document["plugins"]
            assert [row["serves"] for row in rows] == ["2/2", "2/2"]

    def test_a_process_that_was_killed_is_not_heard(self, filled):
        """At once, not when its heartbeat is too old."""
        filled.write_host()
        words = [sys.executable, "-c", SERVICE]
        with subprocess.Popen(
            words,
            cwd=filled.folder,
            env=filled.environ(),
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as process:
            while not process.stdout.readline().startswith("serving"):
                pass
            assert filled.run("processes", "--format", "names").out == "web\n"
            process.kill()

        assert filled.run("processes", "--format", "names").out == ""
        (row,) = filled.run("list", "--wanted", "--json").document["plugins"]
        assert row["state"] == "unknown"

    def test_a_plugin_that_ends_the_service(self, shop):
        """Doctor names it while the service is down; once it is off the service starts."""
        shop.plugin("discount")
        shop.plugin("crash", CRASH)
        shop.wish(discount=True, crash=True)
        with service(shop) as first:
            assert first == []

        done = shop.program("doctor", "--json")
        assert done.code == 1
        assert "crash" in [row["slug"] for row in done.document["repairs"]]
        assert shop.program("deactivate", "crash").code == 0

        with service(shop) as again:
            assert again == ["serving", "discount"]


class TestMany:
    def test_a_thousand_plugins(self, shop):
        """All of them are listed, and none is imported."""
        for number in range(1000):
            shop.site.dist(
                f"shop-p{number}", "1.0", {"shop.plugins": {f"p{number}": f"shop_p{number}:P"}}
            )

        done = shop.program("list", "--json")

        assert (done.code, len(done.document["plugins"])) == (0, 1000)
        assert shop.program("list", "--format", "count").out == "1000\n"
