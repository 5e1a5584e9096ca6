"""Processes use the generation that serves, follow it, and never run anything in it by that."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import plugreg
from plugreg.install.distributions import distributions
from plugreg.install.generations import Generations, carry_over, is_unused
from plugreg.install.serving import Serving

ROOT = Path(plugreg.__file__).parents[1]

# A host that prints its state, once for each line that it reads.
HOST = """
import json, os, sys
from pathlib import Path
from plugreg import PluginRegistry
from plugreg.storage import MemoryStorage

class Installer:
    environment = Path(sys.argv[1])
    policy = plugins_file = None
    keep, lock_timeout = 3, 1.0

registry = PluginRegistry("shop", installer=Installer(), new_plugins="active")
path = list(sys.path)
registry.load()

def tell(refreshed=None):
    values = {slug: record.plugin.VALUE for slug, record in registry.active.items()}
    marks = {slug: id(record.plugin) for slug, record in registry.active.items()}
    places = {name: getattr(sys.modules[name], "__file__", None) for name in sys.modules
              if name.startswith("serving_")}
    errors = [error.message for error in registry.errors]
    print(json.dumps({"values": values, "marks": marks, "refreshed": refreshed, "path": sys.path,
                      "first": path, "places": places, "errors": errors}), flush=True)

tell()
for line in sys.stdin:
    if line.strip() == "fork":
        if not os.fork():
            tell(registry.refresh())
            os._exit(0)
        os.wait()
    else:
        exec(line)
        tell(registry.refresh())
"""


class Host:
    """A process of a host that uses an environment."""

    def __init__(self, environment: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", HOST, str(environment)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.first = self._read()

    def _read(self):
        return json.loads(self._process.stdout.readline())

    def __call__(self, line=""):
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        return self._read()

    def end(self) -> None:
        self._process.communicate()


@pytest.fixture
def environment(tmp_path):
    return tmp_path / "plugins.d"


@pytest.fixture
def host(environment):
    """Yield a function that starts a host, each of which is ended with the test."""
    hosts = []

    def start():
        hosts.append(Host(environment))
        return hosts[-1]

    yield start
    for started in hosts:
        started.end()


@pytest.fixture
def serve(environment, site):
    """Return a function that makes a generation serve, in which plugins have these values."""
    generations = Generations(environment)

    def serve(*, pth=None, **values):
        with generations.changing() as (current, folder):
            before = distributions(generations.folder(current.number))
            new = type(site)(folder)
            for name, value in values.items():
                old = before.get(f"shop-{name}")
                if (
                    old is not None
                    and f"VALUE = {value}" in (old.folder / f"serving_{name}.py").read_text()
                ):
                    carry_over(old, folder)
                    continue
                code = f"from plugreg import Plugin\nclass It(Plugin): VALUE = {value}\n"
                points = {"shop.plugins": {name: f"serving_{name}:It"}}
                new.dist(f"shop-{name}", "1.0", points, modules={f"serving_{name}.py": code})
            if pth is not None:
                (folder / "a.pth").write_text(f"import sys; open({str(pth)!r}, 'w')\n")
            generations.swap(generations.publish(folder, "", current), current)

    return serve


def test_its_plugins_are_found_after_the_host_s(serve, host, environment):
    """Its folder is the last entry of the path as soon as there is a registry."""
    serve(tea=1)
    told = host().first

    assert told["values"] == {"tea": 1}
    assert told["first"][-1] == str(environment / "generations" / "1")


def test_nothing_in_it_runs_by_itself(serve, host, tmp_path):
    """Not the code that a ``.pth`` file would run in a folder of the host's."""
    serve(tea=1, pth=tmp_path / "it-ran")

    assert host().first["values"] == {"tea": 1}
    assert not (tmp_path / "it-ran").exists()


def test_a_process_follows_at_its_next_refresh(serve, host):
    """Changed modules are imported again, unchanged ones are not, and removed ones are gone."""
    serve(tea=1, milk=1, cup=1)
    shop = host()
    serve(tea=2, milk=1)
    told = shop()

    assert told["refreshed"]
    assert told["values"] == {"milk": 1, "tea": 2}
    assert told["marks"]["milk"] == shop.first["marks"]["milk"]
    assert told["marks"]["tea"] != shop.first["marks"]["tea"]
    assert told["places"]["serving_milk"] == shop.first["places"]["serving_milk"]
    assert "serving_cup" not in told["places"]
    assert [entry for entry in told["path"] if "generations" in entry] == [told["path"][-1]]
    assert not shop()["refreshed"]


def test_it_follows_backwards_and_to_nothing(serve, host, environment):
    """As a rollback of another process demands."""
    serve(tea=1)
    shop = host()
    serve(tea=2)
    assert shop()["values"] == {"tea": 2}
    (environment / "current").write_text("1\n")
    assert shop()["values"] == {"tea": 1}
    (environment / "current").unlink()
    told = shop()

    assert told["values"] == {}
    assert not any("generations" in entry for entry in told["path"])


def test_a_process_that_forked_earlier_follows_too(serve, host):
    """It takes in changes that came after its parent had loaded."""
    serve(tea=1)
    shop = host()
    serve(tea=2)
    told = shop("fork")

    assert (told["values"], told["refreshed"]) == ({"tea": 2}, True)


def test_modules_of_a_removed_generation_keep_working(serve, host, environment):
    """The files that a process has imported are there until it drops them."""
    serve(tea=1, milk=1)
    shop = host()
    for value in range(2, 9):
        serve(tea=value, milk=1)
        shop()
    told = shop("assert open(sys.modules['serving_milk'].__file__).read()")

    assert told["places"]["serving_milk"].startswith(str(environment / "generations" / "1"))


def test_a_damaged_current_is_a_failure_of_the_registry(serve, host, environment):
    """Plugins in service stay, and the failure goes with the fault."""
    serve(tea=1)
    shop = host()
    (environment / "current").write_text("what?")
    told = shop()
    assert told["values"] == {"tea": 1}
    assert any("names no generation" in error for error in told["errors"])
    (environment / "current").write_text("1\n")

    assert shop()["errors"] == []


def test_a_closed_registry_uses_no_generation(serve, environment):
    """Others may remove it, and no file stays open."""
    serve(tea=1)
    generations = Generations(environment)
    path = list(sys.path)
    serving = Serving(generations)
    assert not is_unused(generations.lock_file(1))
    serving.close()
    sys.path[:] = path

    assert is_unused(generations.lock_file(1))


def test_closing_a_registry_closes_its_files(serve, host):
    """A process may make and close any number of registries."""
    serve(tea=1)
    shop = host()
    shop("files = len(os.listdir('/dev/fd'))")
    shop("[PluginRegistry('shop', installer=Installer()).close() for _ in range(3)]")

    assert shop("assert len(os.listdir('/dev/fd')) == files")
