"""The whole way: real distributions from an index on loopback, beside a real environment.

The work there is done by processes of a host in a virtual environment of each test, which go
on from one step to the next; pip and uv are the real ones. Through the adapter for Starlette the
requests come from a real uvicorn.
"""

from __future__ import annotations

import http.client
import importlib.metadata
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from contextlib import suppress
from pathlib import Path

import pytest
from packaging.requirements import Requirement

GROUP = "shop.plugins"
LOGIN = ("keeper-of-keys", "open-sesame-4711")
LONG = 60.0
"""Seconds after which a test gives up on what takes a moment."""
# Takes CAP_DAC_OVERRIDE from the program, by which root may write wherever it likes.
UNPRIVILEGED = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(24, 1, 0, 0, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""
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
    PipInstaller(environment="plugins.d", policy=policy, plugins_file="plugins.txt")
    if given["program"] == "pip"
    else UvInstaller(environment="plugins.d", policy=policy, plugins_file="plugins.txt")
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
    """Fill the index: versions of a plugin, two unsuitable ones, and distributions without plugins.

    Version 3 has a forbidden requirement, version 4 requires another packaging than plugreg.
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
    """A process of a host: each call is its next step, the last line of it an expression."""

    def __init__(self, venv, *, unprivileged=False):
        self._log = (venv.home / "log.txt").open("a")
        command = [str(venv.python), "-c", HOST]
        if unprivileged:
            command = [sys.executable, "-c", UNPRIVILEGED, *command]
        self._process = subprocess.Popen(
            command,
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
        """Wait for the result."""
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
        """Return the message of an error."""
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

    @property
    def environment(self):
        return self.venv.home / "plugins.d"

    def tree(self):
        """Return the files of the host's environment: mode, time and content of each.

        Files that Python compiles are left out.
        """
        found = {}
        for path in self.venv.folder.rglob("*"):
            if "__pycache__" not in path.parts:
                status = path.lstat()
                content = path.read_bytes() if path.is_file() else None
                found[str(path)] = (status.st_mode, status.st_mtime_ns, content)
        # A folder changes with its compiled files.
        return {path: told if told[2] is not None else told[0] for path, told in found.items()}

    @property
    def installed(self):
        """The versions in the serving generation, by canonical name."""
        number = (self.environment / "current").read_text().splitlines()[0]
        folder = self.environment / "generations" / number
        found = importlib.metadata.distributions(path=[str(folder)])
        return {e.name.lower().replace(".", "-").replace("_", "-"): e.version for e in found}

    def serving(self):
        """Return everything that decides what serves: ``current`` and the generations' files."""
        return {
            str(path): path.read_bytes()
            for path in self.environment.rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }

    def lines(self):
        """Return the lines of the plugins file beside the first."""
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
    """Yield an environment of its own, once for each program."""
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
        """Plan, install, upgrade, fail, be refused, go back, uninstall: each leaves its result.

        The host's environment is the same byte for byte at each step, and the audit knows it all.
        """
        at_first = place.tree()
        self.a_plan_touches_nothing(place, host, shelf, sha256)
        self.it_is_carried_out_as_it_is(place, host)
        self.what_is_new_is_off(host, other)
        self.an_upgrade_runs_at_once(place, host, other)
        failed = self.what_breaks_leaves_all_as_it_was(place, host, other)
        self.what_does_not_suit_is_refused(place, host)
        self.an_older_version_is_one_like_any_other(place, host, other)
        self.it_goes_back(place, host, other)
        self.an_active_plugin_stays(place, host)
        self.with_its_dependencies_it_goes(place, host, other)

        assert place.tree() == at_first
        assert host("registry.errors") == []
        self.the_audit_knows(host, failed, [sha256(file) for file in self.files(shelf)])

    def a_plan_touches_nothing(self, place, host, shelf, sha256):
        plan = host("plan = registry.plan('shop-tea==1.0')\nplan")
        [change] = plan["changes"]
        [file, *_] = self.files(shelf)

        assert not place.environment.exists()
        assert versions([change]) == {"shop-tea": (None, "1.0")}
        assert change["source"].endswith(f"/files/{file.name}")
        assert change["sha256"] == sha256(file)
        assert plan["plugins"] == ["tea"]
        assert host("plan.allowed")

    def it_is_carried_out_as_it_is(self, place, host):
        """The files are those of the plan: the network is not needed any more."""
        host("report = registry.install(plan, actor='user 7', progress=told.append)")
        report = host("report")

        assert host("report.plan == plan")
        assert (report["success"], report["version"], report["plugins"]) == (True, "1.0", ["tea"])
        assert report["location"] == str(place.environment / "generations" / "1")
        assert place.installed == {"shop-tea": "1.0"}
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
        host("report = registry.install('shop-tea==2.0', actor='user 7', progress=told.append)")
        report, told = host("report"), host("told")

        assert versions(report["plan"]["changes"]) == {
            "shop-tea": ("1.0", "2.0"),
            "shop-leaf": (None, "1.0"),
        }
        assert "\n".join(told) == report["output"]
        assert any("shop" in line.lower() for line in told)
        assert host("registry.hook.price()") == [2]
        assert other("registry.hook.price()") == [1]
        assert other("registry.refresh()")
        assert other("registry.hook.price()") == [2]
        assert place.lines() == ["shop-tea==2.0"]

    def what_breaks_leaves_all_as_it_was(self, place, host, other):
        """The plugins file cannot be read, which is found out when all else is ready."""
        before, listed = place.serving(), place.listed.read_bytes()
        place.listed.write_bytes(listed + b"# \xff\n")
        failed = host.failing("registry.install('shop-tea==5.0', actor='user 8')")

        assert place.listed.read_bytes() == listed + b"# \xff\n"
        place.listed.write_bytes(listed)
        assert failed["report"]["success"] is False
        assert failed["reasons"] == failed["report"]["reasons"] != []
        assert "shop" in failed["report"]["output"].lower()
        assert host("registry.hook.price()") == [2]
        assert not other("registry.refresh()")
        host("packages.recover()")
        assert place.serving() == before
        return failed

    def what_does_not_suit_is_refused(self, place, host):
        """Neither distributions that touch the host's are installed, nor ones without plugins."""
        before = place.serving()
        assert not host("registry.plan('shop-tea==3.0').allowed")
        plan = host("plan = registry.plan('shop-tea==4.0')\nplan")
        assert rules(plan) == {"conflict"}
        reason = plan["refusals"][0]["reason"]
        assert "requires packaging<24" in reason
        assert "the host has packaging" in reason
        assert "install it with isolate=True" in reason
        assert host.failing("registry.install(plan)")["error"] == "InstallRefusedError"

        plan = host("plan = registry.plan('shop-nothing')\nplan")
        assert (rules(plan), plan["plugins"]) == ({"plugin"}, [])
        assert GROUP in plan["refusals"][0]["reason"]
        assert host.failing("registry.install(plan)")["error"] == "InstallRefusedError"
        assert place.serving() == before

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

    def it_goes_back(self, place, host, other):
        """A rollback is one swap, in which no network and no installer has a part."""
        assert host("packages.rollback(actor='user 7').number") == 2
        assert host("registry.hook.price()") == [2]
        assert other("registry.refresh()")
        assert other("registry.hook.price()") == [2]
        assert place.lines() == ["shop-tea==2.0"]

    def an_active_plugin_stays(self, place, host):
        before = place.serving()

        assert host.failing("registry.uninstall('tea')")["reasons"] == [
            "Plugin cannot be uninstalled as it is currently active"
        ]
        assert place.serving() == before

    def with_its_dependencies_it_goes(self, place, host, other):
        host("registry.deactivate('tea')")
        report = host("packages.uninstall('tea', dependencies=True, actor='user 9')")

        assert versions(report["changes"]) == {
            "shop-leaf": ("1.0", None),
            "shop-tea": ("2.0", None),
        }
        assert place.installed == {}
        assert place.lines() == []
        assert host("'tea' in registry.plugins") is False
        assert other("registry.refresh()")
        assert other("'tea' in registry.plugins") is False

    def the_audit_knows(self, host, failed, hashes):
        audit = host("packages.audit()")
        done = [entry for entry in audit if entry["outcome"] == "done"]
        [undone] = [entry for entry in audit if entry["outcome"] == "failed"]
        refused = [entry["requirement"] for entry in audit if entry["outcome"] == "refused"]

        assert [(e["action"], e["requirement"], e["actor"]) for e in done] == [
            ("install", "shop-tea==1.0", "user 7"),
            ("install", "shop-tea==2.0", "user 7"),
            ("install", "shop-tea==1.0", None),
            ("rollback", "the generation before", "user 7"),
            ("uninstall", "shop-tea", "user 9"),
        ]
        assert (undone["requirement"], undone["actor"]) == ("shop-tea==5.0", "user 8")
        assert undone["reasons"] == failed["reasons"]
        assert refused[:2] == ["shop-tea==4.0", "shop-nothing"]
        assert [change["sha256"] for e in done[:2] for change in e["changes"]] == hashes

    def files(self, shelf):
        """Return the files of the first two installations."""
        names = ("shop_tea-1.0", "shop_leaf-1.0", "shop_tea-2.0")
        return [shelf.folder / f"{name}-py3-none-any.whl" for name in names]

    def test_a_host_that_may_not_be_written(self, place, host, shelf):
        """A read-only image with a volume for the folder installs like any other."""
        modes = {path: path.stat().st_mode for path in place.venv.folder.rglob("*")}
        for path in modes:
            if not path.is_symlink():
                path.chmod(0o555)
        try:
            host = Host(place.venv, unprivileged=True)
            host("registry.load()")
            assert host("registry.install('shop-tea==2.0').success")
            host.close()
        finally:
            for path, mode in modes.items():
                if not path.is_symlink():
                    path.chmod(mode)
        assert place.installed == {"shop-leaf": "1.0", "shop-tea": "2.0"}

    def test_what_came_is_there_for_a_host_of_another_environment(self, place, host, venv_template):
        """A rebuilt container has its plugins at once, from the volume alone."""
        host("registry.install('shop-tea==2.0')\nregistry.activate('tea')")
        host.close()
        shutil.rmtree(place.venv.folder)
        shutil.copytree(venv_template, place.venv.folder, symlinks=True)
        later = place.start()
        later("registry.load()")

        assert later("registry.hook.price()") == [2]


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
        """Return a function that sends a request to the host's server, and returns the answer."""
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

        # Only a confirmed plan is carried out.
        assert call("POST", "install/", packagename="shop-tea", confirm=False)[0] == 400
        assert not place.environment.exists()

        status, body = call("POST", "install/", **{k: v for k, v in asked.items() if v})
        assert status == 201
        assert {name: body.pop(name) for name in asked} == asked
        assert "shop" in body.pop("output").lower()
        assert body == {
            "result": f"Installed plugin into {place.environment / 'generations' / '1'}",
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

        # Failures and refusals are sentences, and nothing has changed.
        upgraded = place.serving()
        for version, word in (("3.0", "shop"), ("4.0", "packaging")):
            status, body = call(
                "POST", "install/", packagename="shop-tea", version=version, confirm=True
            )
            assert (status, set(body)) == (400, {"non_field_errors"})
            assert any(word in each for each in body["non_field_errors"])
            assert place.serving() == upgraded
        status, body = call("POST", "install/", packagename="--pre", confirm=True)
        assert (status, set(body)) == (400, {"packagename"})
        assert place.serving() == upgraded
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
        assert "shop-tea" not in place.installed
        assert place.tree() == at_first
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
    """Copy the files of an installed distribution into another environment."""
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
        host(f"url, wrong = {shelf.url!r}, {wrong!r}")
        seen = [host("plan = registry.plan('shop-tea==1.0', index_url=url)\nrepr(plan)")]
        assert host("plan.allowed")
        seen.append(host("report = registry.install(plan, progress=told.append)\nrepr(report)"))
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

        seen += [upgraded, *told, repr(host("packages.audit()")), place.log()]
        seen += [each.read_text() for each in (place.listed, place.venv.home / "store.json")]
        folders = (place.venv.folder, place.environment)
        left = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
        seen += [each.read_text(errors="replace") for each in left if "pip" not in each.parts]
        assert place.lines() == ["shop-tea==2.0"]
        secrets = (*LOGIN, "close-sesame-0815")
        assert [each for each in seen if any(secret in each for secret in secrets)] == []
