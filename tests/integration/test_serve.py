"""``make serve`` and the page on HTTP: its lines and its code work as they stand."""

from __future__ import annotations

import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SECTION = (ROOT / "docs" / "host" / "http.md").read_text(encoding="utf-8")
CONSOLES = re.findall(r"^```console\n(.*?)^```$", SECTION, re.MULTILINE | re.DOTALL)
CODE = re.findall(r"^```python\n(.*?)^```$", SECTION, re.MULTILINE | re.DOTALL)
EXCHANGES = [
    (line, answer.rstrip("\n"))
    for console in CONSOLES
    for line, answer in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", console, re.MULTILINE)
]


def with_curl(line, folder):
    """Run a line of a shell as it stands; return the status code and curl's output."""
    headers = folder / "headers"
    told = shlex.quote(str(headers))
    done = subprocess.run(
        ["sh", "-c", re.sub(r"^curl ", f"curl --noproxy '*' -sS -D {told} ", line)],
        capture_output=True,
        text=True,
        check=True,
    )
    return int(headers.read_text().split()[1]), done.stdout.rstrip("\n")


def with_urllib(line, folder):
    """Do the same as curl, for machines that have none."""
    url, headers, data, method, written = None, {}, [], None, ""
    words = iter(shlex.split(line)[1:])
    for word in words:
        match word:
            case "-H":
                name, _, value = next(words).partition(": ")
                headers[name] = value
            case "-X":
                method = next(words)
            case "-d":
                data.append(next(words))
            case "-w":
                written = next(words)
            case _:
                assert word.startswith("http://")
                url = word
    body = "&".join(data).encode() if data else None
    request = urllib.request.Request(url, body, headers, method=method)
    try:
        answer = urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request)
    except urllib.error.HTTPError as error:
        answer = error
    with answer:
        written = written.replace(r"\n", "\n").replace("%{http_code}", str(answer.status))
        return answer.status, (answer.read().decode() + written).rstrip("\n")


CLIENTS = {"urllib": with_urllib, **({"curl": with_curl} if shutil.which("curl") else {})}


@pytest.mark.parametrize("client", CLIENTS)
def test_lines_of_the_page_work_as_printed(server, tmp_path, client):
    """Each line of the page has, one after the other, the output that is shown below it."""
    assert len(EXCHANGES) >= 10
    for line, shown in EXCHANGES:
        here = line.replace("http://127.0.0.1:8000", server.address)
        assert here != line
        status, answer = CLIENTS[client](here, tmp_path)
        pattern = ".*".join(re.escape(part) for part in shown.split("…"))

        assert re.fullmatch(pattern, answer), f"{line}\n{answer}"
        # A refusal is shown with its status code.
        assert (status >= 400) is shown.endswith(f" {status}"), line

    status, _, told = server.end()
    assert status == 0
    assert "Traceback" not in told


@pytest.mark.parametrize("client", CLIENTS)
def test_lines_that_it_prints_work(server, tmp_path, client):
    """The lines that the server offers can be copied from there, and are not refused."""
    lines = [each.strip() for each in server.introduction.splitlines() if "curl" in each.split()]

    assert len(lines) == 2
    assert [CLIENTS[client](line, tmp_path)[0] for line in lines] == [200, 200]


def test_each_grade_has_a_token(server):
    """There is a word for each grade above nobody, and it is printed."""
    rows = re.findall(r"^  (\w+) +(\w+)$", server.introduction, re.MULTILINE)

    assert dict(rows[1:]) == {"superuser": "superuser", "staff": "staff", "reader": "authenticated"}


def test_no_other_name_of_this_machine_is_answered(server):
    """A site that gives its own name the loopback address reaches nothing with the known words."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    port = server.address.rpartition(":")[2]
    for host, status in (("evil.example", 400), ("localhost", 200)):
        headers = {"Host": f"{host}:{port}", "Authorization": "Token superuser"}
        request = urllib.request.Request(f"{server.address}/api/plugins/", headers=headers)
        try:
            with opener.open(request) as answer:
                answered = answer.status
        except urllib.error.HTTPError as error:
            with error:
                answered = error.status

        assert answered == status


def test_a_browser_signs_in_and_sees_the_page(server):
    """The address that is printed first asks for one of the tokens, which opens the page."""
    cookies = urllib.request.HTTPCookieProcessor()
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), cookies)
    with opener.open(f"{server.address}/") as answer:
        assert "superuser" in answer.read().decode()
    with opener.open(f"{server.address}/", b"token=superuser") as answer:
        page = answer.read().decode()

        assert answer.url == f"{server.address}/admin/"
        assert "plugins/greeting/activate/" in page
    with opener.open(f"{server.address}/admin/install/") as answer:
        assert 'name="requirement"' in answer.read().decode()


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_cleanly(server, sign):
    """Ctrl-C ends it without a word, as does being told to end, and it leaves no file behind."""
    assert [each.name for each in server.folder.glob("*/*.json")] == ["plugins.json"]

    assert server.end(sign) == (0, "", "")
    assert list(server.folder.iterdir()) == []


def test_port_that_is_taken_is_named(shop):
    """Where another program has the port, that is said, with status 1 and no traceback."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = shop.python(*shop.serving(port))

    assert (done.returncode, done.stdout) == (1, "")
    assert str(port) in done.stderr
    assert "SERVE_PORT=" in done.stderr
    assert "Traceback" not in done.stderr


PROBES = {
    "starlette": """
import asyncio
async def answered(headers):
    sent = []
    scope = {"type": "http", "method": "GET", "scheme": "http", "path": "/api/plugins/",
             "query_string": b"", "server": ("testserver", 80),
             "headers": [(k.lower().encode(), v.encode()) for k, v in headers.items()]}
    async def receive():
        return {"type": "http.request"}
    async def send(message):
        sent.append(message)
    await app(scope, receive, send)
    return sent[0]["status"]
def ask(headers):
    return asyncio.run(answered(headers))
""",
    "flask": """
def ask(headers):
    return app.test_client().get("/api/plugins/", headers=headers).status_code
""",
    "django": """
import sys
from django.conf import settings
settings.configure(ROOT_URLCONF=sys.modules[__name__], ALLOWED_HOSTS=["testserver"])
import django
django.setup()
from django.test import Client
def ask(headers):
    return Client().get("/api/plugins/", headers=headers).status_code
""",
}
PROBES["fastapi"] = PROBES["starlette"]


@pytest.mark.parametrize("framework", PROBES)
def test_code_for_each_framework_works(framework):
    """The lines of a host serve its plugins to those it knows, and refuse all others."""
    identify, *blocks = CODE
    (block,) = (each for each in blocks if re.search(rf"plugreg\.adapters\W.*{framework}", each))
    code = (
        "from plugreg import PluginRegistry\n"
        "registry = PluginRegistry('shop')\n"
        "registry.load()\n"
        f"{identify}\n{block}\n{PROBES[framework]}\n"
        "print(ask({'Authorization': 'Token sesame'}), ask({'Authorization': 'Token other'}),\n"
        "      ask({}))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "200 401 401\n"
