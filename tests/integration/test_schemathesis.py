"""The served shop answers as ``PluginAPI.openapi()`` says, whatever schemathesis thinks of."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request

import pytest

from plugreg.api import PluginAPI

ANY_NAMES = ""
NAMES_THAT_ARE_THERE = """
[parameters]
"path.plugin" = "courier"
"path.key" = "PARCELS"
"path.feature" = "panel"

[[operations]]
include-path-regex = "/user-settings/{key}/"
parameters = { "path.plugin" = "courier", "path.key" = "DOORSTEP" }
"""
UNCHECKED = ("positive_data_acceptance", "negative_data_rejection")
"""What is allowed is narrower than the schemas say, and "yes" is a boolean."""


def _switch_on(address, slug):
    request = urllib.request.Request(
        f"{address}/api/plugins/{slug}/activate/",
        headers={"Authorization": "Token superuser"},
        method="PATCH",
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request) as answer:
        assert json.load(answer) == {"active": True}


@pytest.mark.parametrize(
    "names", [ANY_NAMES, NAMES_THAT_ARE_THERE], ids=["any names", "names that are there"]
)
def test_nothing_is_found(server, tmp_path, names):
    """About 20 examples of each operation, and all of its edges, get documented answers."""
    for slug in ("courier", "dashboard", "discount", "too-new"):
        _switch_on(server.address, slug)
    document, config = tmp_path / "openapi.json", tmp_path / "schemathesis.toml"
    document.write_text(json.dumps(PluginAPI.openapi()), encoding="utf-8")
    config.write_text(names, encoding="utf-8")
    options = {
        "--url": server.address,
        "--header": "Authorization: Token superuser",
        "--checks": "all",
        "--exclude-checks": ",".join(UNCHECKED),
        "--max-examples": "20",
        "--seed": "1",
        "--generation-database": "none",
    }
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(config)),
            *("run", str(document), "--no-color"),
            *(f"{name}={value}" for name, value in options.items()),
        ],
        cwd=tmp_path,
        env={**os.environ, "NO_PROXY": "127.0.0.1"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout
    assert f"Tested: {len(PluginAPI.operations)}\n" in done.stdout
    assert server.end()[0] == 0
