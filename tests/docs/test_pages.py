"""Each block of each page works as it stands, typed in an empty folder."""

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
from uuid import uuid4

import pytest
import sqlalchemy as sa

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
    """Return a folder with the wheel of plugreg, as a reader's index would have it."""
    built = ROOT / "build" / "wheels"
    if os.environ.get("PLUGREG_TEST_WHEEL") == "1":
        return built
    folder = tmp_path_factory.mktemp("wheels")
    command = [sys.executable, "-m", "uv", "build", "--quiet", "--wheel", "--out-dir", str(folder)]
    subprocess.run([*command, str(ROOT)], check=True)
    return folder


@pytest.fixture
def reader(tmp_path):
    """Yield a reader of one page; the servers that it starts end with the test."""
    readers = []

    def make(variables, replaced):
        readers.append(session.Session(tmp_path / "page", variables, replaced))
        return readers[-1]

    yield make
    for each in readers:
        each.end()


@pytest.fixture
def index(tmp_path):
    """Yield the address of an index on loopback, which has the distributions of the pages."""
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
    """Its code runs in the order of the page, and prints the comment behind each ``print``."""
    replaced = json.dumps({"https://packages.example/simple": index})
    done = subprocess.run(
        [sys.executable, session.__file__, str(page), str(tmp_path / "page"), replaced],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr


@pytest.fixture
def type_tutorial(reader, wheels, tmp_path):
    """Return a function that types a tutorial, on an index that has plugreg."""

    def type_tutorial(page, **replaced):
        session.write_python(tmp_path / "bin")
        variables = {
            "PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "UV_FIND_LINKS": str(wheels),
            "PYTHONPATH": "",
            "PYTHONSAFEPATH": "",
            "no_proxy": "*",
        }
        return reader(variables, {"8000": str(session.free_port()), **replaced}).type_page(page)

    return type_tutorial


@pytest.mark.parametrize("page", TUTORIALS, ids=_name)
def test_a_tutorial_can_be_typed(page, type_tutorial):
    """Somebody with Python and an empty folder types each line, and sees the shown output."""
    assert type_tutorial(page) > 0


@pytest.fixture
def postgresql():
    """Yield the address of a new database of PostgreSQL, which is dropped afterwards."""
    given = os.environ.get("PLUGREG_TEST_POSTGRESQL")
    url = sa.make_url(given or "postgresql+psycopg://postgres@127.0.0.1:5432/test")
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    name = f"docs_{uuid4().hex[:12]}"
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {name}")
    except sa.exc.OperationalError as error:
        if os.environ.get("PLUGREG_TEST_NO_SKIP") == "1":
            pytest.fail(f"{error}. PLUGREG_TEST_NO_SKIP=1 forbids to skip")
        pytest.skip(f"PostgreSQL does not answer: {error}")
    yield url.set(database=name).render_as_string(hide_password=False)
    with engine.connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
    engine.dispose()


def test_the_fastapi_host_runs_on_postgresql(type_tutorial, postgresql):
    """The store is an address: with that of a server, all that the page shows is the same."""
    replaced = {"plugreg[fastapi,sql]": "plugreg[fastapi,postgresql]"}
    page = DOCS / "tutorials" / "fastapi.md"

    assert type_tutorial(page, **replaced, **{"sqlite:///plugins.db": postgresql}) > 0
