"""An installer receives few of the host's variables, and their credentials are known."""

from __future__ import annotations

import netrc
import os
import re
import sysconfig
from pathlib import Path

import pytest

from plugreg.install.variables import commands_path, credentials_in, variables, with_netrc

SECRET = "s3cret-canary"


def test_few_variables_are_passed_on(monkeypatch):
    """An installer gets the variables that it needs, the network's and its own; no other secret."""
    for name in list(os.environ):
        monkeypatch.delenv(name)
    passed = {
        "PATH": "/bin",
        "HOME": "/home",
        "LANG": "C",
        "LC_ALL": "C",
        "XDG_CACHE_HOME": "/cache",
        "https_proxy": "http://proxy",
        "NO_PROXY": "localhost",
        "REQUESTS_CA_BUNDLE": "/ca",
        "SSL_CERT_FILE": "/ca",
    }
    others = ["AWS_SECRET_ACCESS_KEY", "DATABASE_URL", "PYTHONPATH", "UV_TOKEN", "LD_PRELOAD"]
    others += ["PIP_TARGET", "PIP_PROXY_TOO", "MY_PIP_PROXY"]
    for name, value in {**passed, "PIP_PROXY": "x", **dict.fromkeys(others, SECRET)}.items():
        monkeypatch.setenv(name, value)
    given = {"TMPDIR": "/work", "LANG": "de"}

    own = re.compile("PIP_PROXY|PIP_CERT")
    assert variables(own, given, isolated=True) == passed | given
    assert variables(own, given, isolated=False) == passed | given | {"PIP_PROXY": "x"}


def test_no_program_of_the_environment_is_on_the_path_of_commands(monkeypatch, tmp_path):
    """Whatever the folder is called there; nor is one that depends on where a command is run."""
    scripts = Path(sysconfig.get_path("scripts"))
    (tmp_path / "link").symlink_to(scripts)
    folders = ["/bin", str(scripts), "", "bin", str(tmp_path / "link"), str(tmp_path)]
    monkeypatch.setenv("PATH", os.pathsep.join(folders))

    assert commands_path() == os.pathsep.join(["/bin", str(tmp_path)])
    assert variables(re.compile(""), {}, isolated=True)["PATH"] == commands_path()


@pytest.mark.parametrize(
    ("given", "secrets"),
    [
        ({"PIP_INDEX_URL": "https://clerk:pa,55@a/ https://b/"}, {"clerk", "pa,55"}),
        ({"UV_FIND_LINKS": "https://a/,https://clerk:pa55@b/"}, {"clerk", "pa55"}),
        ({"UV_INDEX": "shop=https://clerk:p%40ss@a/"}, {"clerk", "p%40ss", "p@ss"}),
        ({"HTTPS_PROXY": "http://clerk:pa55@proxy:1"}, {"clerk", "pa55"}),
        ({"PIP_PROXY": "clerk:pa55@proxy:1"}, {"clerk", "pa55"}),
        ({"https_proxy": "clerk:pa55@proxy:1"}, {"clerk", "pa55"}),
        (
            {"UV_INDEX_SHOP_USERNAME": "clerk", "UV_INDEX_SHOP_PASSWORD": "p@/ 5"},
            {"clerk", "p@/ 5", "clerk:p@/ 5", "p%40%2F%205"},
        ),
        ({"UV_INDEX_SHOP_PASSWORD": "pa55"}, {"pa55"}),
        ({"UV_INDEX_SHOP_USERNAME": "t0ken"}, {"t0ken"}),
    ],
)
def test_credentials_in_variables(given, secrets):
    """They are in URLs, in proxies that have no scheme, and in variables for one index."""
    assert secrets <= set(credentials_in(given))


@pytest.mark.parametrize(
    "given",
    [
        {"PIP_INDEX_URL": "https://a/simple", "LC_ALL": "de_DE@euro", "HOME": "/home/me@here"},
        {"HTTPS_PROXY": "proxy:3128", "NO_PROXY": "a,b:1", "UV_PUBLISH_PASSWORD": ""},
        {"UV_INDEX_SHOP_USERNAME": "__token__", "PATH": "/a:/b", "LANG": ""},
    ],
)
def test_variables_without_credentials(given):
    """No word that is no secret is removed from the output."""
    found = credentials_in(given)
    assert [word for word in found if word.strip(":") not in ("", "__token__")] == []


def test_a_damaged_file_of_the_user_hides_no_login(monkeypatch, tmp_path):
    """Its entries would make the whole file useless, and those of an index with it."""
    (tmp_path / "own").write_text("machine x login\nfoo bar\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "own"))
    given = {"URL": "https://robot:geheim@index.example/simple"}

    found = with_netrc(given, ["URL"], tmp_path)
    logins = netrc.netrc(found["NETRC"])
    assert found["URL"] == "https://index.example/simple"
    assert logins.authenticators("index.example") == ("robot", "", "geheim")
