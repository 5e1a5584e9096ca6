"""``plugreg completion``: scripts by which shells complete commands, options and slugs."""

from __future__ import annotations

from typing import Final

import click
from click.shell_completion import get_completion_class

from plugreg.cli.command import command
from plugreg.cli.output import Answer
from plugreg.cli.session import Session

SHELLS: Final = ("bash", "zsh", "fish")


@command(
    "completion",
    """eval "$(plugreg completion bash)"
    plugreg completion zsh > ~/.zfunc/_plugreg
    plugreg completion fish > ~/.config/fish/completions/plugreg.fish""",
)
@click.argument("shell", type=click.Choice(SHELLS))
def completion(_session: Session, shell: str) -> Answer:
    """Print a script for a shell, which completes commands, options and the slugs of plugins.

    Slugs are those of the host that PLUGREG_APP or pyproject.toml name, or that --app names on the
    line. No plugin is imported.
    """
    found = get_completion_class(shell)
    assert found is not None
    root = click.get_current_context().find_root()
    script = found(root.command, {}, root.info_name or "plugreg", "_PLUGREG_COMPLETE").source()
    return Answer(
        "", text=script if script.endswith("\n") else script + "\n", more={"script": script}
    )
