"""The sample shop, in a process for each call, on wheels that ``make test`` has built."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import plugreg

ROOT = Path(__file__).parents[2]
PREAMBLE = """
import json, sys
from shop.app import *
from shop.hookspecs import Hooks

def imported():
    return sorted(name for name in sys.modules if name.startswith("shop_"))

registry = make_registry(sys.argv[1])
registry.load()
"""


@pytest.fixture(scope="session")
def samples() -> Path:
    """Return a folder with all sample distributions, installed by pip."""
    named = os.environ.get("PLUGREG_SAMPLES")
    folder = Path(named) if named else ROOT / "build" / "samples"
    if not (folder / "shop").is_dir():
        reason = f"no sample plugins are installed in {folder}; run: make build/samples/done"
        if os.environ.get("PLUGREG_TEST_NO_SKIP") == "1":
            pytest.fail(f"{reason}. PLUGREG_TEST_NO_SKIP=1 forbids to skip")
        pytest.skip(reason)
    return folder


class Shop:
    """The sample shop with one store and one folder of plugins, in a process for each call."""

    def __init__(self, site, store):
        self.site = site
        self.store = store

    def how(self, *arguments):
        """Return arguments of subprocess for a Python with the samples and the tested plugreg."""
        path = [str(self.site), str(Path(plugreg.__file__).parents[1])]
        return {
            "args": [sys.executable, "-P", "-W", "error", *arguments],
            "env": {**os.environ, "PYTHONPATH": os.pathsep.join(path)},
            "text": True,
        }

    def python(self, *arguments):
        """Run Python and return the completed process."""
        return subprocess.run(**self.how(*arguments), capture_output=True, check=False)

    def serving(self, port):
        """Return the arguments that ``make serve`` gives to Python."""
        makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
        (recipe,) = re.findall(r"^serve: .*\n\t@\S+/python (.*)$", makefile, re.MULTILINE)
        return shlex.split(recipe.replace("$(SERVE_PORT)", str(port)))

    def run(self, code):
        """Run ``code`` after the shop's registry was loaded; return its ``answer``."""
        done = self.python("-c", f"{PREAMBLE}{code}\nprint(json.dumps(answer))", str(self.store))
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


class Server:
    """The shop's server, started as ``make serve`` starts it, on a port that is free.

    ``introduction`` is its output at its start, ``address`` is where it is, ``folder`` has its
    store.
    """

    def __init__(self, shop):
        self.folder = shop.store.with_name("served")
        self.folder.mkdir()
        self._log = shop.store.with_name("served.log")
        how = shop.how(*shop.serving(port=0))
        how["env"]["TMPDIR"] = str(self.folder)
        with self._log.open("w") as log:
            self._process = subprocess.Popen(**how, stdout=subprocess.PIPE, stderr=log)
        self.introduction = ""
        for line in self._process.stdout:
            self.introduction += line
            if line == "Ctrl-C ends it.\n":
                break
        else:
            self.kill()
            pytest.fail(f"the server did not start: {self._log.read_text()}")
        self.address = re.search(r"http://127\.0\.0\.1:\d+", self.introduction).group()

    def end(self, sign=signal.SIGINT):
        """End it; return the exit status and its output on both streams since it started."""
        self._process.send_signal(sign)
        rest, _ = self._process.communicate(timeout=30)
        return self._process.returncode, rest, self._log.read_text()

    def kill(self):
        """End it whatever it does."""
        with self._process:
            self._process.kill()


@pytest.fixture
def server(shop):
    """Yield the shop's server, running."""
    started = Server(shop)
    yield started
    started.kill()


@pytest.fixture
def shop(samples, tmp_path):
    """Return the shop with all samples and an empty store."""
    return Shop(samples, tmp_path / "plugins.json")


@pytest.fixture
def copied(samples, tmp_path):
    """Return the shop with a copy of all samples, to do harm to."""
    return Shop(
        shutil.copytree(samples, tmp_path / "site", ignore=shutil.ignore_patterns("*.pyc")),
        tmp_path / "plugins.json",
    )
