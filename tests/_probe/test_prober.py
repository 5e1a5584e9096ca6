"""A plugin is looked at in a child process, and whatever it does there, a report says."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import textwrap
from datetime import UTC, datetime
from pathlib import Path

import pytest

import plugreg
from plugreg import Plugin, PluginBlockedError, PluginNotFoundError, PluginState, StorageError
from plugreg._probe.child import REPORT
from plugreg._probe.prober import KEPT, MARK, Prober
from plugreg._state.probe_report import (
    ProbedSetting,
    ProbeOutcome,
    ProbeReport,
    ProbeUnavailableError,
)
from plugreg._state.probe_rows import PROBES, ProbeRows
from plugreg._support.guard import LONGEST_MESSAGE
from plugreg._support.redact import MASK, Scrubber
from plugreg.discovery import Sources
from plugreg.mixins import MIXINS, MixinSpec
from plugreg.records import HostRules, KnownPlugin, PluginSpec, Snapshot, Source
from plugreg.storage import MemoryStorage, TinyDBStorage

ROOT = Path(plugreg.__file__).parents[1]
LONG = 60.0
"""Seconds that no test waits for: what is asked comes earlier, or the test fails."""
SECONDS = (1.0, 4.0, 16.0, LONG)
"""Seconds for what hangs, which must come so far in them; the first are enough on most machines."""

HOST = """
class BarcodeMixin:
    def scan(self): ...
"""

posix = pytest.mark.skipif(os.name != "posix", reason="it is described in the words of POSIX")
linux = pytest.mark.skipif(sys.platform != "linux", reason="only /proc lists all processes")


class Shop:
    """A host whose plugins are distributions in a folder, with all that a prober is made of."""

    def __init__(self, site, **rules):
        self.site = site
        self.storage = MemoryStorage()
        self.probe_rows = ProbeRows(self.storage)
        self.rules = HostRules(**rules)
        self.sources = Sources(group="shop.plugins")
        self.mixins = MIXINS
        self.scrubber = Scrubber()

    def plugin(self, source, slug="tea", value=None, **how):
        """Bring a distribution with one plugin, whose class is called Tea."""
        module = f"shop_{slug}"
        points = {"shop.plugins": {slug: value or f"{module}:Tea"}}
        modules = {f"{module}.py": textwrap.dedent(source)}
        self.site.dist(f"shop-{slug}", entry_points=points, modules=modules, **how)

    @property
    def snapshot(self):
        found = self.sources.find().specs
        return Snapshot(
            plugins={
                spec.slug: KnownPlugin(
                    slug=spec.slug,
                    pk=1,
                    wanted=False,
                    state=PluginState.INACTIVE,
                    reason="is inactive",
                    name=spec.name,
                    distribution=spec.distribution,
                    spec=spec,
                )
                for spec in found
            }
        )

    def probe(self, slug="tea", timeout=LONG):
        prober = Prober(
            host="shop",
            implicit_prefix=None,
            rules=self.rules,
            mixins=self.mixins,
            current=lambda: self.snapshot,
            probe_rows=self.probe_rows,
            scrubber=lambda _: self.scrubber,
        )
        return prober.probe(slug, timeout)

    def probe_hanging(self, hangs):
        """Probe a plugin that hangs, and makes the file ``hangs`` just before; say for how long.

        A machine that is slow, or pauses, may have brought it there only when it has more time.
        """
        for seconds in SECONDS:
            report = self.probe(timeout=seconds)
            if hangs.exists():
                return seconds, report
        pytest.fail(f"it does not come to where it hangs: {report}")


@pytest.fixture
def shop(site, monkeypatch):
    monkeypatch.syspath_prepend(str(site))
    # With it nothing that is printed would have to be flushed.
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    return Shop(site)


def tea(before, inside="pass"):
    """Return the source of a plugin whose module begins with ``before``."""
    head = "from plugreg import Plugin, hookimpl\nfrom plugreg.mixins import SettingsMixin\n"
    body = textwrap.indent(textwrap.dedent(inside), "    ")
    return f"{head}{textwrap.dedent(before)}\nclass Tea(Plugin):\n{body}\n"


class TestWhatItBrings:
    SOURCE = """
        import warnings
        import pluggy
        from plugreg import Plugin, hookimpl
        from plugreg.mixins import NavigationMixin, SettingsMixin
        from shop_parts import BarcodeMixin

        warnings.warn("an old way", DeprecationWarning)
        print("hello")

        class Tea(BarcodeMixin, NavigationMixin, SettingsMixin, Plugin):
            VERSION = "2.0"
            PUBLISH_DATE = "no date"
            SETTINGS = {
                "PERCENT": {
                    "name": "Per cent",
                    "description": "Off each price",
                    "units": "%",
                    "default": 10,
                    "validator": int,
                    "required": True,
                },
                "MODE": {"choices": [("a", "All"), ("n", "None")], "hidden": True},
                "KEY": {"default": "sk-live-1234567", "protected": True},
                "ASKED": {"default": lambda: 1 / 0, "choices": lambda: 1 / 0},
            }
            USER_SETTINGS = {"BADGE": {"default": True, "validator": bool}}

            @hookimpl
            def price(self): ...

            @pluggy.HookimplMarker("shop")
            def owner(self): ...
        """

    @pytest.fixture
    def report(self, shop):
        shop.site.dist("shop-parts", modules={"shop_parts.py": HOST})
        shop.plugin(self.SOURCE)
        import shop_parts

        own = MixinSpec("barcode", "Barcodes", shop_parts.BarcodeMixin, order=5)
        shop.mixins = (*MIXINS, own)
        yield shop.probe()
        del sys.modules["shop_parts"]

    def test_is_reported(self, report, shop):
        """Mixins, the host's own too, settings, hooks, warnings and print-out are in the report."""
        assert (report.slug, report.version) == ("tea", "1.0")
        assert (report.outcome, report.detail) == (ProbeOutcome.OK, "")
        assert report.outcome == "ok"
        assert not report.ends_host
        assert report.mixins == {
            "base": "base",
            "barcode": "Barcodes",
            "settings": "Settings",
            "navigation": next(e.human_name for e in MIXINS if e.key == "navigation"),
        }
        assert list(report.mixins)[:3] == ["base", "barcode", "settings"]
        assert report.hooks == ("owner", "price")
        assert (report.stdout, report.stderr) == ("hello\n", "")
        old, date = report.warnings
        assert old.startswith("DeprecationWarning: an old way (")
        assert "PUBLISH_DATE" in date
        assert report.at.tzinfo is UTC
        assert report.memory is None or report.memory > 0
        assert 0 < report.seconds < LONG

    def test_settings_are_data(self, report):
        """Each setting has its words, type, default and choices as texts, in the order declared."""
        assert list(report.settings) == ["PERCENT", "MODE", "KEY", "ASKED"]
        assert report.settings["PERCENT"] == ProbedSetting(
            key="PERCENT",
            name="Per cent",
            description="Off each price",
            units="%",
            type="integer",
            default="10",
            choices=(),
            required=True,
            protected=False,
            hidden=False,
        )
        mode = report.settings["MODE"]
        assert (mode.choices, mode.hidden) == ((("a", "All"), ("n", "None")), True)
        assert mode.default is None
        badge = report.user_settings["BADGE"]
        assert (badge.type, badge.default) == ("boolean", "True")

    def test_protected_defaults_are_not_reported(self, report, shop):
        """A protected default leaves the child by no way, and gets into no storage."""
        assert report.settings["KEY"].protected
        assert report.settings["KEY"].default is None
        assert "sk-live" not in repr(report)
        assert "sk-live" not in json.dumps(shop.storage.read(PROBES))

    def test_what_only_the_plugin_tells_is_not_asked(self, report):
        """A callable default or choice is not called."""
        asked = report.settings["ASKED"]

        assert (asked.default, asked.choices) == (None, ())

    def test_nothing_is_imported_here(self, report):
        """The plugin ran in the child alone."""
        assert "shop_tea" not in sys.modules


DEATHS = {
    "exception": ("raise ValueError('no tea')", "error", "import: ValueError: no tea"),
    "syntax": ("def", "error", "import: SyntaxError"),
    "recursion": ("def f(): f()\nf()", "error", "import: RecursionError"),
    "input": ("input()", "error", "import: EOFError"),
    "missing": ("import no_such_module", "error", "import: ModuleNotFoundError"),
    "foreign": ("class Odd(BaseException): ...\nraise Odd('no')", "error", "import: Odd: no"),
    "sys.exit": ("import sys\nsys.exit('usage: tea')", "exit", "import: SystemExit: usage: tea"),
    "os._exit(0)": ("import os\nos._exit(0)", "exit", "exit code 0"),
    "os._exit(7)": ("import os\nos._exit(7)", "exit", "exit code 7"),
    "daemon": ("import os\nif os.fork(): os._exit(0)", "exit", "exit code 0"),
    "segfault": ("import ctypes\nctypes.string_at(0)", "signal", "SIGSEGV"),
    "abort": ("import os\nos.abort()", "signal", "SIGABRT"),
    "kill": ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "signal", "SIGKILL"),
    "interrupt": ("raise KeyboardInterrupt", "signal", "SIGINT"),
}


class TestHowItDies:
    @posix
    @pytest.mark.parametrize(("source", "outcome", "detail"), DEATHS.values(), ids=DEATHS.keys())
    def test_is_reported(self, shop, source, outcome, detail):
        """Each way to end has its outcome, and the detail describes it."""
        shop.plugin(tea(source))

        report = shop.probe()

        assert report.outcome == outcome
        assert detail in report.detail
        assert report.ends_host == (outcome != "error")
        assert (report.mixins, report.settings, report.hooks) == ({}, {}, ())

    @pytest.mark.parametrize(
        ("source", "outcome", "detail"),
        [
            ("raise ValueError('dry')", "error", "init: ValueError: dry"),
            ("import sys; sys.exit(3)", "exit", "init: SystemExit: 3"),
            ("self.get_setting('KEY')", "error", "init: PluginNotBoundError"),
        ],
    )
    def test_in_the_constructor(self, shop, source, outcome, detail):
        """It is constructed, as a load does; it is bound to nothing, as in a constructor ever."""
        shop.plugin(tea("", f"def __init__(self):\n    {source}"))

        report = shop.probe()

        assert (report.outcome, report.detail[: len(detail)]) == (outcome, detail)

    def test_tells_where_on_stderr(self, shop):
        """The traceback of the exception is part of the output."""
        shop.plugin(tea("def brew():\n    raise ValueError('dry')\nbrew()"))

        report = shop.probe()

        assert "in brew" in report.stderr
        assert report.stderr.endswith("ValueError: dry\n")

    @posix
    def test_a_hang_is_ended(self, shop, tmp_path):
        """A plugin that takes too long is ended; its output, and its place, are reported."""
        hangs = tmp_path / "hangs"
        shop.plugin(
            tea(
                f"""
                print('boiling', flush=True)
                def boil():
                    open({str(hangs)!r}, "w").close()
                    while True: pass
                boil()
                """
            )
        )

        seconds, report = shop.probe_hanging(hangs)

        assert report.outcome == "timeout"
        assert f"{seconds:g} seconds" in report.detail
        assert report.stdout == "boiling\n"
        assert "in boil" in report.stderr
        assert report.seconds >= seconds

    @pytest.mark.parametrize(
        "source",
        [
            "import threading\nthreading.Thread(target=threading.Event().wait).start()",
            "import threading\nthreading.Thread(target=input, daemon=True).start()",
            "import atexit, threading\natexit.register(threading.Event().wait)",
        ],
        ids=["thread", "daemon thread", "exit function"],
    )
    def test_what_hangs_at_exit_is_not_waited_for(self, shop, source):
        """Once the plugin is constructed the report is complete, and the child ends."""
        shop.plugin(tea(source))

        assert shop.probe().outcome == "ok"

    def test_wrong_settings_are_an_error(self, shop):
        """A fault that activation would refuse is reported in the same words."""
        settings = "SETTINGS = {'PERCENT': {'nmae': 'Per cent'}}"
        shop.plugin(tea("", settings).replace("(Plugin)", "(SettingsMixin, Plugin)"))

        report = shop.probe()

        assert report.outcome == "error"
        assert "'nmae'" in report.detail

    def test_what_does_not_suit_the_host(self, site, monkeypatch):
        """Its constructor does not run, as in a load."""
        monkeypatch.syspath_prepend(str(site))
        shop = Shop(site, version="1.0")
        inside = "MIN_VERSION = '3'\ndef __init__(self): print('made')"
        shop.plugin(tea("", inside))

        report = shop.probe()

        assert (report.outcome, report.stdout) == ("error", "")
        assert "1.0" in report.detail

    def test_what_is_no_plugin(self, shop):
        """An entry point that leads to nothing of use is refused as a load refuses it."""
        shop.plugin("Tea = 3")

        report = shop.probe()

        assert report.outcome == "error"
        assert report.detail.startswith("init: TypeError: 3 is no plugin")


class TestPrintOut:
    def test_of_any_size(self, shop):
        """Megabytes on both streams stop nobody; the beginning and the end are kept."""
        shop.plugin(
            tea(
                """
                import sys
                for stream in (sys.stdout, sys.stderr):
                    stream.write("first" + "é" * 3_000_000 + "last")
                """
            )
        )

        report = shop.probe()

        assert report.outcome == "ok"
        for text in (report.stdout, report.stderr):
            assert text.startswith("firsté")
            assert text.endswith("élast")
            assert " … " in text
            assert "\ufffd" not in text
            assert KEPT - 8 <= len(text.replace(" … ", "").encode()) <= KEPT

    @pytest.mark.parametrize("size", [0, 1, KEPT // 2, KEPT // 2 + 1, KEPT])
    def test_is_whole_up_to_the_limit(self, shop, size):
        """Output that fits is kept as it is."""
        shop.plugin(tea(f"import sys\nsys.stdout.write('x' * {size})"))

        assert shop.probe().stdout == "x" * size

    def test_is_scrubbed(self, shop):
        """Protected values of the plugin are in no string of the report, nor in the stored row.

        Neither is the piece of one that stands where the print-out was cut.
        """
        shop.scrubber = Scrubber(["hunter2-hunter2"])
        half = KEPT // 2
        shop.plugin(
            f"""
            import sys, warnings
            from plugreg import Plugin
            from plugreg.mixins import SettingsMixin
            first = "password hunter2-hunter2 "
            sys.stdout.write(first.ljust({half} - 8, "x") + "hunter2-hunter2" + "y" * {KEPT})
            print("hunter2-hunter2", file=sys.stderr)
            warnings.warn("hunter2-hunter2")
            class Tea(SettingsMixin, Plugin):
                SETTINGS = {{"KEY": {{"name": "hunter2-hunter2", "default": "hunter2-hunter2",
                                      "choices": [("hunter2-hunter2", "hunter2-hunter2")]}}}}
            """
        )

        report = shop.probe()

        assert report.outcome == "ok"
        assert report.stdout.startswith(f"password {MASK} x")
        assert "hunt" not in repr((report, report.stdout, report.stderr))
        assert report.settings["KEY"].default == MASK
        assert "hunt" not in json.dumps(shop.storage.read(PROBES))

    @pytest.mark.parametrize("field", ["name", "description", "units", "default", "choices"])
    def test_no_piece_is_left_where_a_setting_is_cut(self, shop, field):
        """A value that stands where a long text is cut is hidden, on both sides of the cut."""
        shop.scrubber = Scrubber(["hunter2-hunter2"])
        half = LONGEST_MESSAGE // 2
        ends = ("x" * (half - 7) + "hunter2-hunter2", "hunter2-hunter2" + "y" * (half - 7))
        text = "z".join(ends)
        given = [(text, text)] if field == "choices" else text
        settings = f"SETTINGS = {{'KEY': {{{field!r}: {given!r}}}}}"
        shop.plugin(tea("", settings).replace("(Plugin)", "(SettingsMixin, Plugin)"))

        report = shop.probe()

        shown = repr(report.settings)
        assert (report.outcome, MASK in shown) == ("ok", True)
        assert "hunt" not in shown
        assert "ter2" not in shown
        assert "hunt" not in json.dumps(shop.storage.read(PROBES))

    def test_detail_is_scrubbed(self, shop):
        """Its exception is scrubbed too."""
        shop.scrubber = Scrubber(["hunter2-hunter2"])
        shop.plugin(tea("raise ValueError('hunter2-hunter2')"))

        report = shop.probe()

        assert report.detail == f"import: ValueError: {MASK}"
        assert "hunter2" not in report.stderr


FORGED = {
    "garbage": "text = 'tea'",
    "no object": "text = '[]'",
    "deep": "text = '[' * 100_000",
    "no token": "text = json.dumps({**whole, 'token': 'guess'})",
    "nothing": "text = json.dumps({'token': token})",
    "wrong types": "text = json.dumps({**whole, 'hooks': [3]})",
    "wrong word": "text = json.dumps({**whole, 'outcome': 'fine'})",
    "unknown mixin": "text = json.dumps({**whole, 'mixins': ['admin']})",
    "wrong number": "text = json.dumps({**whole, 'seconds': float('nan')})",
    "endless number": "text = json.dumps({**whole, 'seconds': 10**400})",
    "wrong setting": "text = json.dumps({**whole, 'settings': [[]]})",
}


class TestTheChannel:
    @pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED.keys())
    def test_what_a_plugin_writes_on_it_is_an_error(self, shop, forge):
        """A plugin that finds the channel can only write values of a report to it."""
        shop.plugin(
            tea(
                f"""
                import json, os, sys
                frame = sys._getframe()
                while "request" not in frame.f_locals:
                    frame = frame.f_back
                token = frame.f_locals["request"].token
                whole = {{"token": token, "outcome": "ok", "detail": "", "seconds": 1.0,
                          "memory": 1, "mixins": [], "settings": [], "user_settings": [],
                          "hooks": [], "warnings": []}}
                {forge}
                with open(os.path.join(os.environ[{MARK!r}], {REPORT!r}), "w") as file:
                    file.write(text)
                os._exit(0)
                """
            )
        )

        report = shop.probe()

        assert report.outcome == "error"
        assert "cannot be read" in report.detail

    def test_more_than_is_read_is_reported_as_such(self, shop):
        """A plugin that declares very much has done nothing to the channel."""
        choices = "SETTINGS = {'KEY': {'choices': [(str(n), 'x' * 1000) for n in range(2000)]}}"
        shop.plugin(tea("", choices).replace("(Plugin)", "(SettingsMixin, Plugin)"))

        report = shop.probe()

        assert (report.outcome, report.ends_host) == ("error", False)
        assert "more than 1 MiB" in report.detail
        assert "written" not in report.detail

    @posix
    @pytest.mark.parametrize("put", ["os.mkfifo(place)", "os.symlink('/dev/zero', place)"])
    def test_what_is_no_file_is_not_waited_for(self, shop, put):
        """Nor does the host hang at an object that a plugin has put in the place of the channel."""
        place = f"place = os.path.join(os.environ[{MARK!r}], {REPORT!r})"
        shop.plugin(tea(f"import os\n{place}\n{put}\nos._exit(0)"))

        assert shop.probe().outcome == "error"

    @posix
    def test_without_a_channel(self, shop):
        """A plugin that takes the channel away leaves no report, and so has ended the process."""
        shop.plugin(tea(f"import os, shutil\nshutil.rmtree(os.environ[{MARK!r}])"))

        assert shop.probe().outcome == "exit"

    @posix
    def test_closed_files_do_not_break_it(self, shop):
        """A plugin that closes all files there are is reported like any other."""
        shop.plugin(tea("import os\nos.closerange(0, 256)", "@hookimpl\ndef price(self): ..."))

        report = shop.probe()

        assert (report.outcome, report.hooks) == ("ok", ("price",))

    @pytest.mark.parametrize("stream", ["stdout", "stderr"])
    def test_other_streams_do_not_break_it(self, shop, stream):
        """Nor does one that puts something else in the place of its streams."""
        shop.plugin(tea(f"import sys\nsys.{stream} = None"))

        assert shop.probe().outcome == "ok"

    def test_another_folder_does_not_break_it(self, shop, tmp_path):
        """Nor one that goes elsewhere; the host stays where it is."""
        here = Path.cwd()
        shop.plugin(tea(f"import os\nos.chdir({str(tmp_path)!r})"))

        assert shop.probe().outcome == "ok"
        assert Path.cwd() == here


def running(pid):
    """Return whether a process runs; one that has ended, and nobody has asked about, does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


@linux
class TestNothingIsLeft:
    @pytest.fixture
    def pids(self, tmp_path):
        """Yield the file in which a plugin writes the numbers of its processes."""
        file = tmp_path / "pids"
        yield file
        for name in file.read_text(encoding="ascii").split():
            assert not running(name)
            # Nor is it a child that has ended, and that nobody has waited for.
            with pytest.raises(ChildProcessError):
                os.waitpid(int(name), os.WNOHANG)

    def note(self, file):
        return f"import os\nopen({str(file)!r}, 'a').write(f'{{os.getpid()}} ')"

    def test_of_one_that_hangs(self, shop, pids):
        """Ended processes are gone when the report is there."""
        shop.plugin(tea(f"{self.note(pids)}\nwhile True: pass"))

        assert shop.probe_hanging(pids)[1].outcome == "timeout"

    def test_of_one_that_starts_a_process(self, shop, pids):
        """Its children go with it, though they hold its streams, whatever their environment."""
        code = f"{self.note(pids)}\nimport time\ntime.sleep(600)"
        shop.plugin(
            tea(
                f"""
                import os, subprocess, sys, time
                subprocess.Popen([sys.executable, "-c", {code!r}], env={{}})
                while not os.path.exists({str(pids)!r}):
                    time.sleep(0.01)
                """
            )
        )

        assert shop.probe().outcome == "ok"

    def test_of_one_that_leaves_its_session(self, shop, pids):
        """So are processes that have made themselves independent."""
        shop.plugin(
            tea(
                f"""
                import os, time
                read, write = os.pipe()
                if os.fork() == 0:
                    os.setsid()
                    if os.fork() == 0:
                        open({str(pids)!r}, "a").write(f"{{os.getpid()}} ")
                        os.write(write, b"x")
                        time.sleep(600)
                    os._exit(0)
                os.read(read, 1)
                """
            )
        )

        assert shop.probe().outcome == "ok"

    def test_of_one_that_forks_and_goes_on(self, shop, pids):
        """A copy of the child that goes on writes no report in the place of the child."""
        shop.plugin(
            tea(
                f"""
                import os
                copy = os.fork()
                with open({str(pids)!r}, "a") as file:
                    file.write(f"{{os.getpid()}} ")
                if copy:
                    os.waitpid(copy, 0)
                    os._exit(0)
                """
            )
        )

        report = shop.probe()

        assert report.outcome == "exit"

    def test_of_one_that_waits_for_an_interrupted_host(self, shop, pids):
        """A Ctrl-C while the host waits passes, and ends the child."""
        interrupt = "import signal\nos.kill(os.getppid(), signal.SIGINT)\nwhile True: pass"
        shop.plugin(tea(f"{self.note(pids)}\n{interrupt}"))

        # Where the tests run in the background, the shell has them ignore SIGINT.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            with pytest.raises(KeyboardInterrupt):
                shop.probe()
        finally:
            signal.signal(signal.SIGINT, before)
        assert shop.storage.revision() == 0


@posix
def test_a_child_outlives_no_host_that_was_killed(site, tmp_path):
    """Nobody is left to end it, so it ends itself soon after its time was up."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    end = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    shop = Shop(site)
    shop.plugin(
        tea(
            f"""
            import os, signal
            held = open({str(fifo)!r}, "w")
            os.kill(os.getppid(), signal.SIGKILL)
            while True: pass
            """
        )
    )

    for seconds in SECONDS:
        with run_host(f"print(probe({seconds}))", path=[site]) as host:
            host.communicate()
        if host.returncode:
            break
    assert host.returncode == -signal.SIGKILL
    select.select([end], [], [], LONG)
    assert os.read(end, 1) == b""
    os.close(end)


def run_host(code, *flags, path, **how):
    """Start a process that has ``probe(timeout)``, which gives the report of the plugin tea."""
    start = (
        "import sys\n"
        f"sys.path[:0] = {[str(entry) for entry in path]!r}\n"
        "from plugreg.discovery import Sources\n"
        "from plugreg.mixins import MIXINS\n"
        "from plugreg._probe.prober import Prober\n"
        "from plugreg._state.probe_rows import ProbeRows\n"
        "from plugreg.records import KnownPlugin, Snapshot\n"
        "from plugreg.records import HostRules\n"
        "from plugreg.storage import MemoryStorage\n"
        "from plugreg._support.redact import Scrubber\n"
        "def probe(timeout):\n"
        "    (spec,) = Sources(group='shop.plugins').find().specs\n"
        "    known = KnownPlugin(slug='tea', pk=0, wanted=False, state='', reason='', name='tea',\n"
        "                        distribution=None, spec=spec)\n"
        "    prober = Prober(host='shop', implicit_prefix=None, rules=HostRules(), mixins=MIXINS,\n"
        "                    current=lambda: Snapshot(plugins={'tea': known}),\n"
        "                    probe_rows=ProbeRows(MemoryStorage()),\n"
        "                    scrubber=lambda _: Scrubber())\n"
        "    return prober.probe('tea', timeout)\n"
    )
    return subprocess.Popen(
        [sys.executable, *flags, "-c", start + code],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
        **how,
    )


class TestTheChild:
    def test_is_a_python_like_this_one(self, site, tmp_path):
        """Flags, path, folder and environment variables are those of the host; there is no input.

        Entries that were put into ``sys.path`` while the host ran count as well.
        """
        shop = Shop(site)
        # The path has a space and a quote, which no shell comes to see.
        late = tmp_path / "it's late"
        late.mkdir()
        shop.plugin(
            tea(
                """
                import json, os, sys
                flags = sys.flags
                print(json.dumps([sys.path, os.getcwd(), flags.optimize, flags.utf8_mode,
                                  sys.warnoptions, os.environ.get("SHOP_HOST"), sys.stdin.read(),
                                  sys.executable]))
                """
            )
        )
        flags = ["-O", "-X", "utf8", "-W", "error::UserWarning"]
        code = (
            "import json, os, sys\n"
            "os.environ['SHOP_HOST'] = 'yes'\n"
            "report = probe(60)\n"
            "print(json.dumps([sys.path, report.outcome, report.detail]))\n"
            "print(report.stdout)\n"
        )

        how = {"path": [site, late], "cwd": tmp_path, "stdin": subprocess.PIPE}
        with run_host(code, *flags, **how) as host:
            printed = host.communicate("what the host is to read")[0]
        mine, theirs = map(json.loads, printed.split("\n")[:2])

        assert mine[1:] == ["ok", ""]
        assert theirs == [
            mine[0],
            str(tmp_path),
            1,
            1,
            ["error::UserWarning"],
            "yes",
            "",
            sys.executable,
        ]

    def test_warnings_that_are_errors_are_errors_there(self, site):
        """A host that is run with ``-W error`` would see the plugin fail, and so does the probe."""
        shop = Shop(site)
        shop.plugin(tea("import warnings\nwarnings.warn('old')"))

        with run_host("print(probe(60).detail)", "-W", "error", path=[site]) as host:
            printed = host.communicate()[0]

        assert printed == "import: UserWarning: old\n"

    @pytest.mark.parametrize("writes", [True, False])
    def test_leaves_bytecode_as_an_import_does(self, shop, monkeypatch, writes):
        """Where the host writes compiled modules a probe does too, and nowhere else."""
        monkeypatch.setattr(sys, "dont_write_bytecode", not writes)
        monkeypatch.setattr(sys, "pycache_prefix", None)
        shop.plugin(tea(""))

        assert shop.probe().outcome == "ok"
        assert (shop.site.folder / "__pycache__").exists() == writes

    def test_is_marked(self, shop):
        """A plugin can say that it is only looked at."""
        shop.plugin(tea(f"import os\nprint({MARK!r} in os.environ)"))

        assert shop.probe().stdout == "True\n"
        assert MARK not in os.environ


class TestWhichPlugins:
    def test_in_a_folder(self, shop, tmp_path):
        """A file in a folder of plugins is loaded by its path, and nothing is written beside it."""
        folder = tmp_path / "plugins"
        folder.mkdir()
        (folder / "coffee.py").write_text(tea("print(__name__)").replace("Tea", "Coffee"))
        shop.sources = Sources(group="shop.plugins", directories=(folder,))

        report = shop.probe("coffee")

        assert (report.outcome, report.version) == ("ok", None)
        assert report.stdout.startswith("_plugreg_")
        assert [path.name for path in folder.iterdir()] == ["coffee.py"]

    def test_by_reference(self, shop):
        """An object that the host names is imported by that name."""
        shop.site.dist("parts", modules={"shop_parts.py": tea("")})
        shop.sources = Sources(group="shop.plugins", builtin=(("tea", "shop_parts:Tea"),))

        assert shop.probe().outcome == "ok"
        assert "shop_parts" not in sys.modules

    def test_of_another_host(self, shop):
        """A plain module with hook implementations is one, and has the base alone."""
        source = "import pluggy\n@pluggy.HookimplMarker('shop')\ndef price(): ...\n"
        shop.plugin(source, value="shop_tea")

        report = shop.probe()

        assert (report.outcome, report.mixins, report.hooks) == ("ok", {"base": "base"}, ("price",))

    def test_a_class_that_has_a_name(self, shop):
        """A class that the host gives is found again by its name."""
        shop.site.dist("parts", modules={"shop_parts.py": tea("print('imported')")})
        import shop_parts

        shop.sources = Sources(group="shop.plugins", builtin=(shop_parts.Tea, shop_parts))
        report = shop.probe()
        del sys.modules["shop_parts"]

        assert (report.outcome, report.stdout) == ("ok", "imported\n")

    def test_an_object_that_has_none(self, shop):
        """Others cannot be probed: the report says so, and nothing is run or remembered."""

        class Local(Plugin):
            """It stands in a function."""

        shop.sources = Sources(
            group="shop.plugins",
            builtin=(("local", Local), ("made", Local()), ("script", "__main__:Tea")),
        )
        for slug in ("local", "made", "script"):
            report = shop.probe(slug)

            assert (report.outcome, report.ends_host) == ("error", False)
            assert "module:attribute" in report.detail
        assert shop.storage.revision() == 0

    def test_none_that_is_not_there(self, shop):
        """An unknown slug is reported, with a near one."""
        shop.plugin(tea(""))

        with pytest.raises(PluginNotFoundError, match="did you mean 'tea'"):
            shop.probe("tee")

    def test_none_that_is_blocked(self, site, monkeypatch):
        """A plugin that the host forbids does not run in a child either."""
        monkeypatch.syspath_prepend(str(site))
        shop = Shop(site, blocked=frozenset({"tea"}))
        shop.plugin(tea(""))

        with pytest.raises(PluginBlockedError):
            shop.probe()

    @pytest.mark.parametrize("timeout", [0, -1.0, float("inf"), float("nan")])
    def test_not_for_ever(self, shop, timeout):
        """A time-out that is none is refused."""
        shop.plugin(tea(""))

        with pytest.raises(ValueError, match="timeout"):
            shop.probe(timeout=timeout)

    @pytest.mark.parametrize("executable", ["/no/such/python", "", None])
    def test_not_without_python(self, shop, monkeypatch, executable):
        """Where no child can be started nothing is said of the plugin."""
        shop.plugin(tea(""))
        monkeypatch.setattr(sys, "executable", executable)

        with pytest.raises(ProbeUnavailableError, match="cannot be started"):
            shop.probe()
        assert shop.storage.revision() == 0

    @posix
    def test_not_with_another_program(self, shop, monkeypatch, tmp_path):
        """Nor if the child never came to look at it, whatever its exit code."""
        shop.plugin(tea(""))
        program = tmp_path / "server"
        program.write_text("#!/bin/sh\necho unknown option -c >&2\nexit 2\n")
        program.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(program))

        with pytest.raises(ProbeUnavailableError, match=r"code 2 .*unknown option -c"):
            shop.probe()
        assert shop.storage.revision() == 0


SPEC = PluginSpec(
    slug="tea",
    name="tea",
    value="shop_tea:Tea",
    source=Source.ENTRY_POINT,
    distribution="shop-tea",
    version="1.0",
    stamp="1.0:7",
)
FILE = PluginSpec(slug="tea", name="tea", value="tea:Tea", source=Source.DIRECTORY, stamp="7")
REPORTED = ProbeReport(
    slug="tea",
    version="1.0",
    at=datetime(2025, 3, 1, 12, 30, tzinfo=UTC),
    outcome=ProbeOutcome.OK,
    detail="",
    stdout="printed",
    stderr="printed too",
    seconds=0.5,
    memory=1024,
    mixins={"base": "base", "settings": "Settings"},
    settings={
        "MODE": ProbedSetting(
            key="MODE",
            name="Mode",
            description="",
            units="",
            type="string",
            default="a",
            choices=(("a", "All"), ("n", "None")),
            required=False,
            protected=False,
            hidden=True,
        )
    },
    hooks=("owner", "price"),
    warnings=("UserWarning: old",),
)


class TestRemembering:
    def test_over_a_restart(self, tmp_path):
        """The report is there again after a restart, except the output."""
        storage = TinyDBStorage(tmp_path / "store.json")
        ProbeRows(storage).put(SPEC, REPORTED)
        storage.close()

        again = ProbeRows(TinyDBStorage(tmp_path / "store.json"))
        again.load()

        kept = again.of(SPEC)
        assert kept is not None
        assert (kept.stdout, kept.stderr) == ("", "")
        assert kept == type(kept)(
            **{
                name: getattr(REPORTED, name)
                for name in REPORTED.__dataclass_fields__
                if name not in ("stdout", "stderr")
            }
        )

    def test_the_last_one_counts(self):
        """A later probe takes the place of the earlier one."""
        probe_rows = ProbeRows(MemoryStorage())
        probe_rows.put(SPEC, REPORTED)
        other = ProbeReport(
            slug="tea", version="1.0", at=REPORTED.at, outcome=ProbeOutcome.SIGNAL, detail="SIGSEGV"
        )
        probe_rows.put(SPEC, other)

        assert probe_rows.of(SPEC) == other

    def test_for_that_version(self):
        """A report is not shown of another version, nor of another distribution or file."""
        from dataclasses import replace

        probe_rows = ProbeRows(MemoryStorage())
        probe_rows.put(SPEC, REPORTED)

        assert probe_rows.of(replace(SPEC, stamp="1.0:8")) == probe_rows.of(SPEC) != None  # noqa: E711
        assert probe_rows.of(replace(SPEC, version="1.1")) is None
        assert probe_rows.of(replace(SPEC, distribution="other-tea")) is None
        assert probe_rows.of(FILE) is None

    def test_for_that_file(self):
        """A file that has no version is another one when it has changed."""
        from dataclasses import replace

        probe_rows = ProbeRows(MemoryStorage())
        probe_rows.put(FILE, REPORTED)

        assert probe_rows.of(FILE) is not None
        assert probe_rows.of(replace(FILE, stamp="8")) is None

    def test_reading_takes_no_storage(self):
        """The report is read from memory, and a read writes nothing."""
        storage = MemoryStorage()
        probe_rows = ProbeRows(storage)
        probe_rows.put(SPEC, REPORTED)
        assert storage.revision() == 1
        storage.close()

        assert probe_rows.of(SPEC) is not None

    def test_forgetting(self):
        """A deleted report is not shown any more."""
        probe_rows = ProbeRows(MemoryStorage())
        probe_rows.put(SPEC, REPORTED)
        probe_rows.forget("tea")

        assert probe_rows.of(SPEC) is None

    def test_a_failed_write_changes_nothing(self):
        """A report that the storage refuses is not shown as if it were stored."""
        storage = MemoryStorage()
        probe_rows = ProbeRows(storage)
        storage.close()

        with pytest.raises(StorageError):
            probe_rows.put(SPEC, REPORTED)
        assert probe_rows.of(SPEC) is None

    @pytest.mark.parametrize("broken", [{}, {"outcome": "fine"}, {"settings": [3]}, {"at": "noon"}])
    def test_a_row_of_others_is_reported(self, broken):
        """A row that plugreg has not written is an error that names it, and shows nothing."""
        storage = MemoryStorage()
        ProbeRows(storage).put(SPEC, REPORTED)
        with storage.transaction() as transaction:
            row = {**transaction.get(PROBES, "tea"), **broken} if broken else {}
            transaction.put(PROBES, "tea", row)

        probe_rows = ProbeRows(storage)
        probe_rows.load()

        assert [(error.table, error.key) for error in probe_rows.damaged] == [(PROBES, "tea")]
        assert probe_rows.of(SPEC) is None
