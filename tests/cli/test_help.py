"""The help of each command, the reference that is made of it, and the exit codes."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import click
import pytest

from plugreg.cli import group
from plugreg.cli.root import COMMANDS

DOCS = Path(__file__).parents[2] / "docs"
NAMES = [entry.name for entry in COMMANDS]
INNER = [("store", name) for name in ("check", "repair", "copy", "export", "import")]


@pytest.mark.parametrize("words", [*[(name,) for name in NAMES], *INNER], ids=" ".join)
def test_each_help_has_an_example(shop, words):
    """And goes to standard output, with exit code 0, and without a host."""
    done = shop.run(*words, "--help")

    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"Usage: plugreg {' '.join(words)}")
    examples = done.out.partition("Examples:\n")[2].splitlines()
    assert any(f"plugreg {' '.join(words)}" in line for line in examples)
    assert max(map(len, done.out.splitlines())) <= 100


def test_the_list_of_commands_says_what_each_does(shop):
    """In the words of its own help, or shorter."""
    done = shop.run("--help")

    assert done.code == 0
    for entry in COMMANDS:
        assert f"  {entry.name} " in done.out
    assert shop.run().out == done.out


def test_the_reference_is_made_from_the_parser():
    """After a change of a command: python docs/commands.py."""
    spec = importlib.util.spec_from_file_location("docs_commands", DOCS / "commands.py")
    commands = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(commands)

    assert (DOCS / "reference" / "commands.md").read_text(encoding="utf-8") == commands.text()


def test_every_command_has_an_option_for_json():
    """Before the command and behind it."""
    root = group()
    context = click.Context(root)
    for name in NAMES:
        command = root.get_command(context, name)
        assert {"--json"} <= {option for param in command.params for option in param.opts}, name


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["nope"], 2),
        (["list", "--nope"], 2),
        (["--nope", "list"], 2),
        (["show"], 2),
        (["show", "nope"], 3),
        (["why", "nope"], 3),
        (["activate", "nope"], 3),
        (["deactivate", "nope"], 3),
        (["probe", "nope"], 3),
        (["errors", "nope"], 3),
        (["settings", "nope"], 3),
        (["settings", "discount", "get"], 2),
        (["settings", "discount", "explode"], 2),
        (["install", "shop-tea"], 4),
        (["uninstall", "discount"], 4),
        (["apply", "no-such-file"], 2),
        (["store", "repair", "--set-aside", "a:b"], 1),
        (["store", "nope"], 2),
        (["store", "copy", "nope://"], 5),
        (["completion", "tcsh"], 2),
        (["status", "--check"], 0),
        (["doctor"], 0),
        (["list"], 0),
        (["reload"], 0),
        (["reset", "discount"], 0),
    ],
    ids=lambda words: "-".join(words) if isinstance(words, list) else None,
)
def test_ok_means_exit_code_0(shop, words, code):
    """Of each command the document is one line of JSON, whose ok is the exit code."""
    shop.plugin("discount")

    done = shop.run(*words, "--json")

    assert done.code == code, done
    assert done.document["ok"] is (code == 0)
    assert ("error" in done.document) is (code != 0)
    assert done.out.count("\n") == 1
    if code:
        error = done.document["error"]
        assert error["message"]
        assert set(error) == {"code", "message", "remedy"}


def test_an_error_that_nobody_foresaw(shop, monkeypatch):
    """No traceback without --debug."""
    monkeypatch.setattr("plugreg.cli.commands.listing.look", lambda _: 1 / 0)

    done = shop.run("list")
    assert (done.code, "Traceback" in done.err) == (1, False)
    assert "ZeroDivisionError" in done.err
    assert "Traceback" in shop.run("list", "--debug").err


def test_completion(shop):
    """A script for each shell; slugs come from the host, and nothing is printed beside them."""
    for shell in ("bash", "zsh", "fish"):
        assert "_PLUGREG_COMPLETE" in shop.run("completion", shell).out
    shop.plugin("discount")
    shop.plugin("tax")
    shop.write_host()
    done = shop.program(
        env={
            "_PLUGREG_COMPLETE": "bash_complete",
            "COMP_WORDS": "plugreg deactivate di",
            "COMP_CWORD": "2",
        }
    )
    assert done.out.splitlines() == ["plain,discount"]


@pytest.mark.parametrize(
    "words",
    [
        ("list", "--nope", "--json"),
        ("list", "--nope", "--format", "json"),
        ("--nope", "--format=json", "list"),
        ("--format", "json", "nope"),
    ],
)
def test_wrong_arguments_are_answered_in_the_format_that_was_asked_for(shop, words):
    """Wherever the option stands, also behind a wrong word."""
    done = shop.run(*words)

    assert (done.code, done.document["ok"], done.document["error"]["code"]) == (2, False, "usage")
