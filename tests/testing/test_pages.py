"""The pages for authors: the tests that they show pass, and the commands are there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import plugreg

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_on_testing_runs(tmp_path) -> None:
    """All code of the page is one module of tests, which pass with the checks of the plugin."""
    text = (DOCS / "author/testing.md").read_text(encoding="utf-8")
    code = "\n\n".join(re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))
    # The last block is a host's own kit: its fixture would be that of the tests above.
    tests, _, kit = code.partition("from plugreg import PluginRegistry, testing")
    (tmp_path / "shop_weather.py").write_text(tests, encoding="utf-8")
    (tmp_path / "test_weather.py").write_text("from shop_weather import *\n", encoding="utf-8")
    (tmp_path / "test_kit.py").write_text(
        f"from shop_weather import *\nfrom plugreg import PluginRegistry, testing{kit}\n"
        "class TestShop(ShopConformance):\n    plugin = Weather\n",
        encoding="utf-8",
    )
    root = [] if os.environ.get("PLUGREG_TEST_WHEEL") else [str(Path(plugreg.__file__).parents[1])]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull),
            *("--rootdir", tmp_path, tmp_path),
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *root])},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_options_and_commands_are_those_of_the_program() -> None:
    """Each option that the pages show is one of its command."""
    from click.testing import CliRunner

    from plugreg.cli import group

    help_of = {
        name: CliRunner().invoke(group(), [name, "--help"]).output
        for name in ("new", "check", "dev")
    }
    page = (DOCS / "author/new.md").read_text(encoding="utf-8")

    for option in re.findall(r"^\| `(--\w+)", page, re.MULTILINE):
        assert option in help_of["new"]
    assert "[SLUG|FOLDER|WHEEL]" in help_of["check"]
    assert "Ctrl-C" in help_of["dev"]
