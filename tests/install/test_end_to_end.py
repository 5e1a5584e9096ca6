"""The whole way: real distributions from an index on loopback, put into real environments.

What is done there is done by processes of a host in a virtual environment of each test, which go
on from one step to the next; pip and uv are the real ones. Through the adapter for Starlette the
requests come from a real uvicorn. Sources: behaviour.md, sections 2.2, 2.19 and 8.
"""

from __future__ import annotations

import http.client
import importlib.metadata
import json
import os
import shutil
import signal
import subprocess
import textwrap
import time
from contextlib import suppress
from pathlib import Path

import pytest
from packaging.requirements import Requirement

GROUP = "shop.plugins"
LOGIN = ("keeper-of-keys", "open-sesame-4711")
LONG = 60.0
"""Seconds after which a test gives up on what takes a moment."""
HEADER = "# What the shop sells.\nshop-host==1.0  # the shop itself\n"

HOST = """
import ast, dataclasses, json, logging, os, pickle, sys, threading, time
from pathlib import Path
from plugreg import PluginRegistry, hookspec
from plugreg.install import InstallPolicy, PipInstaller, UvInstaller
from plugreg.storage import TinyDBStorage

class Specs:
    @hookspec
    def price(self): ...

logging.basicConfig(level=logging.DEBUG)
given = json.loads(Path("given.json").read_text())
policy = InstallPolicy(indexes=given["indexes"])
installer = (
    PipInstaller(policy=policy, plugins_file="plugins.txt")
    if given["program"] == "pip"
    else UvInstaller(policy=policy, plugins_file="plugins.txt", uv=given["uv"])
)
registry = PluginRegistry(
    "shop", hookspecs=[Specs], installer=installer, storage=TinyDBStorage("store.json")
)
packages, told = registry.packages, []

def serve():
    import uvicorn
    from plugreg.adapters.starlette import create_app
    from plugreg.api import Actor
    app = create_app(registry, identify=lambda request: Actor(1, is_superuser=True))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    threading.Thread(target=server.run, daemon=True).start()
    while not server.started:
        time.sleep(0.01)
    return server.servers[0].sockets[0].getsockname()[1]

def shown(value):
    if dataclasses.is_dataclass(value):
        return {each.name: shown(getattr(value, each.name)) for each in dataclasses.fields(value)}
    if isinstance(value, (tuple, list, set, frozenset)):
        return [shown(each) for each in value]
    if isinstance(value, dict):
        return {key: shown(each) for key, each in value.items()}
    return value if isinstance(value, (str, int, float, type(None))) else str(value)

def result(code):
    tree = ast.parse(code)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "<asked>", "exec"), globals())
    return last and eval(compile(ast.Expression(last.value), "<asked>", "eval"), globals())

def answer(code):
    try:
        return {"value": shown(result(code))}
    except Exception as error:
        report = getattr(error, "report", None)
        return {
            "error": type(error).__name__,
            "reasons": shown(getattr(error, "reasons", None)),
            "report": shown(report),
            "shown": f"{error} {error!r} {report!r}",
        }

for line in sys.stdin:
    print(json.dumps(answer(json.loads(line))), flush=True)
"""

# Counts what the host, and the pip that it runs, write into environment and home, and kills the
# host ahead of the write of a certain number. pip then waits to be ended along with its host.
KILLER = """
import os, signal, sys, time

home = os.path.expanduser("~")
armed, count = os.path.join(home, "armed"), os.path.join(home, "count")
inside = [False]
# What is not counted: temporary files, what pip compiles of itself, and the single files of the
# copy of the environment, which are many.
FREE = (f"{home}/tmp/", f"{home}/.cache/", "/pip/")
READING = ("os.scandir", "os.listdir", "os.walk")

def is_write(event, arguments):
    if event == "open":
        return isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
    return event.startswith("os.") and event not in READING

def is_counted(event, arguments):
    path = arguments[0] if arguments else None
    if not isinstance(path, str) or not path.startswith((sys.prefix, home)):
        return False
    is_start = event == "subprocess.Popen" and path == sys.executable
    is_free = "/" in path.partition("/.plugreg")[2] or any(each in path for each in FREE)
    return is_start or (is_write(event, arguments) and not is_free)

def hook(event, arguments):
    if inside[0] or not os.path.exists(armed) or not is_counted(event, arguments):
        return
    inside[0] = True
    try:
        with open(armed) as file:
            host, number = map(int, file.read().split())
        with open(count, "a") as file:
            file.write(f"{event} {arguments[0]}\\n")
        with open(count) as file:
            reached = len(file.readlines())
        if reached == number:
            os.kill(host, signal.SIGKILL)
            time.sleep(600)
            os._exit(9)
    finally:
        inside[0] = False

sys.addaudithook(hook)
"""


def skip(reason):
    if os.environ.get("PLUGREG_TEST_NO_SKIP") == "1":
        pytest.fail(f"{reason}. PLUGREG_TEST_NO_SKIP=1 forbids to skip")
    pytest.skip(reason)


def tea(answer):
    """Return a module with a plugin whose hook gives an answer."""
    return (
        "from plugreg import Plugin, hookimpl\n"
        "class Tea(Plugin):\n"
        "    @hookimpl\n"
        f"    def price(self): return {answer}\n"
    )


@pytest.fixture
def shelf(index, make_wheel):
    """Fill the index: versions of a plugin, two that do not suit, and what is no plugin.

    Version 3 requires what no plugin may bring, version 4 another packaging than plugreg.
    """

    def put(version, answer, *requires):
        make_wheel(
            index.folder,
            "Shop.Tea",
            version,
            requires=requires,
            entry_points={GROUP: {"tea": "shop_tea:Tea"}},
            modules={"shop_tea.py": tea(answer), "shop_tea_data/note.txt": f"{answer}\n" * 9},
        )

    put("1.0", 1)
    put("2.0", 2, "shop-leaf>=1")
    put("3.0", 3, "shop-cup>=1")
    put("4.0", 4, "packaging<24")
    put("5.0", 5, "shop-leaf>=1")
    make_wheel(index.folder, "shop-leaf", "1.0", modules={"shop_leaf/__init__.py": ""})
    # Python would run this at every start.
    make_wheel(index.folder, "shop-cup", "1.0", modules={"shop_cup.pth": ""})
    make_wheel(index.folder, "packaging", "23.0", modules={"packaging/__init__.py": "old = True"})
    make_wheel(index.folder, "shop-nothing", "1.0", modules={"shop_nothing.py": ""})
    return index


class Host:
    """A process of a host: each call is what it does next, the last line of it an expression."""

    def __init__(self, venv):
        self._log = (venv.home / "log.txt").open("a")
        self._process = subprocess.Popen(
            [venv.python, "-c", HOST],
            env=venv.variables(PYTHONDONTWRITEBYTECODE="1", HOST_OF_TEST="1"),
            cwd=venv.home,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )

    def begin(self, code):
        """Have something done, and do not wait for it."""
        self._process.stdin.write(json.dumps(textwrap.dedent(code)) + "\n")
        self._process.stdin.flush()

    def read(self):
        """Wait for what came of it."""
        return json.loads(self._process.stdout.readline())

    def ask(self, code):
        self.begin(code)
        return self.read()

    @property
    def number(self):
        return self._process.pid

    def __call__(self, code):
        told = self.ask(code)
        assert "error" not in told, told
        return told["value"]

    def failing(self, code):
        """Return what an error tells of itself."""
        told = self.ask(code)
        assert "error" in told, told
        return told

    def wait(self):
        return self._process.wait(LONG)

    def kill(self):
        self._process.kill()
        return self.wait()

    def close(self):
        for each in (self._process.stdin, self._process.stdout, self._log):
            each.close()
        self._process.kill()
        self._process.wait()


class Place:
    """A virtual environment with the index that its hosts use, and ``start()`` for one more."""

    def __init__(self, venv, index, program, uv):
        self.venv = venv
        self.program = program
        self.listed = venv.home / "plugins.txt"
        self.listed.write_text(HEADER)
        self._hosts = []
        given = {
            "indexes": [f"http://{index.host}/simple/", index.host],
            "program": program,
            "uv": uv,
        }
        (venv.home / "given.json").write_text(json.dumps(given))

    def start(self):
        host = Host(self.venv)
        self._hosts.append(host)
        return host

    def tree(self, *, times=True):
        """Return what there is: mode, time and content of each file, mode of each folder.

        Left out are what pip compiles of itself, and what plugreg and uv keep for them. Without
        ``times`` compiled modules are left out too, which hold them.
        """
        found = {}
        for each in self.venv.folder.rglob("*"):
            path = each.relative_to(self.venv.folder)
            is_own = path.name == ".lock" or any(p.startswith(".plugreg") for p in path.parts)
            if is_own or {"pip", "__pycache__"} <= set(path.parts):
                continue
            status = each.lstat()
            if each.is_symlink():
                found[str(path)] = (status.st_mode, each.readlink())
            elif each.is_dir():
                found[str(path)] = status.st_mode
            elif times or "__pycache__" not in path.parts:
                modified = status.st_mtime_ns if times else None
                found[str(path)] = (status.st_mode, modified, each.read_bytes())
        return found

    def everything(self):
        """Return which files there are, and when each was changed, the plugins file included."""
        found = {each: each.lstat() for each in [*self.venv.folder.rglob("*"), self.listed]}
        return {path: (told.st_ino, told.st_ctime_ns) for path, told in found.items()}

    def lines(self):
        """Return what the plugins file has beside what it had at first."""
        text = self.listed.read_text()
        assert text.startswith(HEADER)
        return text.removeprefix(HEADER).splitlines()

    def log(self):
        return (self.venv.home / "log.txt").read_text()

    def running(self):
        """Return the processes that there still are of this environment."""
        found = []
        for each in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                if str(self.venv.folder).encode() in each.read_bytes():
                    found.append(int(each.parent.name))
            except OSError:
                continue  # It has ended meanwhile.
        return found

    def close(self):
        for each in self._hosts:
            each.close()
        for number in self.running():
            with suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)


@pytest.fixture(params=["pip", "uv"])
def place(request, venv, shelf):
    """Give an environment of its own, once for each program."""
    uv = request.getfixturevalue("uv_path") if request.param == "uv" else None
    place = Place(venv, shelf, request.param, uv)
    yield place
    place.close()


@pytest.fixture
def host(place):
    host = place.start()
    assert host("registry.load()")["failures"] == []
    return host


def versions(changes):
    return {each["name"]: (each["before"], each["after"]) for each in changes}


def rules(plan):
    return {each["rule"] for each in plan["refusals"]}


class TestThroughPython:
    """One host, and another process of it that shares its store."""

    @pytest.fixture
    def other(self, place, host):
        other = place.start()
        other("registry.load()")
        return other

    def test_from_the_first_installation_to_the_last(self, place, host, other, shelf, sha256):
        """Plan, install, upgrade, fail, be refused, go back, uninstall: each leaves what it says.

        At the end the environment is what it was at first, byte for byte, and the audit knows it
        all.
        """
        at_first = place.tree()
        self.a_plan_touches_nothing(place, host, shelf, sha256)
        self.it_is_carried_out_as_it_is(place, host)
        self.what_is_new_is_off(host, other)
        self.an_upgrade_runs_at_once(place, host, other)
        failed = self.what_breaks_leaves_all_as_it_was(place, host, other)
        self.what_does_not_suit_is_refused(place, host)
        self.an_older_version_is_one_like_any_other(place, host, other)
        self.an_active_plugin_stays(place, host)
        self.with_its_dependencies_it_goes(place, host, other)

        assert place.tree() == at_first
        assert host("registry.errors") == []
        self.the_audit_knows(host, failed, [sha256(each) for each in self.installed(shelf)])

    def a_plan_touches_nothing(self, place, host, shelf, sha256):
        before = place.tree()
        plan = host("plan = registry.plan('shop-tea==1.0')\nplan")
        [change] = plan["changes"]
        [file, *_] = self.installed(shelf)

        assert place.tree() == before
        assert versions([change]) == {"shop-tea": (None, "1.0")}
        assert change["source"].endswith(f"/files/{file.name}")
        assert change["sha256"] == sha256(file)
        assert plan["plugins"] == ["tea"]
        assert host("plan.allowed")

    def it_is_carried_out_as_it_is(self, place, host):
        host("report = registry.install(plan, actor='user 7', progress=told.append)")
        report, told = host("report"), host("told")

        assert host("report.plan is plan")
        assert (report["success"], report["version"], report["plugins"]) == (True, "1.0", ["tea"])
        assert report["location"] == str(place.venv.purelib)
        assert "\n".join(told) == report["output"]
        assert any("shop" in each.lower() for each in told)
        assert place.venv.installed["shop-tea"] == "1.0"
        assert place.lines() == ["shop-tea==1.0"]

    def what_is_new_is_off(self, host, other):
        assert host("registry.get('tea').state") == "inactive"
        assert host("registry.hook.price()") == []
        assert not host("'shop_tea' in sys.modules")
        assert other("registry.refresh()")
        assert other("registry.get('tea').state") == "inactive"

        host("registry.activate('tea')")
        assert host("registry.hook.price()") == [1]
        assert other("registry.refresh()")
        assert other("registry.hook.price()") == [1]

    def an_upgrade_runs_at_once(self, place, host, other):
        report = host("registry.install('shop-tea==2.0', actor='user 7')")

        assert versions(report["plan"]["changes"]) == {
            "shop-tea": ("1.0", "2.0"),
            "shop-leaf": (None, "1.0"),
        }
        assert host("registry.hook.price()") == [2]
        assert other("registry.hook.price()") == [1]
        assert other("registry.refresh()")
        assert other("registry.hook.price()") == [2]
        assert place.lines() == ["shop-tea==2.0"]

    def what_breaks_leaves_all_as_it_was(self, place, host, other):
        """The plugins file cannot be read, and that is written last, when all else is in place."""
        before, listed = place.tree(), place.listed.read_bytes()
        place.listed.write_bytes(listed + b"# \xff\n")
        failed = host.failing("registry.install('shop-tea==5.0', actor='user 8')")

        assert place.tree() == before
        assert place.listed.read_bytes() == listed + b"# \xff\n"
        place.listed.write_bytes(listed)
        assert host("packages.interrupted") is None
        assert (failed["report"]["success"], failed["report"]["restored"]) == (False, True)
        assert failed["reasons"] == failed["report"]["reasons"] != []
        assert "shop" in failed["report"]["output"].lower()
        assert failed["reasons"][0] not in failed["report"]["output"]
        assert host("registry.hook.price()") == [2]
        assert not other("registry.refresh()")
        return failed

    def what_does_not_suit_is_refused(self, place, host):
        """Neither what would touch the host's own is installed, nor what is no plugin."""
        before = place.tree()
        assert not host("registry.plan('shop-tea==3.0').allowed")
        plan = host("plan = registry.plan('shop-tea==4.0')\nplan")
        assert versions(plan["changes"])["packaging"][1] == "23.0"
        assert rules(plan) >= {"environment", "conflict"}
        assert host.failing("registry.install(plan)")["error"] == "InstallRefusedError"

        plan = host("plan = registry.plan('shop-nothing')\nplan")
        assert (rules(plan), plan["plugins"]) == ({"plugin"}, [])
        assert GROUP in plan["refusals"][0]["reason"]
        assert host.failing("registry.install(plan)")["error"] == "InstallRefusedError"
        assert place.tree() == before

    def an_older_version_is_one_like_any_other(self, place, host, other):
        """It comes as well where the callback for progress fails, and while the plugin is off."""
        host("registry.deactivate('tea')")
        report = host("registry.install('shop-tea==1.0', progress=lambda line: 1 / 0)")
        assert report["output"]
        assert place.lines() == ["shop-tea==1.0"]
        assert other("registry.refresh()")
        assert other("registry.hook.price()") == []

        host("registry.activate('tea')")
        assert host("registry.hook.price()") == [1]
        assert other("registry.refresh()")
        assert other("registry.hook.price()") == [1]

    def an_active_plugin_stays(self, place, host):
        before = place.tree()

        assert host.failing("registry.uninstall('tea')")["reasons"] == [
            "Plugin cannot be uninstalled as it is currently active"
        ]
        assert place.tree() == before

    def with_its_dependencies_it_goes(self, place, host, other):
        """What an earlier version of it has brought goes too."""
        host("registry.deactivate('tea')")
        report = host("packages.uninstall('tea', dependencies=True, actor='user 9')")

        assert versions(report["changes"]) == {
            "shop-leaf": ("1.0", None),
            "shop-tea": ("1.0", None),
        }
        assert "shop-tea" not in place.venv.installed
        assert place.lines() == []
        assert host("'tea' in registry.plugins") is False
        assert other("registry.refresh()")
        assert other("'tea' in registry.plugins") is False

    def the_audit_knows(self, host, failed, hashes):
        audit = host("packages.audit()")
        done = [each for each in audit if each["outcome"] == "done"]
        [undone] = [each for each in audit if each["outcome"] == "put back"]
        refused = [each["requirement"] for each in audit if each["outcome"] == "refused"]

        assert [(e["action"], e["requirement"], e["actor"]) for e in done] == [
            ("install", "shop-tea==1.0", "user 7"),
            ("install", "shop-tea==2.0", "user 7"),
            ("install", "shop-tea==1.0", None),
            ("uninstall", "shop-tea", "user 9"),
        ]
        assert (undone["requirement"], undone["actor"]) == ("shop-tea==5.0", "user 8")
        assert undone["reasons"] == failed["reasons"]
        assert refused[:2] == ["shop-tea==4.0", "shop-nothing"]
        assert [each["sha256"] for e in done[:2] for each in e["changes"]] == hashes

    def test_no_other_distribution_takes_the_place_of_a_plugin(
        self, place, host, make_wheel, shelf
    ):
        """Neither while that is there, active, nor once it was removed by hand."""
        host("registry.install('shop-tea==1.0')\nregistry.activate('tea')")
        for name in ("aaa-evil", "zzz-tea"):
            module = name.replace("-", "_")
            code = f"open('it-ran', 'w').close()\n{tea(666)}"
            make_wheel(
                shelf.folder,
                name,
                "9.0",
                entry_points={GROUP: {"Tea": f"{module}:Tea"}},
                modules={f"{module}.py": code},
            )
            plan = host(f"plan = registry.plan('{name}')\nplan")
            assert rules(plan) == {"plugin"}
            assert "'shop-tea'" in plan["refusals"][0]["reason"]
            assert host.failing("registry.install(plan)")["error"] == "InstallRefusedError"
        assert host("registry.hook.price()") == [1]

        subprocess.run(
            [place.venv.python, "-m", "pip", "uninstall", "-qy", "shop-tea"],
            env=place.venv.variables(),
            check=True,
        )
        host("registry.reload(collect=True)")
        assert "registry.delete('tea')" in str(host("registry.plan('zzz-tea').refusals"))
        host("registry.deactivate('tea')\nregistry.delete('tea')")
        assert host("registry.install('zzz-tea').plugins") == ["tea"]
        assert host("registry.get('tea').state") == "inactive"
        assert not (place.venv.home / "it-ran").exists()

    def test_what_was_put_back_was_not_done(self, place, host, shelf):
        """A host that is killed when all was entered in the audit, but nothing was final yet.

        What others have installed since is not taken along later as if it had come with it.
        """
        host.begin(
            "import signal, plugreg.install.safeguard as safeguard\n"
            "safeguard.flush_all = lambda: os.kill(os.getpid(), signal.SIGKILL)\n"
            "registry.install('shop-tea==2.0')"
        )
        assert host.wait() == -signal.SIGKILL
        later = place.start()
        later("registry.load()")
        outcomes = "[[e.action, e.requirement, e.outcome] for e in packages.audit()]"
        assert later(outcomes) == [["install", "shop-tea==2.0", "begun"]]
        later("packages.recover()")
        assert later(outcomes) == [
            ["install", "shop-tea==2.0", "put back"],
            ["recover", "installing shop-tea==2.0", "put back"],
        ]

        place.venv.put(shelf.folder / "shop_leaf-1.0-py3-none-any.whl", place.program)
        later("registry.install('shop-tea==2.0')")
        report = later("packages.uninstall('tea', dependencies=True)")
        assert versions(report["changes"]) == {"shop-tea": ("2.0", None)}
        assert "shop-leaf" in place.venv.installed

    def installed(self, shelf):
        """Return the files of the first two installations."""
        names = ("shop_tea-1.0", "shop_leaf-1.0", "shop_tea-2.0")
        return [shelf.folder / f"{each}-py3-none-any.whl" for each in names]


class TestThroughStarlette:
    @pytest.fixture
    def place(self, place):
        """Install Starlette and its server too, as the host would have."""
        waiting, put = ["starlette", "uvicorn"], set()
        while waiting:
            name = waiting.pop()
            if name not in put:
                put.add(name)
                copy_distribution(name, place.venv.purelib)
                for text in importlib.metadata.requires(name) or ():
                    needed = Requirement(text)
                    if needed.marker is None or needed.marker.evaluate({"extra": ""}):
                        waiting.append(needed.name)
        return place

    @pytest.fixture
    def call(self, host):
        """Give a function that sends a request to the host's server, and returns the answer."""
        port = host("serve()")

        def call(method, path, **body):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LONG)
            headers = {"Content-Type": "application/json"}
            connection.request(method, f"/api/plugins/{path}", json.dumps(body), headers)
            with connection.getresponse() as answer:
                found = answer.status, json.loads(answer.read() or "null")
            connection.close()
            return found

        return call

    def test_from_the_first_installation_to_the_last(self, place, host, call, shelf):
        """The same steps by requests, with the answers that clients know."""
        at_first = place.tree()
        asked = {"packagename": "shop-tea", "url": "", "version": "1.0", "confirm": True}

        # Only what is confirmed is done.
        assert call("POST", "install/", packagename="shop-tea", confirm=False)[0] == 400
        assert place.tree() == at_first

        status, body = call("POST", "install/", **{k: v for k, v in asked.items() if v})
        assert status == 201
        assert {name: body.pop(name) for name in asked} == asked
        assert "shop" in body.pop("output").lower()
        assert body == {
            "result": f"Installed plugin into {place.venv.purelib}",
            "success": "Found plugins: 'tea'",
            "installed_version": "1.0",
            "input": asked,
        }
        status, found = call("GET", "tea/")
        assert (status, found["active"], found["package_name"]) == (200, False, "shop-tea")
        assert place.lines() == ["shop-tea==1.0"]

        assert call("PATCH", "tea/activate/", active=True) == (200, {"active": True})
        assert host("registry.hook.price()") == [1]
        status, body = call(
            "POST", "install/", packagename="shop-tea", version="==2.*", url=shelf.url, confirm=True
        )
        assert (status, body["installed_version"]) == (201, "2.0")
        assert host("registry.hook.price()") == [2]
        assert place.lines() == ["shop-tea==2.*"]

        # What fails and what is refused are sentences, and nothing has changed.
        upgraded = place.tree()
        for version, word in (("3.0", "shop"), ("4.0", "packaging")):
            status, body = call(
                "POST", "install/", packagename="shop-tea", version=version, confirm=True
            )
            assert (status, set(body)) == (400, {"non_field_errors"})
            assert any(word in each for each in body["non_field_errors"])
            assert place.tree() == upgraded
        status, body = call("POST", "install/", packagename="--pre", confirm=True)
        assert (status, set(body)) == (400, {"packagename"})
        assert place.tree() == upgraded
        assert host("registry.hook.price()") == [2]

        # Uninstalling.
        status, body = call("PATCH", "tea/uninstall/")
        assert (status, set(body)) == (400, {"non_field_errors"})
        assert call("PATCH", "tea/activate/", active=False)[0] == 200
        answer = call("PATCH", "tea/uninstall/", delete_config=False)
        assert answer == (200, {"delete_config": False})
        assert call("GET", "tea/")[1]["is_installed"] is False
        assert place.lines() == []
        call("POST", "install/", packagename="shop-tea", version="1.0", confirm=True)
        assert call("PUT", "tea/uninstall/") == (200, {"delete_config": True})
        assert call("GET", "tea/")[0] == 404
        assert "shop-tea" not in place.venv.installed
        assert place.lines() == []

        audit = host("packages.audit()")
        assert {each["actor"] for each in audit} == {"user 1"}
        assert [(e["action"], e["requirement"]) for e in audit if e["outcome"] == "done"] == [
            ("install", "shop-tea==1.0"),
            ("install", "shop-tea==2.*"),
            ("uninstall", "shop-tea"),
            ("install", "shop-tea==1.0"),
            ("uninstall", "shop-tea"),
        ]


def copy_distribution(name, purelib):
    """Copy what an installed distribution has into another environment."""
    try:
        files = importlib.metadata.files(name)
    except importlib.metadata.PackageNotFoundError:
        skip(f"{name} is not installed")
    for each in files:
        source = Path(str(each.locate()))
        if ".." not in each.parts and source.is_file():
            (purelib / each).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, purelib / each)


class TestCredentials:
    @pytest.fixture
    def shelf(self, shelf):
        shelf.login = LOGIN
        return shelf

    def test_they_are_told_to_nobody(self, place, host, shelf):
        """Neither user nor password of an index is in anything that is shown, logged or stored.

        It is asked for by an address for this time, once with a password that is wrong, and is then
        the index of the policy.
        """
        wrong = shelf.url.replace(LOGIN[1], "close-sesame-0815")
        host(f"url, wrong, purelib = {shelf.url!r}, {wrong!r}, Path({str(place.venv.purelib)!r})")
        seen = [host("plan = registry.plan('shop-tea==1.0', index_url=url)\nrepr(plan)")]
        assert host("plan.allowed")
        # The journal is there while it is done.
        host("journals = lambda: [each.read_text() for each in purelib.glob('.plugreg*.json')]")
        host("look = lambda line: told.extend([line, *journals()])")
        seen.append(host("report = registry.install(plan, progress=look)\nrepr(report)"))
        assert host("report.success")
        seen += [host("report.output"), host("str(report)")]

        for what in ("'shop-tea==3.0', index_url=url", "'shop-tea==2.0', index_url=wrong"):
            failed = host.failing(f"registry.install({what}, progress=told.append)")
            assert failed["reasons"]
            seen += [failed["shown"], *failed["reasons"]]
        given = json.loads((place.venv.home / "given.json").read_text())
        given["indexes"] = [shelf.url, shelf.host]
        (place.venv.home / "given.json").write_text(json.dumps(given))
        later = place.start()
        later("registry.load()")
        upgraded = later("repr(registry.install('shop-tea==2.0', progress=told.append))")
        told = [*host("told"), *later("told")]
        assert any('"what": "installing shop-tea==1.0"' in each for each in told)

        seen += [upgraded, *told, repr(host("packages.audit()")), place.log()]
        seen += [each.read_text() for each in (place.listed, place.venv.home / "store.json")]
        left = [each for each in place.venv.folder.rglob("*") if each.is_file()]
        seen += [each.read_text(errors="replace") for each in left if "pip" not in each.parts]
        assert place.lines() == ["shop-tea==2.0"]
        secrets = (*LOGIN, "close-sesame-0815")
        assert [each for each in seen if any(secret in each for secret in secrets)] == []


class TestKilled:
    """A host that is killed in the middle of an upgrade from version 1 to version 2."""

    @pytest.fixture
    def place(self, place, shelf):
        """Have version 1 installed and active, and make the plan of version 2."""
        killer = place.venv.purelib / "killer.py"
        killer.write_text(KILLER)
        killer.with_suffix(".pth").write_text("import killer\n")
        place.venv.put(shelf.folder / "shop_tea-1.0-py3-none-any.whl", place.program)
        place.listed.write_text(f"{HEADER}shop-tea==1.0\n")
        host = place.start()
        host("registry.load()\nregistry.activate('tea')")
        host("Path('plan.pickle').write_bytes(pickle.dumps(registry.plan('shop-tea==2.0')))")
        host.close()
        return place

    @pytest.fixture
    def rewind(self, place, tmp_path):
        """Give a function that makes all what it was before the upgrade."""
        kept = tmp_path / "kept"
        folders = (place.venv.folder, place.venv.home)
        for each in folders:
            shutil.copytree(each, kept / each.name, symlinks=True)

        def rewind():
            for each in folders:
                shutil.rmtree(each)
                shutil.copytree(kept / each.name, each, symlinks=True)

        return rewind

    @pytest.fixture
    def before(self, place):
        return place.tree()

    @pytest.fixture
    def ended(self, place, before, rewind):
        """Let the upgrade end well once: what there is then, its writes, and how long it took."""
        host = self.begin(place, number=0)
        started = time.monotonic()
        assert host.read()["value"]["success"]
        seconds = time.monotonic() - started
        host.close()
        writes = (place.venv.home / "count").read_text().splitlines()
        after = place.tree(times=False)
        rewind()
        return after, writes, seconds

    def begin(self, place, number):
        """Start a host that carries the plan out, and is killed before the write of that number."""
        host = place.start()
        host("registry.load()")
        (place.venv.home / "armed").write_text(f"{host.number} {number}")
        host.begin("registry.install(pickle.loads(Path('plan.pickle').read_bytes()))")
        return host

    def points(self, writes):
        """Return ten numbers of writes: first, last, the one that makes it final, and others."""
        journals = [n for n, each in enumerate(writes, 1) if each.endswith(".json")]
        final = max(n for n in journals if writes[n - 1].startswith("os.remove"))
        others = [1 + (len(writes) - 1) * each // 8 for each in range(9)]
        return sorted({*others, final, *([final - 1] if final in others else [])})

    def next_start(self, place, before, after, by):
        """Start anew after a kill, and see to all that is promised.

        Returns whether it was interrupted, and whether it is "before" or "after" then. ``by`` is
        what puts back.
        """
        wait_for(lambda: not place.running(), "the installer goes on without its host")
        for each in ("armed", "count"):
            (place.venv.home / each).unlink(missing_ok=True)
        seen = place.everything()
        host = place.start()
        host("registry.load()")
        told = host("[each.message for each in registry.errors if each.stage == 'install']")
        interrupted = host("packages.interrupted")
        assert place.everything() == seen
        if interrupted is None:
            assert told == []
        else:
            assert "installing shop-tea==2.0 was interrupted" in told[0]
            refused = host("[each.rule for each in registry.plan('shop-tea').refusals]")
            assert refused == ["interrupted"]
            host(by)
            assert place.everything() != seen
        if place.tree() == before:
            state = "before"
        else:
            state = "after" if place.tree(times=False) == after else "neither"
        assert host("packages.interrupted") is None
        assert host("registry.hook.price()") == [{"before": 1, "after": 2}.get(state)]
        assert host("registry.errors") == []
        assert place.lines() == [{"before": "shop-tea==1.0", "after": "shop-tea==2.0"}.get(state)]
        host.close()
        return interrupted is not None, state

    def test_at_any_instant(self, place, before, ended, rewind):
        """Killed ten times, each time at another instant, it was interrupted, or it is done.

        With pip it is killed ahead of ten of its writes, those of pip included; with uv, whose
        writes nobody can count, at times. The installer ends with its host. The next start says so
        and changes nothing; recover(), or the next installation, puts back; the lock is in nobody's
        way.
        """
        after, writes, seconds = ended
        points = self.points(writes)
        ways = ["packages.recover()"] * 10
        ways[3] = ways[6] = "registry.install(pickle.loads(Path('plan.pickle').read_bytes()))"
        found = []
        for each, by in enumerate(ways):
            if place.program == "pip":
                host = self.begin(place, points[each])
                assert host.wait() == -signal.SIGKILL
            else:
                host = self.begin(place, 0)
                time.sleep(seconds * (each + 0.5) / 10)
                host.kill()
            interrupted, state = self.next_start(place, before, after, by)
            found.append((by.partition("(")[0], interrupted, state))
            if state == "after":
                rewind()

        for by, interrupted, state in found:
            if interrupted:
                assert state == ("after" if by == "registry.install" else "before")
            else:
                assert state in ("before", "after")
        if place.program == "pip":
            assert len(points) == 10
            # The first is ahead of anything, the last when all was done.
            assert found[0] == ("packages.recover", False, "before")
            assert found[-1] == ("packages.recover", False, "after")
            assert sum(interrupted for _, interrupted, _ in found) >= 6


def wait_for(condition, failure):
    deadline = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < deadline, failure
        time.sleep(0.01)
