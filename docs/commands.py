"""The reference of the command line, made from its parser: ``python docs/commands.py``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from plugreg.cli import group
from plugreg.cli.command import common_options
from plugreg.cli.root import COMMANDS, source_options

PAGE = Path(__file__).parent / "reference" / "commands.md"

HEAD = """\
# Commands

`plugreg`, with the extra `plugreg[cli]`; also `python -m plugreg`, `flask plugreg` and `manage.py
plugreg`. [From a shell](../operator/shell.md) describes their use. This page is generated from the
program's own help by `python docs/commands.py`.

## Exit codes

| code | meaning |
|---|---|
| 0 | fine |
| 1 | the answer is no: `--check`, `probe` or `doctor` found an error, or an operation failed |
| 2 | wrong usage; or `apply --plan` found a difference |
| 3 | unknown plugin; the other named plugins were processed |
| 4 | refused: by policy, because the plugin is mandatory or needed by others, or without consent |
| 5 | store, lock or host are not available, or a row of the store is damaged |
| 130 | Ctrl-C |

## Where plugins come from

Write these options before the command.

"""

COMMON = """
## Options of every command

Write these options before or after the command.

"""


def text() -> str:
    """Return the page."""
    root = group()
    context = click.Context(root, info_name="plugreg")
    parts = [HEAD, *_options(source_options(), context), COMMON]
    parts += _options(common_options(), context)
    for section in dict.fromkeys(entry.section for entry in COMMANDS):
        parts.append(f"\n## {section}\n")
        for entry in COMMANDS:
            command = root.get_command(context, entry.name)
            if entry.section == section and command is not None:
                parts += _command(command, click.Context(command, context, info_name=entry.name))
    return "".join(parts)


def _command(command: click.Command, context: click.Context) -> Iterator[str]:
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    yield f"\n### {context.command_path}\n\n"
    yield f"`{usage}`\n\n"
    yield f"{_as_markdown(command.help or '')}\n\n"
    rows = [param for param in command.params if not getattr(param, "hidden", False)]
    options = [*_options(rows, context)]
    if options:
        yield from options
        yield "\n"
    yield "```text\n"
    yield from (f"$ {line}\n" for line in getattr(command, "examples", ()))
    yield "```\n"
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from _command(inner, click.Context(inner, context, info_name=name))


def _options(params: list[click.Parameter], context: click.Context) -> Iterator[str]:
    for param in params:
        record = param.get_help_record(context) if isinstance(param, click.Option) else None
        if record is not None:
            yield f"- `{record[0]}`: {_as_markdown(record[1])}\n"


def _as_markdown(help_text: str) -> str:
    paragraphs = [" ".join(part.split()) for part in help_text.strip().split("\n\n")]
    return "\n\n".join(paragraphs).replace("<", "&lt;")


if __name__ == "__main__":
    PAGE.write_text(text(), encoding="utf-8")
