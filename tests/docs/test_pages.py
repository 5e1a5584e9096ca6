"""Each block of each page does what stands there, typed in an empty folder."""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import re
import subprocess
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
_file = Path(__file__).with_name("session.py")
_spec = importlib.util.spec_from_file_location("docs_session", _file)
session = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(session)

TESTS = [file for file in (ROOT / "tests").rglob("*.py") if file.parent != Path(__file__).parent]
OTHERS = "".join(file.read_text(encoding="utf-8") for file in TESTS)


def _has_tests_of_its_own(page):
    """Return whether a test reads the page: its blocks need more than an empty folder."""
    relative = page.relative_to(DOCS)
    return f'"{relative.as_posix()}"' in OTHERS or f'"{relative.parent}" / "{page.name}"' in OTHERS


BLOCK = re.compile(r"^```(python|console)$", re.MULTILINE)
TUTORIALS = [
    page
    for page in sorted((DOCS / "tutorials").glob("*.md"))
    if BLOCK.search(page.read_text(encoding="utf-8"))
]
PAGES = [
    page
    for page in sorted(DOCS.rglob("*.md"))
    if page not in TUTORIALS
    and not _has_tests_of_its_own(page)
    and BLOCK.search(page.read_text(encoding="utf-8"))
]


def _name(page):
    return page.relative_to(DOCS).with_suffix("").as_posix()


@pytest.fixture(scope="session")
def wheels(tmp_path_factory):
    """Give a folder with the wheel of plugreg, as a reader's index would have it."""
    built = ROOT / "build" / "wheels"
    if os.environ.get("PLUGREG_TEST_WHEEL") == "1":
        return built
    folder = tmp_path_factory.mktemp("wheels")
    command = [sys.executable, "-m", "uv", "build", "--quiet", "--wheel", "--out-dir", str(folder)]
    subprocess.run([*command, str(ROOT)], check=True)
    return folder


@pytest.fixture
def reader(tmp_path):
    """Give a reader of one page; the servers that it starts end with the test."""
    readers = []

    def make(variables, replaced):
        readers.append(session.Session(tmp_path / "page", variables, replaced))
        return readers[-1]

    yield make
    for each in readers:
        each.end()


@pytest.fixture
def index(tmp_path):
    """Give the address of an index on loopback, which has what the pages name."""
    folder = tmp_path / "index"
    for name, version in (("shop-discount", "2.0"), ("shop-weather", "1.0")):
        project = folder / "simple" / name
        project.mkdir(parents=True)
        wheel = session.write_wheel(project, name, version)
        (project / "index.html").write_text(f'<a href="{wheel.name}">{wheel.name}</a>')
    handler = functools.partial(Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}/simple"
        server.shutdown()


class Quiet(SimpleHTTPRequestHandler):
    """Serves files, and says nothing of it."""

    def log_message(self, *args):
        pass


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_a_page_does_what_it_says(page, index, tmp_path):
    """Its code runs in the order of the page, and prints what stands behind each ``print``."""
    replaced = json.dumps({"https://packages.example/simple": index})
    done = subprocess.run(
        [sys.executable, session.__file__, str(page), str(tmp_path / "page"), replaced],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", TUTORIALS, ids=_name)
def test_a_tutorial_can_be_typed(page, reader, wheels, tmp_path):
    """Somebody with Python and an empty folder types each line, and sees what stands there."""
    session.write_python(tmp_path / "bin")
    variables = {
        "PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "UV_FIND_LINKS": str(wheels),
        "PYTHONPATH": "",
        "PYTHONSAFEPATH": "",
        "no_proxy": "*",
    }
    typed = reader(variables, {"8000": str(session.free_port())}).type_page(page)

    assert typed > 0
