"""Distributions that tests build, an index on loopback that has them, and environments for them.

Here are real wheels and source distributions, a real HTTP server, and real virtual
environments, in which all that plugreg needs is installed.
"""

from __future__ import annotations

import base64
import hashlib
import importlib
import importlib.metadata
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import threading
import tomllib
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import unquote

import pytest

import plugreg
from plugreg.install import InstallPolicy, PipInstaller, UvInstaller

ROOT = Path(__file__).parents[2]

BACKEND = '''
"""A build backend that needs nothing: it copies a folder into a wheel."""
import os, pathlib, zipfile

FILES = pathlib.Path("wheel")

def _info():
    return next(FILES.glob("*.dist-info"))

def prepare_metadata_for_build_wheel(folder, settings=None):
    import shutil
    shutil.copytree(_info(), os.path.join(folder, _info().name))
    return _info().name

def build_wheel(folder, settings=None, metadata=None):
    exec(pathlib.Path("build_step.py").read_text())
    name = _info().name.removesuffix(".dist-info") + "-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(folder, name), "w") as wheel:
        for file in sorted(FILES.rglob("*")):
            wheel.write(file, file.relative_to(FILES))
    return name
'''
PYPROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""

# Takes CAP_DAC_OVERRIDE from the program, by which root may write wherever it likes.
UNPRIVILEGED = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(24, 1, 0, 0, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


def _wheel_files(
    name: str,
    version: str,
    *,
    requires: Sequence[str] = (),
    entry_points: Mapping[str, Mapping[str, str]] | None = None,
    modules: Mapping[str, str] | None = None,
    requires_python: str | None = None,
) -> dict[str, bytes]:
    info = f"{_file_name(name)}-{version}.dist-info"
    metadata = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}"]
    metadata += [f"Requires-Dist: {each}" for each in requires]
    extras = sorted(set(re.findall(r"extra == '(.+?)'", " ".join(requires))))
    metadata += [f"Provides-Extra: {each}" for each in extras]
    metadata += [f"Requires-Python: {requires_python}"] if requires_python else []
    groups = [
        f"[{group}]\n" + "".join(f"{key} = {value}\n" for key, value in entries.items())
        for group, entries in (entry_points or {}).items()
    ]
    texts = {
        **(modules or {}),
        f"{info}/METADATA": "\n".join(metadata) + "\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    if groups:
        texts[f"{info}/entry_points.txt"] = "\n".join(groups)
    files = {path: text.encode() for path, text in texts.items()}
    lines = [f"{path},{_record_hash(data)},{len(data)}" for path, data in files.items()]
    files[f"{info}/RECORD"] = "\n".join([*lines, f"{info}/RECORD,,\n"]).encode()
    return files


def _file_name(name: str) -> str:
    return re.sub(r"[-_.]+", "_", name).lower()


def _record_hash(data: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest())
    return f"sha256={digest.decode().rstrip('=')}"


def _make_wheel(
    folder: Path,
    name: str,
    version: str,
    *,
    requires: Sequence[str] = (),
    entry_points: Mapping[str, Mapping[str, str]] | None = None,
    modules: Mapping[str, str] | None = None,
    requires_python: str | None = None,
) -> Path:
    files = _wheel_files(
        name,
        version,
        requires=requires,
        entry_points=entry_points,
        modules=modules,
        requires_python=requires_python,
    )
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{_file_name(name)}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for each, data in files.items():
            wheel.writestr(each, data)
    return path


def _make_sdist(
    folder: Path,
    name: str,
    version: str,
    *,
    requires: Sequence[str] = (),
    entry_points: Mapping[str, Mapping[str, str]] | None = None,
    modules: Mapping[str, str] | None = None,
    requires_python: str | None = None,
    build_step: str = "",
) -> Path:
    top = f"{_file_name(name)}-{version}"
    files = _source_files(
        _wheel_files(
            name,
            version,
            requires=requires,
            entry_points=entry_points,
            modules=modules,
            requires_python=requires_python,
        ),
        build_step,
    )
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{top}.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for each, data in files.items():
            member = tarfile.TarInfo(f"{top}/{each}")
            member.size = len(data)
            member.mtime = 1_000_000_000  # Zip files know no time before 1980.
            archive.addfile(member, io.BytesIO(data))
    return path


def _source_files(wheel: Mapping[str, bytes], build_step: str) -> dict[str, bytes]:
    metadata = next(data for path, data in wheel.items() if path.endswith("/METADATA"))
    return {
        **{f"wheel/{path}": data for path, data in wheel.items()},
        "PKG-INFO": metadata,
        "pyproject.toml": PYPROJECT.encode(),
        "backend.py": BACKEND.encode(),
        "build_step.py": build_step.encode(),
    }


def _make_repository(
    folder: Path, name: str, version: str, *, build_step: str = "", **wheel: Any
) -> str:
    """Commit the source of a distribution to ``folder``, made if missing; return the commit."""
    if shutil.which("git") is None:
        _skip("git is not on the path")
    work = folder.with_suffix(".work")
    identity = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    for role in ("AUTHOR", "COMMITTER"):
        identity |= {f"GIT_{role}_NAME": "test", f"GIT_{role}_EMAIL": "test@example.org"}

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments],
            cwd=work,
            env={**os.environ, **identity},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    if not work.exists():
        work.mkdir(parents=True)
        git("init", "--quiet", "--initial-branch=main")
        git("init", "--quiet", "--bare", "--initial-branch=main", str(folder))
    for each in work.iterdir():
        if each.name != ".git":
            shutil.rmtree(each) if each.is_dir() else each.unlink()
    for path, data in _source_files(_wheel_files(name, version, **wheel), build_step).items():
        (work / path).parent.mkdir(parents=True, exist_ok=True)
        (work / path).write_bytes(data)
    git("add", "--all")
    git("commit", "--quiet", "--allow-empty", "--message", version)
    git("push", "--quiet", str(folder), "main")
    # It is read by plain HTTP, for which git wants a list of the files.
    git("--git-dir", str(folder), "update-server-info")
    return git("rev-parse", "HEAD")


@pytest.fixture
def make_wheel() -> Any:
    """Return a function that writes a wheel into a folder and returns its path.

    ``make_wheel(folder, name, version, *, requires=(), entry_points=None, modules=None,
    requires_python=None)``: ``entry_points`` maps groups to names to values, ``modules`` paths to
    sources.
    """
    return _make_wheel


@pytest.fixture
def make_sdist() -> Any:
    """Return a function like ``make_wheel`` for a source distribution, built by its contents.

    ``build_step`` is a program that runs while a wheel is built of it.
    """
    return _make_sdist


@pytest.fixture
def make_repository() -> Any:
    """Return a function that commits a distribution to a bare git repository on branch ``main``.

    Its parameters are those of ``make_sdist``, and the first one is the repository's own folder;
    it returns the commit.
    """
    return _make_repository


class Index:
    """An index of packages on loopback: ``/simple/`` of PEP 503 and 691, ``/files/`` of ``folder``.

    ``login`` is a user and a password that each request must have, or None. ``requests`` are the
    paths that were requested. ``entries`` has more of the index's data on files, by their names
    (``{"yanked": "broken"}``).
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.login: tuple[str, str] | None = None
        self.requests: list[str] = []
        self.entries: dict[str, dict[str, Any]] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.host = f"127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    @property
    def url(self) -> str:
        """The address of the index, with the login in it where there is one."""
        return f"{self.address}/simple/"

    @property
    def address(self) -> str:
        """Where the server is, without the last slash, with the login where there is one."""
        login = f"{self.login[0]}:{self.login[1]}@" if self.login else ""
        return f"http://{login}{self.host}"

    def close(self) -> None:
        """End the server."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(index) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                path = unquote(self.path.partition("?")[0])
                index.requests.append(path)
                status, kind, body = index._answer(path, self.headers)
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                if status == 401:
                    self.send_header("WWW-Authenticate", 'Basic realm="index"')
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body)

            do_HEAD = do_GET

            def log_message(self, *arguments: Any) -> None:
                pass

        return Handler

    def _answer(self, path: str, headers: Any) -> tuple[int, str, bytes]:
        if self.login is not None:
            expected = base64.b64encode(":".join(self.login).encode()).decode()
            if headers.get("Authorization") != f"Basic {expected}":
                return 401, "text/plain", b""
        parts = path.strip("/").split("/")
        if parts[0] == "files":
            file = self.folder.joinpath(*parts[1:])
            if ".." not in parts and file.is_file():
                return 200, "application/octet-stream", file.read_bytes()
        elif parts[0] == "simple" and len(parts) == 2:
            files = [each for each in sorted(self.folder.iterdir()) if _is_of(each, parts[1])]
            if files and "simple.v1+json" in headers.get("Accept", ""):
                page = {"meta": {"api-version": "1.1"}, "name": parts[1], "versions": []}
                page["files"] = [self._entry(each) for each in files]
                return 200, "application/vnd.pypi.simple.v1+json", json.dumps(page).encode()
            if files:
                return 200, "text/html", "".join(map(self._link, files)).encode()
        return 404, "text/plain", b""

    def _entry(self, file: Path) -> dict[str, Any]:
        return {
            "filename": file.name,
            "url": f"http://{self.host}/files/{file.name}",
            "hashes": {"sha256": _sha256(file)},
            "size": file.stat().st_size,
            "requires-python": _requires_python(file),
            **self.entries.get(file.name, {}),
        }

    def _link(self, file: Path) -> str:
        python = (_requires_python(file) or "").replace(">", "&gt;").replace("<", "&lt;")
        needed = f' data-requires-python="{python}"' if python else ""
        return f'<a href="/files/{file.name}#sha256={_sha256(file)}"{needed}>{file.name}</a>\n'


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.fixture
def sha256() -> Any:
    """Return a function that returns the hash of a file as an index tells it."""
    return _sha256


@pytest.fixture
def assert_recorded() -> Any:
    """Return a function that checks the hashes and sizes in the RECORD of a metadata folder."""

    def check(metadata: Path) -> None:
        found = importlib.metadata.Distribution.at(metadata)
        hashed = [each for each in found.files or () if each.hash is not None]
        assert "direct_url.json" in [each.name for each in hashed]
        for file in hashed:
            content = file.read_binary()
            recorded = (f"{file.hash.mode}={file.hash.value}", file.size)
            assert (_record_hash(content), len(content)) == recorded

    return check


def _is_of(file: Path, name: str) -> bool:
    wheel = file.suffix == ".whl"
    own = file.name.partition("-")[0] if wheel else file.name.rpartition("-")[0]
    return file.is_file() and _file_name(own) == _file_name(name)


def _requires_python(file: Path) -> str | None:
    if file.suffix != ".whl":
        return None
    with zipfile.ZipFile(file) as wheel:
        names = [each for each in wheel.namelist() if each.endswith(".dist-info/METADATA")]
        [metadata] = [each for each in names if each.count("/") == 1]
        found = re.search(r"^Requires-Python: (.*)$", wheel.read(metadata).decode(), re.MULTILINE)
    return None if found is None else found[1]


@pytest.fixture
def index(tmp_path: Path) -> Any:
    """Yield an empty index; files in its ``folder`` are in it at once."""
    index = Index(tmp_path / "index")
    yield index
    index.close()


class Venv:
    """A virtual environment with pip, plugreg and its dependencies, and a home of its own."""

    def __init__(self, folder: Path, home: Path) -> None:
        self.folder = folder
        self.home = home
        windows = os.name == "nt"
        self.scripts = folder / ("Scripts" if windows else "bin")
        self.python = self.scripts / ("python.exe" if windows else "python")
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        lib = folder / "Lib" if windows else folder / "lib" / version
        self.purelib = lib / "site-packages"
        (home / "tmp").mkdir(parents=True, exist_ok=True)

    def variables(self, **changed: str | None) -> dict[str, str]:
        """Return the variables of a program in it: no index but a closed port on loopback.

        A variable that is None is left out.
        """
        nowhere = "http://127.0.0.1:1/simple/"
        given = {
            # Programs of the environment of the tests, such as uv, are found last.
            "PATH": os.pathsep.join((os.environ["PATH"], str(Path(sys.executable).parent))),
            "HOME": str(self.home),
            "TMPDIR": str(self.home / "tmp"),
            "PIP_INDEX_URL": nowhere,
            "PIP_RETRIES": "0",
            "UV_INDEX_URL": nowhere,
            "UV_HTTP_RETRIES": "0",
            **changed,
        }
        return {name: value for name, value in given.items() if value is not None}

    def start(
        self, code: str, *arguments: Any, unprivileged: bool = False, **changed: str | None
    ) -> subprocess.Popen[str]:
        """Start a program in it; its arguments are in ``sys.argv[1:]``.

        With ``unprivileged`` the modes of files and folders hold for root too.
        """
        command = [str(self.python), "-c", code, *map(str, arguments)]
        if unprivileged:
            command = [sys.executable, "-c", UNPRIVILEGED, *command]
        return subprocess.Popen(
            command,
            env=self.variables(**changed),
            cwd=self.home,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, code: str, *arguments: Any, unprivileged: bool = False, **changed: Any) -> Any:
        """Run a program in it to its end, and return its last output, read as JSON."""
        with self.start(code, *arguments, unprivileged=unprivileged, **changed) as process:
            out, told = process.communicate(timeout=300)
        assert process.returncode == 0, told
        return json.loads(out.splitlines()[-1])

    def put(self, wheel: Path, installer: str = "pip") -> None:
        """Put the contents of a wheel into it, as an installer would have left it."""
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(self.purelib)
            [record] = [each for each in archive.namelist() if each.endswith("/RECORD")]
        told = (self.purelib / record).with_name("INSTALLER")
        told.write_text(f"{installer}\n")
        with (self.purelib / record).open("a") as file:
            file.write(f"{told.relative_to(self.purelib).as_posix()},,\n")

    def open_to(self, prefix: Path) -> None:
        """Let it see distributions of another prefix too, as its system's."""
        (prefix / "bin").mkdir(exist_ok=True)
        (self.folder / "pyvenv.cfg").write_text(
            f"home = {prefix / 'bin'}\ninclude-system-site-packages = true\n"
        )

    @property
    def installed(self) -> dict[str, str]:
        """The versions of installed distributions, by canonical name."""
        found = importlib.metadata.distributions(path=[str(self.purelib)])
        return {_file_name(each.name).replace("_", "-"): each.version for each in found}

    def snapshot(self) -> dict[str, tuple[int, int, str]]:
        """Return mode, time and content of each file in it, but for compiled modules."""
        return {
            str(each.relative_to(self.folder)): (
                each.lstat().st_mode,
                each.lstat().st_mtime_ns,
                str(each.readlink()) if each.is_symlink() else _sha256(each),
            )
            for each in sorted(self.folder.rglob("*"))
            if (each.is_symlink() or each.is_file()) and each.parent.name != "__pycache__"
        }


def _skip(reason: str) -> NoReturn:
    if os.environ.get("PLUGREG_TEST_NO_SKIP") == "1":
        pytest.fail(f"{reason}. PLUGREG_TEST_NO_SKIP=1 forbids to skip")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def venv_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an environment to copy, with the pip and the dependencies that run the tests."""
    folder = tmp_path_factory.mktemp("venv") / "template"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    purelib = Venv(folder, folder.parent / "home").purelib
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for name in ("pip", *_closure(declared["dependencies"])):
        _copy_distribution(name, purelib)
    package = Path(plugreg.__file__).parent
    shutil.copytree(package, purelib / "plugreg")
    _write_metadata(purelib, declared, package)
    return folder


def _closure(requirements: Iterable[str]) -> list[str]:
    """Return the names of all requirements in this interpreter, with their own requirements."""
    from packaging.requirements import Requirement

    found: dict[str, None] = {}
    waiting = list(requirements)
    while waiting:
        requirement = Requirement(waiting.pop())
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            if requirement.name not in found:
                waiting += importlib.metadata.requires(requirement.name) or []
            found[requirement.name] = None
    return list(found)


def _copy_distribution(name: str, purelib: Path) -> None:
    try:
        files = importlib.metadata.files(name) or []
    except importlib.metadata.PackageNotFoundError:
        _skip(f"{name} is not installed, so no environment can be made with it")
    for each in files:
        source = Path(str(each.locate()))
        # Scripts stand outside, and begin with the path of the interpreter that they are for.
        if ".." not in each.parts and source.is_file():
            target = purelib / each
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)


def _write_metadata(purelib: Path, declared: Mapping[str, Any], package: Path) -> None:
    info = purelib / f"plugreg-{declared['version']}.dist-info"
    info.mkdir()
    lines = [f"Requires-Dist: {each}" for each in declared["dependencies"]]
    head = f"Metadata-Version: 2.4\nName: plugreg\nVersion: {declared['version']}\n"
    (info / "METADATA").write_text(head + "\n".join(lines) + "\n")
    (info / "INSTALLER").write_text("pip\n")
    files = sorted(each.relative_to(package.parent) for each in package.rglob("*.py"))
    own = [f"{info.name}/{each}" for each in ("METADATA", "INSTALLER", "RECORD")]
    (info / "RECORD").write_text("".join(f"{each},,\n" for each in [*files, *own]))


@pytest.fixture
def venv(venv_template: Path, tmp_path: Path) -> Venv:
    """Return an environment for a test."""
    folder = tmp_path / "venv"
    shutil.copytree(venv_template, folder, symlinks=True)
    return Venv(folder, tmp_path / "home")


@pytest.fixture
def uv_path() -> str:
    """Return the path of uv, of the package if it is installed."""
    try:
        return str(importlib.import_module("uv").find_uv_bin())
    except (ImportError, FileNotFoundError):
        found = shutil.which("uv")
    if found is None:
        reason = "uv is neither installed nor on the path"
        if os.environ.get("PLUGREG_TEST_NO_SKIP") == "1":
            pytest.fail(f"{reason}. PLUGREG_TEST_NO_SKIP=1 forbids to skip")
        pytest.skip(reason)
    return found


@pytest.fixture
def own_home(tmp_path: Path, monkeypatch) -> None:
    """Keep the configuration and the caches of whoever runs the tests out of them."""
    for name in list(os.environ):
        if name.startswith(("PIP_", "UV_", "XDG_")):
            monkeypatch.delenv(name)
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("UV_NO_CONFIG", "1")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")


@pytest.fixture
def make_driver(own_home, tmp_path: Path, index):
    """Return a function that makes a driver by its name, with the index of the test."""

    def make(name: str, *, timeout: float = 120.0, **policy: Any) -> Any:
        rules = InstallPolicy(**{"indexes": [index.url], **policy})
        options = {"environment": tmp_path / "plugins.d", "policy": rules, "timeout": timeout}
        return PipInstaller(**options) if name == "pip" else UvInstaller(**options)

    return make


@pytest.fixture
def make(index, make_wheel):
    """Return a function that puts a distribution without dependencies of its own into the index."""

    def put(name: str, version: str, *requires: str, **options: Any) -> Path:
        modules = {f"{name.replace('-', '_')}.py": f"VERSION = {version!r}\n"}
        return make_wheel(
            index.folder, name, version, requires=requires, modules=modules, **options
        )

    return put


@pytest.fixture
def host(tmp_path: Path, monkeypatch):
    """Return a function that adds a distribution to the host's environment, as pip leaves it."""
    folder = tmp_path / "host"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))

    def add(name: str, version: str, *requires: str, is_editable: bool = False) -> Path:
        metadata = folder / f"{name.replace('-', '_')}-{version}.dist-info"
        metadata.mkdir()
        lines = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}"]
        lines += [f"Requires-Dist: {line}" for line in requires]
        lines += [f"Provides-Extra: {extra}" for extra in ("pdf",)]
        (metadata / "METADATA").write_text("\n".join(lines) + "\n")
        (metadata / "INSTALLER").write_text("pip\n")
        files = [f"{metadata.name}/METADATA,,", f"{metadata.name}/RECORD,,"]
        if is_editable:
            direct = {"url": folder.as_uri(), "dir_info": {"editable": True}}
            (metadata / "direct_url.json").write_text(json.dumps(direct))
            (folder / f"__editable__.{name}.pth").write_text(f"{folder}\n")
            files.append(f"__editable__.{name}.pth,,")
        (metadata / "RECORD").write_text("\n".join(files) + "\n")
        return folder

    return add
