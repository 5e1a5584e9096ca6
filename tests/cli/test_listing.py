"""``plugreg list`` and ``plugreg show``."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.fixture
def filled(shop):
    """Return a shop with three plugins, one of which is switched on and one ends its process."""
    shop.plugin("discount")
    shop.plugin("crash", "import os\nos._exit(3)\n")
    shop.plugin("tax", version="2.1")
    shop.wish(discount=True, crash=True)
    return shop


class TestList:
    def test_lists_what_is_wanted_and_imports_nothing(self, filled):
        """Without a live process the state is unknown, and a plugin that would end us does not."""
        done = filled.run("list", "--json")

        assert done.code == 0
        assert [(p["slug"], p["wanted"], p["state"]) for p in done.document["plugins"]] == [
            ("crash", True, "unknown"),
            ("discount", True, "unknown"),
            ("tax", False, "unknown"),
        ]
        assert {"shop_discount", "shop_crash", "shop_tax"}.isdisjoint(sys.modules)

    def test_writes_nothing(self, filled):
        """The file is the same, byte for byte, and so is the revision."""
        filled.plugin("new")
        before = filled.store.read_bytes()

        filled.run("list")

        assert filled.store.read_bytes() == before

    def test_shows_what_the_live_processes_have(self, filled):
        """SERVES counts the processes that are heard."""
        filled.wish(crash=False)
        with filled.serving("web"), filled.serving("worker"):
            rows = {row["slug"]: row for row in filled.run("list", "--json").document["plugins"]}

        assert (rows["discount"]["state"], rows["discount"]["serves"]) == ("active", "2/2")
        assert (rows["tax"]["state"], rows["tax"]["serves"]) == ("inactive", "0/2")

    def test_formats(self, filled):
        """Names and a count for scripts, CSV with a head, JSON with a version."""
        assert filled.run("list", "--format", "names").out == "crash\ndiscount\ntax\n"
        assert filled.run("list", "--wanted", "--format", "count").out == "2\n"
        lines = filled.run("list", "--fields", "plugin,version", "--format", "csv").out.splitlines()
        assert lines == ["slug,version", "crash,1.0", "discount,1.0", "tax,2.1"]
        assert filled.run("list", "--json").out == filled.run("--json", "list").out

    def test_an_empty_answer_is_an_empty_list(self, shop):
        """JSON has no prose."""
        assert shop.run("list", "--json").document == {"schema": 1, "ok": True, "plugins": []}

    def test_sorts_and_filters(self, filled):
        """By any field, in both directions."""
        names = ("--format", "names")
        assert filled.run("list", "--sort", "-version", *names).out == "tax\ncrash\ndiscount\n"
        assert filled.run("list", "--state", "active", *names).out == ""
        done = filled.run("list", "--sort", "nope")
        assert (done.code, "there is no field 'nope'" in done.err) == (2, True)

    def test_no_line_is_wider_than_the_terminal(self, filled, monkeypatch):
        """Long cells are cut with an ellipsis; JSON does not depend on the width."""
        filled.plugin("a-plugin-with-a-very-long-name-that-nobody-would-ever-want-to-type-twice")
        texts = {}
        for columns in ("80", "40", "20"):
            monkeypatch.setenv("COLUMNS", columns)
            out = filled.run("list").out
            assert max(map(len, out.splitlines())) <= int(columns)
            assert "…" in out
            texts[columns] = filled.run("list", "--json").out
        assert len({*texts.values()}) == 1


class TestShow:
    def test_shows_one_plugin(self, filled):
        """With its metadata, although it is not imported."""
        (row,) = filled.run("show", "tax", "--json").document["plugins"]

        assert (row["slug"], row["version"], row["distribution"]) == ("tax", "2.1", "shop-tax")
        assert "shop-tax" in filled.run("show", "tax").out

    def test_an_unknown_plugin(self, filled):
        """Exit code 3, with the nearest name."""
        done = filled.run("show", "discout", "--json")

        assert done.code == 3
        assert done.document["ok"] is False
        assert done.document["error"]["code"] == "unknown-plugin"
        assert "did you mean 'discount'?" in done.document["error"]["remedy"]


class TestProgram:
    def test_the_document_is_all_there_is_on_standard_output(self, filled):
        """The host's output goes to standard error."""
        done = filled.program("list", "--json")

        assert (done.code, done.document["ok"]) == (0, True)
        assert "the host prints" in done.err

    def test_without_a_host(self, filled):
        """A store and a group are enough."""
        done = filled.program(
            "--store",
            filled.url,
            "--group",
            "shop.plugins",
            "list",
            "--format",
            "names",
            env={"PYTHONPATH": filled.path},
        )

        assert (done.code, done.out) == (0, "crash\ndiscount\ntax\n")


class TestReading:
    def test_what_lists_asks_no_network_and_starts_no_process(self, filled):
        """Nor does it write a file: seen by an audit hook."""
        filled.write_host()
        (filled.folder / "watched.py").write_text(
            "import sys\n"
            "seen = []\n"
            "def hook(event, args):\n"
            "    if event.startswith(('socket.', 'subprocess.', 'os.posix_spawn', 'os.fork')):\n"
            "        seen.append(event)\n"
            "    if event == 'open' and not isinstance(args[0], int) and args[2] & 3:\n"
            "        seen.append(str(args[0]))\n"
            "sys.addaudithook(hook)\n"
            "from plugreg.cli import group\n"
            "group().main(sys.argv[1:], standalone_mode=False)\n"
            "plugins = [name for name in sys.modules if name.startswith('shop_')]\n"
            "print(seen, plugins, file=sys.stderr)\n"
        )
        for words in (["list"], ["list", "--json"], ["why", "tax"], ["status"], ["errors"]):
            done = subprocess.run(
                [sys.executable, "watched.py", *words],
                cwd=filled.folder,
                env=filled.environ(PLUGREG_APP="host:make_registry"),
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.stderr.splitlines()[-1] == "[] []", (words, done.stderr)
