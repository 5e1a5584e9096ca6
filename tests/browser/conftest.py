"""Real Chromium before a real host; both are processes of their own."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import subprocess
import sys
import zipfile
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

import plugreg

SCREENS = {
    "plugins": "",
    "filtered": "?search=no-such-plugin",
    "question": "plugins/discount/deactivate/",
    "overview": "plugins/dashboard/",
    "settings": "plugins/greeting/settings/",
    "failures": "plugins/broken-init/failures/",
    "runtime": "plugins/broken-call/runtime/",
    "files": "plugins/dashboard/files/",
    "delete": "plugins/report/delete/",
    "attention": "attention/",
    "processes": "processes/",
    "install": "install/",
    "my settings": "my-settings/",
    "no such page": "nothing/",
}
"""Every screen that an address leads to, with something on it."""

CANARY = "canary-4711"


def missing(reason):
    """Skip, or fail where nothing may be skipped."""
    if os.environ.get("PLUGREG_TEST_NO_SKIP") == "1":
        pytest.fail(f"{reason}, and PLUGREG_TEST_NO_SKIP=1 forbids to skip")
    pytest.skip(reason)


@pytest.fixture(scope="module")
def chromium():
    """Yield the browser, to one module: its driver has an event loop run in this thread."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        missing("no chromium is on the path; run: make browser")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("playwright is not installed; run: make browser")
    with sync_playwright() as driver:
        # As root, in a container, there is no sandbox to be had.
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def axe():
    """Return the source of axe-core, which the browser runs."""
    try:
        import axe_playwright_python
    except ImportError:
        missing("axe-playwright-python is not installed; run: make browser")
    folder = Path(axe_playwright_python.__file__).parent
    return folder.joinpath("axe.min.js").read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def samples():
    """Return a folder with all sample distributions."""
    named = os.environ.get("PLUGREG_SAMPLES")
    folder = Path(named) if named else Path(__file__).parents[2] / "build" / "samples"
    if not (folder / "shop").is_dir():
        missing(f"no sample plugins are installed in {folder}; run: make build/samples/done")
    return folder


@pytest.fixture(scope="session")
def start_host(samples, tmp_path_factory):
    """Return a context manager that runs ``served.py``, whose value is the address of its page."""

    @contextmanager
    def start(**options):
        folder = tmp_path_factory.mktemp("host")
        options = {"store": str(folder / "store.json"), **options}
        path = [str(samples), str(Path(plugreg.__file__).parents[1])]
        program = str(Path(__file__).with_name("served.py"))
        process = subprocess.Popen(
            [sys.executable, "-P", program, json.dumps(options)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=_obey_modes,
        )
        with process:
            try:
                port = process.stdout.readline().strip()
                assert port, "the host did not start"
                yield f"http://127.0.0.1:{port}/admin/"
            finally:
                process.kill()

    return start


def _obey_modes():
    """Have root obey the modes of files, as others do: prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(24, 1, 0, 0, 0)


@pytest.fixture(scope="session")
def wheels(tmp_path_factory):
    """Return a folder with the wheel of a plugin that can be installed."""
    folder = tmp_path_factory.mktemp("wheels")
    info = "shop_stars-1.0.dist-info"
    files = {
        "shop_stars.py": "from plugreg import Plugin\n\n\nclass Stars(Plugin):\n    pass\n",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: shop-stars\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": "[shop.plugins]\nstars = shop_stars:Stars\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(folder / "shop_stars-1.0-py3-none-any.whl", "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)
    return folder


@pytest.fixture(scope="session")
def host(start_host, wheels):
    """Yield the address of the page of a host in which every sample is on, broken ones too."""
    with start_host(active=None, wheels=str(wheels), process="web-1") as address:
        yield address


@pytest.fixture
def open_page(chromium):
    """Yield a function that opens an address as somebody, in a browser of their own."""
    with ExitStack() as contexts:

        def open_as(address, who="superuser", **options):
            options = {"viewport": {"width": 1280, "height": 900}, **options}
            context = chromium.new_context(**options)
            contexts.callback(context.close)
            if who:
                cookie = {"name": "who", "value": who, "domain": "127.0.0.1", "path": "/"}
                context.add_cookies([cookie])
            page = context.new_page()
            page.set_default_timeout(30_000)
            page.goto(address)
            return page

        yield open_as


@pytest.fixture(scope="session")
def screens():
    """Return the paths of all screens, by name."""
    return SCREENS


@pytest.fixture(scope="session")
def canary(host):
    """Store a secret in a protected setting, and give it."""
    from urllib.request import Request, urlopen

    address = host.replace("/admin/", "/api/plugins/greeting/settings/API_KEY/")
    headers = {"Cookie": "who=superuser", "Content-Type": "application/json"}
    body = json.dumps({"value": CANARY}).encode()
    with urlopen(Request(address, body, headers, method="PATCH")) as answer:
        assert answer.status == 200
    return CANARY
