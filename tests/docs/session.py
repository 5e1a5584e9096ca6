"""A reader who types the blocks of a page, in an empty folder.

As a program it types one page, whose code leaves nothing behind in the process of the tests:
``python session.py PAGE FOLDER '{"in the page": "here"}'``.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

from sybil import Example
from sybil.document import Document
from sybil.parsers.markdown import CodeBlockParser

FILE = re.compile(r"# ([\w-]+(?:/[\w.-]+)*\.\w+|[\w-]+\.\w+)\n")
"""The first line of a block that is the contents of a file: its path."""

LANGUAGES = ("python", "toml", "console", "html", "ini")
LONG = 120.0
"""Seconds after which a command is given up; each takes far less."""

# Each command is read by its own shell, which finds the state of the previous command.
SHELL = """
set -a; test ! -f {state}/variables || . {state}/variables; set +a
test ! -f {state}/folder || cd "$(cat {state}/folder)"
{command}
status=$?
export -p > {state}/variables; pwd > {state}/folder
exit $status
"""


class Session:
    """The folder and the shell of one page.

    Args:
        folder: An empty folder.
        variables: Environment variables of the shell.
        replaced: Strings of the page that are others here, such as a port that is free.
    """

    def __init__(
        self, folder: Path, variables: dict[str, str], replaced: dict[str, str] | None = None
    ) -> None:
        self.folder = folder
        self.state = folder.with_name(f"{folder.name}-state")
        folder.mkdir()
        self.state.mkdir()
        self._variables = {**os.environ, **variables}
        self._replaced = replaced or {}
        self._started: list[subprocess.Popen[str]] = []

    def type_page(self, page: Path) -> int:
        """Type each block of a page, in order; return how many there were."""
        parsers = [CodeBlockParser(language, self._evaluate) for language in LANGUAGES]
        document = Document.parse(str(page), *parsers)
        document.namespace["__name__"] = "__page__"
        examples = list(document.examples())
        for example in examples:
            try:
                example.evaluate()
            except Exception as error:
                error.add_note(f"in the block at line {example.line} of {page}")
                raise
        return len(examples)

    def _evaluate(self, example: Example) -> None:
        language, source = example.region.lexemes["arguments"], self._here(str(example.parsed))
        if named := FILE.match(source):
            file = self.folder / named[1]
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(source, encoding="utf-8")
        elif language == "python":
            self._run_python(example, source)
        elif language == "console":
            for command, expected in exchanges(source):
                self._run_command(command, expected)

    def _here(self, text: str) -> str:
        for original, replacement in self._replaced.items():
            text = text.replace(original, replacement)
        return text

    def _run_python(self, example: Example, source: str) -> None:
        printed = io.StringIO()
        # The lines keep their numbers, so that a traceback leads to the page.
        code = compile("\n" * example.line + source, example.path, "exec")
        with contextlib.redirect_stdout(printed), contextlib.chdir(self.folder):
            exec(code, example.namespace)
        expected = re.findall(r"^\s*print\(.*\)  # (.*)$", source, re.MULTILINE)
        if expected:
            lines = printed.getvalue().splitlines()
            assert lines == expected, f"printed {lines}, and the page says {expected}"

    def _run_command(self, command: str, expected: str) -> None:
        is_server = command.endswith(" &")
        code = SHELL.format(state=shlex.quote(str(self.state)), command=command.removesuffix(" &"))
        process = subprocess.Popen(
            ["bash", "-c", code],
            cwd=self.folder,
            env=self._variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL if is_server else subprocess.PIPE,
            stderr=subprocess.DEVNULL if is_server else subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        if is_server:
            self._started.append(process)
            return
        try:
            printed, _ = process.communicate(timeout=LONG)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        matches = re.fullmatch(pattern_of(expected), printed.rstrip("\n"), re.DOTALL)
        assert matches, f"$ {command}\nprinted:\n{printed}\nexpected:\n{expected}"

    def end(self) -> None:
        """End the servers that were started."""
        for process in self._started:
            os.killpg(process.pid, signal.SIGTERM)
        for process in self._started:
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def exchanges(console: str) -> Iterator[tuple[str, str]]:
    """Yield each command of a console with its output; a backslash continues a command."""
    for command, printed in re.findall(
        r"^\$ ((?:.*\\\n)*.*)\n?((?:(?!\$ ).*(?:\n|\Z))*)", console, re.MULTILINE
    ):
        yield command, printed.rstrip("\n")


def pattern_of(expected: str) -> str:
    """Return the pattern of a command's output: … stands for anything that is left out."""
    return ".*".join(map(re.escape, expected.split("…")))


def free_port() -> int:
    """Return a port of the loopback interface that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def write_wheel(folder: Path, name: str, version: str) -> Path:
    """Write the wheel of a distribution with one plugin of the host ``shop``, and return it."""
    module = name.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    files = {
        f"{module}.py": "from plugreg import Plugin\n\n\nclass Main(Plugin):\n    pass\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[shop.plugins]\n{name.partition('-')[2]} = {module}:Main\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    wheel = folder / f"{module}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return wheel


def write_python(folder: Path) -> None:
    """Write a ``python3`` into a folder in which uv stands in for venv and pip.

    It makes the same environments from the same arguments, in a tenth of the time.
    """
    folder.mkdir()
    python, uv = shlex.quote(sys.executable), f"{shlex.quote(sys.executable)} -m uv"
    script = f"""#!/bin/sh
if test "$1 $2" != "-m venv"; then exec {python} "$@"; fi
{uv} venv --quiet --python {python} "$3"
printf '#!/bin/sh\\nexec {uv} pip "$@" --python "%s"\\n' "$(pwd)/$3/bin/python" > "$3/bin/pip"
chmod +x "$3/bin/pip"
"""
    file = folder / "python3"
    file.write_text(script, encoding="utf-8")
    file.chmod(0o755)


def main(page: str, folder: str, replaced: str) -> None:
    """Type a page, and end the servers that it has started."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    session = Session(Path(folder), {"PATH": path}, json.loads(replaced))
    try:
        assert session.type_page(Path(page)) > 0
    finally:
        session.end()


if __name__ == "__main__":
    main(*sys.argv[1:])
