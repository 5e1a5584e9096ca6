"""Quarantine: a plugin that ended the process that loaded it keeps no service from starting.

Each plugin here really ends its process: real distributions, real processes, real stores.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from contextlib import closing
from pathlib import Path

import pytest

import plugreg
from plugreg import PluginRegistry
from plugreg._state import quarantine
from plugreg._support.identity import own_identity
from plugreg.storage import MemoryStorage, TinyDBStorage, open_storage

LONG = 60.0
"""Seconds after which a test gives up; what it waits for takes far less."""

ENDS = {
    "exit": "import os; os._exit(3)",
    "segfault": "import ctypes; ctypes.string_at(0)",
    "kill": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
}

FINE = "from plugreg import Plugin\nclass Plug(Plugin):\n    pass\n"

SERVICE = """
import json, sys
from plugreg import PluginRegistry
from plugreg.storage import open_storage

storage = open_storage(sys.argv[1])
registry = PluginRegistry("shop", storage=storage, process=sys.argv[2] or None)
registry.load()
for command in sys.argv[3:]:
    name, _, argument = command.partition(" ")
    getattr(registry, name)(*[argument] if argument else [])
print(json.dumps({slug: [r.state, r.reason, r.wanted] for slug, r in registry.plugins.items()}))
registry.close()
"""


class Shop:
    """A service on one store with plugins that are real distributions."""

    def __init__(self, site, url):
        self.site = site
        self.url = url
        self.folders = 0

    def plugin(self, slug, code, version="1.0"):
        """Install a version of a plugin in the place of the one before."""
        for old in self.site.folder.glob(f"shop_{slug}-*.dist-info"):
            for file in old.iterdir():
                file.unlink()
            old.rmdir()
        module = f"shop_{slug}_{version.replace('.', '_')}"
        self.site.dist(
            f"shop-{slug}",
            version,
            {"shop.plugins": {slug: f"{module}:Plug"}},
            modules={f"{module}.py": f"{code}\n{FINE}"},
        )

    def start(self, *commands, name=""):
        """Run a process that loads, does something and ends; return its remains."""
        return subprocess.run(
            [sys.executable, "-c", textwrap.dedent(SERVICE), self.url, name, *commands],
            env={
                **os.environ,
                "PYTHONPATH": f"{Path(plugreg.__file__).parents[1]}:{self.site.folder}",
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            capture_output=True,
            text=True,
            timeout=LONG,
            check=False,
        )

    def states(self, *commands, name=""):
        """Return state, reason and wish of each plugin in a process that does not end early."""
        done = self.start(*commands, name=name)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def rows(self, table):
        with closing(open_storage(self.url)) as storage:
            return storage.read(table)


@pytest.fixture
def shop(site, tmp_path):
    return Shop(site, f"tinydb:///{tmp_path / 'plugins.store'}")


@pytest.fixture
def safe(shop, monkeypatch):
    """Yield a function that returns a registry in safe mode beside the service."""
    opened = []

    def safe():
        monkeypatch.syspath_prepend(shop.site.folder)
        storage = open_storage(shop.url)
        registry = PluginRegistry("shop", storage=storage, safe_mode=True)
        opened.append((registry, storage))
        registry.load()
        return registry

    yield safe
    for registry, storage in opened:
        registry.close()
        storage.close()


@pytest.mark.parametrize(
    ("end", "kind"), [("exit", "tinydb"), ("segfault", "sqlite"), ("kill", "tinydb")]
)
def test_one_click_does_not_brick_a_service(shop, safe, end, kind):
    """The next start keeps the plugin off, says why, keeps the wish, and loads the others."""
    shop.url = shop.url.replace("tinydb", kind)
    shop.plugin("crash", ENDS[end])
    shop.plugin("fine", "")
    assert shop.start("activate fine", "activate crash").returncode != 0
    states = shop.states()
    state, reason, wanted = states["crash"]
    assert (state, wanted) == ("failed", True)
    assert reason.startswith("failed at import: the last process that loaded it ended here: '-c'")
    assert states["fine"][0] == "active"
    registry = safe()
    assert [spec.slug for spec in registry.outlook().order] == ["fine"]
    (repair,) = [each for each in registry.repairs() if each.code == "P011"]
    assert repair.slug == "crash"
    next(each for each in repair.actions if each.name == "deactivate").run()
    assert shop.states()["crash"][::2] == ["inactive", False]


def test_the_one_that_ends_the_process_is_the_one_that_is_kept_off(shop):
    """Beside others that are new as well, at a first load."""
    for slug in ("a", "b", "y", "z"):
        shop.plugin(slug, "")
    shop.plugin("m", ENDS["exit"])
    with closing(open_storage(shop.url)) as storage:
        registry = PluginRegistry("shop", storage=storage, safe_mode=True)
        registry.load()
        for slug in "abmyz":
            registry.activate(slug, allow_missing=True)
        registry.close()
    assert shop.start().returncode == 3
    states = shop.states()
    assert {slug for slug, (state, *_) in states.items() if state == "active"} == set("abyz")
    assert states["m"][0] == "failed"


@pytest.mark.parametrize("command", ["activate", "reset"])
def test_an_operator_can_try_it_again_at_once(shop, command):
    """It may have been the machine's fault; if it serves, nothing is left of the mark."""
    flag = shop.site.folder / "sound"
    shop.plugin("moody", f"import os\nif not os.path.exists({str(flag)!r}): os._exit(3)")
    assert shop.start("activate moody").returncode == 3
    assert shop.states("reload")["moody"][0] == "failed"
    assert shop.start(f"{command} moody").returncode == 3
    assert shop.states()["moody"][0] == "failed"
    flag.touch()
    assert shop.states()["moody"][0] == "failed"
    assert shop.states(f"{command} moody")["moody"][0] == "active"
    assert not shop.rows(quarantine.LOADING)
    assert shop.states()["moody"][0] == "active"


def test_a_new_version_is_tried(shop):
    """A mended release comes into service without anybody's help."""
    shop.plugin("crash", ENDS["exit"])
    assert shop.start("activate crash").returncode == 3
    assert shop.states()["crash"][0] == "failed"
    shop.plugin("crash", "", version="1.1")
    assert shop.states()["crash"][0] == "active"
    assert not shop.rows(quarantine.LOADING)


def test_versions_that_have_served_are_marked_together_by_those_who_serve(shop):
    """The culprit among them is known at the second death, and is kept off at the third start."""
    flag = shop.site.folder / "broken"
    shop.plugin("moody", f"import os\nif os.path.exists({str(flag)!r}): os._exit(3)")
    shop.plugin("fine", "")
    assert shop.states("activate moody", "activate fine", name="web")["moody"][0] == "active"
    flag.touch()
    assert shop.start(name="web").returncode == 3
    assert [key.partition(":")[0] for key in shop.rows(quarantine.LOADING)] == [""]
    assert shop.start(name="web").returncode == 3
    assert [key.partition(":")[0] for key in shop.rows(quarantine.LOADING)] == ["moody"]
    states = shop.states(name="web")
    assert (states["moody"][0], states["fine"][0]) == ("failed", "active")


def test_a_service_killed_from_outside_suspects_nobody_for_long(shop):
    """After a death among plugins that have served they are marked one by one, and all serve."""
    shop.plugin("a", "")
    shop.plugin("b", "")
    shop.states("activate a", "activate b", name="web")
    with closing(open_storage(shop.url)) as storage, storage.transaction() as transaction:
        ended = {**own_identity()._asdict(), "started": "1", "name": "web", "since": 1.0}
        transaction.put(
            quarantine.LOADING, ":0", {**ended, "code": {}, "python": quarantine.PYTHON}
        )
    states = shop.states()
    assert [state for state, *_ in states.values()] == ["active", "active"]
    assert not shop.rows(quarantine.LOADING)


def test_a_load_with_nothing_new_writes_nothing(shop):
    """A command that does not serve does not even mark versions that have served."""
    shop.plugin("fine", "")
    shop.states("activate fine")
    with closing(open_storage(shop.url)) as storage:
        before = storage.revision()
        shop.states()
        assert storage.revision() == before


def test_a_plugin_that_merely_fails_leaves_no_mark(shop):
    """Its failure is known without one."""
    shop.plugin("broken", "raise ValueError('no')")
    assert shop.states("activate broken")["broken"][0] == "failed"
    assert not shop.rows(quarantine.LOADING)
    [row] = shop.rows(quarantine.SERVED).values()
    assert not row["codes"][quarantine.PYTHON]


def run_code(shop, code, *arguments):
    """Run a program beside the plugins of a shop, and return how it ended."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *arguments],
        env={
            **os.environ,
            "PYTHONPATH": f"{Path(plugreg.__file__).parents[1]}:{shop.site.folder}",
        },
        capture_output=True,
        text=True,
        timeout=LONG,
        check=False,
    )


def run_until_loading(shop, *commands, **options):
    """Start a process, and return it once it loads the plugin that takes long."""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SERVICE), shop.url, "", *commands],
        env={
            **os.environ,
            "PYTHONPATH": f"{Path(plugreg.__file__).parents[1]}:{shop.site.folder}",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        **options,
    )
    assert process.stdout.readline() == "loading\n"
    return process


SLOW = "print('loading', flush=True)\nimport time; time.sleep(600)"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_whoever_ends_a_process_leaves_no_mark(shop, number):
    """An interrupted start has not found a plugin that ends processes, and ends as it was told."""
    shop.plugin("slow", SLOW)
    # Where the tests run in the background, SIGINT and SIGHUP may be ignored.
    default = {"preexec_fn": lambda: signal.signal(number, signal.SIG_DFL)}
    with run_until_loading(shop, "activate slow", **default) as process:
        (key,) = shop.rows(quarantine.LOADING)
        assert key.startswith("slow:")
        process.send_signal(number)
        assert process.wait(timeout=LONG) == -number
    assert not shop.rows(quarantine.LOADING)
    assert not shop.rows(quarantine.SERVED)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_the_mark_is_stored(shop, number):
    """It leaves no mark, though it comes when the storage has the mark and nobody knows yet."""
    shop.plugin("fine", "")
    code = """
        import os, signal, sys
        from contextlib import contextmanager
        from plugreg import PluginRegistry
        from plugreg.storage import TinyDBStorage

        class Slow(TinyDBStorage):
            @contextmanager
            def transaction(self):
                with super().transaction() as transaction:
                    yield transaction
                if any(key.startswith("fine:") for key in self.read("loading")):
                    print("stored", flush=True)
                    os.kill(os.getpid(), number)

        number = int(sys.argv[2])
        is_ctrl_c = number == signal.SIGINT
        signal.signal(number, signal.default_int_handler if is_ctrl_c else signal.SIG_DFL)
        registry = PluginRegistry("shop", storage=Slow(sys.argv[1]), new_plugins="active")
        registry.load()
        print("loaded", flush=True)
    """
    done = run_code(shop, code, shop.url[len("tinydb:///") :], str(+number))
    assert (done.stdout, done.returncode) == ("stored\n", -number), done.stderr
    assert not shop.rows(quarantine.LOADING)


def test_a_plugin_that_goes_on_when_it_is_told_to_end(shop):
    """The process ends once the plugin is loaded, and at once when it is told so again."""
    shop.plugin(
        "stubborn",
        "import time\nfor word in ('loading', ''):\n    try:\n"
        "        print(word, flush=True)\n        time.sleep(600)\n"
        "    except BaseException:\n        print('caught', flush=True)",
    )
    with run_until_loading(shop, "activate stubborn") as process:
        process.send_signal(signal.SIGTERM)
        assert [process.stdout.readline() for _ in range(2)] == ["caught\n", "\n"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=LONG) == -signal.SIGTERM


def test_a_program_that_handles_the_signal(shop):
    """Its handler stays, during the load and after it; so does that of a plugin."""
    shop.plugin("fine", "import signal\nassert callable(signal.getsignal(signal.SIGTERM))")
    shop.plugin("own", "import signal\nsignal.signal(signal.SIGHUP, lambda *_: None)")
    code = """
        import signal, sys
        from plugreg import PluginRegistry
        from plugreg.storage import open_storage
        def handle(number, frame): pass
        if sys.argv[2]:
            signal.signal(signal.SIGTERM, handle)
        registry = PluginRegistry("shop", storage=open_storage(sys.argv[1]), new_plugins="active")
        registry.load()
        assert registry.get("fine").active and registry.get("own").active
        assert signal.getsignal(signal.SIGTERM) is (handle if sys.argv[2] else signal.SIG_DFL)
        assert signal.getsignal(signal.SIGHUP) not in (signal.SIG_DFL, signal.SIG_IGN)
        registry.close()
    """
    for handled in ("1", ""):
        with closing(open_storage(shop.url)) as storage, storage.transaction() as transaction:
            for slug in ("fine", "own"):
                transaction.delete(quarantine.SERVED, slug)
        done = run_code(shop, code, shop.url, handled)
        assert done.returncode == 0, done.stderr


LATE = """
import os
from plugreg import hookimpl
class Late:
    @hookimpl
    def {hook}(self{argument}):
        os._exit(3)
Plug = Late
"""


def want(shop, *slugs):
    """Store that plugins are wanted, without loading any."""
    with closing(open_storage(shop.url)) as storage:
        registry = PluginRegistry("shop", storage=storage, safe_mode=True)
        registry.load()
        for slug in slugs:
            registry.activate(slug, allow_missing=True)
        registry.close()


def late(shop, slug, hook, argument=""):
    """Install a plugin that ends the process after everything is loaded."""
    code = LATE.format(hook=hook, argument=argument)
    shop.plugin(slug, "")
    (file,) = shop.site.folder.glob(f"shop_{slug}_1_0.py")
    file.write_text(code, encoding="utf-8")


def test_a_death_after_everything_is_loaded(shop):
    """The end of the load is part of it: a plugin that ends the process there is kept off."""
    late(shop, "late", "plugreg_plugins_loaded")
    shop.plugin("fine", "")
    assert shop.states("activate fine")["fine"][0] == "active"
    want(shop, "late")
    assert shop.start().returncode == 3
    states = shop.states()
    assert (states["late"][0], states["fine"][0]) == ("failed", "active")


def test_a_death_in_a_call_that_is_made_up_for(shop, monkeypatch):
    """A historic call is replayed under the mark of the plugin that receives it."""
    late(shop, "late", "history", ", what")
    shop.plugin("fine", "")
    service = SERVICE.replace(
        "registry = PluginRegistry(",
        "from plugreg import hookspec\nclass Hooks:\n    @hookspec(historic=True)\n"
        "    def history(self, what): ...\n"
        "registry = PluginRegistry(hookspecs=[Hooks], host=",
    ).replace(
        "registry.load()",
        "registry.manager.hook.history.call_historic(kwargs={'what': 1})\nregistry.load()",
    )
    monkeypatch.setitem(globals(), "SERVICE", service)
    assert shop.start("activate fine", "activate late").returncode == 3
    states = shop.states()
    assert (states["late"][0], states["fine"][0]) == ("failed", "active")


def test_the_culprit_among_several_that_are_new(shop):
    """Each is marked by itself while its own code runs, also after everything is loaded."""
    late(shop, "m", "plugreg_plugins_loaded")
    for slug in ("a", "z"):
        shop.plugin(slug, "")
    want(shop, "a", "m", "z")
    assert shop.start().returncode == 3
    assert [key.partition(":")[0] for key in shop.rows(quarantine.LOADING)] == ["m"]
    states = shop.states()
    assert {slug: state for slug, (state, *_) in states.items()} == {
        "a": "active",
        "m": "failed",
        "z": "active",
    }


def test_what_fails_each_time_is_marked_together(shop):
    """A version that failed without ending its process costs no commit of its own again."""
    slugs = [f"broken{number}" for number in range(20)]
    for slug in slugs:
        shop.plugin(slug, "raise ValueError('no')")
    want(shop, *slugs)
    assert {state for state, *_ in shop.states().values()} == {"failed"}
    with closing(open_storage(shop.url)) as storage:
        before = storage.revision()
        shop.states()
        assert storage.revision() - before <= 3
    assert not shop.rows(quarantine.LOADING)


def test_what_failed_before_may_end_the_process(shop):
    """Its death is that of those that are marked together; the next one names it."""
    flag = shop.site.folder / "deadly"
    shop.plugin(
        "moody",
        f"import os\nif os.path.exists({str(flag)!r}): os._exit(3)\nraise ValueError",
    )
    shop.plugin("fine", "")
    assert shop.states("activate fine", "activate moody")["moody"][0] == "failed"
    flag.touch()
    assert shop.start().returncode == 3
    assert [key.partition(":")[0] for key in shop.rows(quarantine.LOADING)] == [""]
    assert shop.start().returncode == 3
    states = shop.states()
    assert (states["moody"][0], states["fine"][0]) == ("failed", "active")


def test_an_operator_who_tries_what_failed_before(shop):
    """It is marked by itself then, and one death is enough."""
    flag = shop.site.folder / "deadly"
    shop.plugin(
        "moody",
        f"import os\nif os.path.exists({str(flag)!r}): os._exit(3)\nraise ValueError",
    )
    assert shop.states("activate moody")["moody"][0] == "failed"
    shop.plugin("slow", f"open({str(flag)!r}, 'w').close()")
    assert shop.start("activate slow", "reset moody").returncode == 3
    assert shop.states()["moody"][0] == "failed"


def test_a_host_that_ends_beside_a_load_leaves_no_mark(shop):
    """The thread that loads is a daemon; the interpreter's own end is not the plugin's doing."""
    shop.plugin("slow", "print('loading', flush=True)\nimport time; time.sleep(600)")
    code = """
        import sys, threading, time
        from plugreg import PluginRegistry
        from plugreg.storage import open_storage
        registry = PluginRegistry("shop", storage=open_storage(sys.argv[1]))
        registry.load()
        threading.Thread(target=registry.activate, args=("slow",), daemon=True).start()
        while "shop_slow_1_0" not in sys.modules:
            time.sleep(0.01)
    """
    done = run_code(shop, code, shop.url)
    assert done.returncode == 0, done.stderr
    assert not shop.rows(quarantine.LOADING)


def test_others_try_it_too_once_one_has_survived_it(shop, monkeypatch):
    """A running process that keeps it off hears of that, and serves it at its next look."""
    flag = shop.site.folder / "sound"
    shop.plugin("moody", f"import os\nif not os.path.exists({str(flag)!r}): os._exit(3)")
    assert shop.start("activate moody").returncode == 3
    monkeypatch.syspath_prepend(shop.site.folder)
    with closing(open_storage(shop.url)) as storage:
        registry = PluginRegistry("shop", storage=storage, process="web")
        with registry:
            registry.load()
            assert registry.get("moody").state == "failed"
            flag.touch()
            assert registry.refresh() is False
            assert shop.states("reset moody")["moody"][0] == "active"
            assert registry.refresh() is True
            assert registry.get("moody").active
    sys.modules.pop("shop_moody_1_0", None)


def test_a_reset_from_safe_mode_is_for_processes_that_start_later(shop, safe):
    """With the service down an operator asks, and the next start tries it again."""
    flag = shop.site.folder / "sound"
    shop.plugin("moody", f"import os\nif not os.path.exists({str(flag)!r}): os._exit(3)")
    assert shop.start("activate moody").returncode == 3
    flag.touch()
    assert shop.states()["moody"][0] == "failed"
    safe().shared.ask("reset", "moody")
    assert not shop.rows(quarantine.LOADING)
    assert shop.states()["moody"][0] == "active"


def test_a_process_that_is_loading_now_keeps_nobody_from_it(shop, monkeypatch):
    """Several workers start at once; a mark counts once its process is gone."""
    shop.plugin("fine", "")
    shop.states("activate fine")
    with closing(open_storage(shop.url)) as storage:
        row = {**own_identity()._asdict(), "name": "web", "since": 1.0}
        code = {"distribution": "shop-fine", "version": "1.0", "stamp": ""}
        with storage.transaction() as transaction:
            transaction.put(
                quarantine.LOADING, "fine:0", {**row, "code": code, "python": quarantine.PYTHON}
            )
    assert shop.states()["fine"][0] == "active"


def test_deleting_a_plugin_deletes_its_marks(shop, safe):
    """Everything that is stored of it goes."""
    shop.plugin("crash", ENDS["exit"])
    shop.start("activate crash")
    registry = safe()
    registry.deactivate("crash")
    registry.delete("crash")
    assert not shop.rows(quarantine.LOADING)


def test_damaged_rows_stop_nothing(shop):
    """Neither a damaged mark nor a damaged list of served versions."""
    shop.plugin("fine", "")
    shop.states("activate fine")
    with closing(open_storage(shop.url)) as storage, storage.transaction() as transaction:
        transaction.put(quarantine.LOADING, "fine:0", {"since": "now"})
        transaction.put(quarantine.SERVED, "fine", {"codes": {quarantine.PYTHON: "all"}})
    assert shop.states()["fine"][0] == "active"
    assert shop.states()["fine"][0] == "active"


def test_memory_needs_no_marks(monkeypatch, site, tmp_path):
    """It ends with its process, and so do its wishes."""
    storage = MemoryStorage()
    shop = Shop(site, "")
    shop.plugin("fine", "")
    monkeypatch.syspath_prepend(site.folder)
    with PluginRegistry("shop", storage=storage) as registry:
        registry.load()
        registry.activate("fine")
        assert registry.get("fine").active
    assert not storage.read(quarantine.SERVED)
    sys.modules.pop("shop_fine_1_0", None)


def test_a_store_that_cannot_be_written_stops_no_start(tmp_path, site, monkeypatch, caplog):
    """The plugin is loaded without a mark, and the log says so once."""
    shop = Shop(site, f"tinydb:///{tmp_path / 'plugins.store'}")
    shop.plugin("fine", "")
    monkeypatch.syspath_prepend(site.folder)
    storage = TinyDBStorage(tmp_path / "plugins.store")
    with PluginRegistry("shop", storage=storage, new_plugins="active") as registry:
        registry.load()
    with storage.transaction() as transaction:
        transaction.delete(quarantine.SERVED, "fine")

    def refuse():
        raise plugreg.StorageUnavailableError("here", "it is read-only")

    monkeypatch.setattr(storage, "transaction", refuse)
    with PluginRegistry("shop", storage=storage, new_plugins="active") as registry:
        registry.load()
        assert registry.get("fine").active
    assert caplog.text.count("which plugin is being loaded") == 1
    sys.modules.pop("shop_fine_1_0", None)
