"""The program: its options, its commands by name, and how errors end it.

To add a command, write a function in a module of ``plugreg.cli.commands`` (see
`plugreg.cli.command`), and add one row to `COMMANDS`. The module is imported when its command
runs.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import click

from plugreg._support.frozen import NamedTuple
from plugreg.cli.command import Group, common_options, session_option
from plugreg.cli.faults import fault_of
from plugreg.cli.output import only_answers
from plugreg.cli.session import KEY, Session, session_of

if TYPE_CHECKING:
    from plugreg.registry import PluginRegistry


class Verb(NamedTuple):
    """The place of a command, and its entry in the list of commands.

    Attributes:
        section: Heading in the list of commands.
        name: Name of the command.
        place: ``module:attribute`` below ``plugreg.cli.commands``.
        help: Its purpose, in a line.
    """

    section: str
    name: str
    place: str
    help: str


_LOOK: Final = "Look"
_SWITCH: Final = "Switch and set"
_INSTALL: Final = "Install"
_MEND: Final = "Repair"
_WRITE: Final = "Write plugins"
_SHELL: Final = "Shell"

COMMANDS: Final = (
    Verb(_LOOK, "list", "listing:list_", "List plugins and their states."),
    Verb(_LOOK, "show", "listing:show", "Show everything about one plugin."),
    Verb(_LOOK, "why", "why:why", "Explain why a plugin is in its state."),
    Verb(_LOOK, "status", "status:status", "Summarize all processes."),
    Verb(_LOOK, "errors", "status:errors", "List the failures of all processes."),
    Verb(_LOOK, "processes", "status:processes", "List the live processes."),
    Verb(_SWITCH, "activate", "switching:activate", "Switch plugins on, after a probe."),
    Verb(_SWITCH, "deactivate", "switching:deactivate", "Switch plugins off."),
    Verb(_SWITCH, "reset", "switching:reset", "Have all processes try plugins again."),
    Verb(_SWITCH, "reload", "switching:reload", "Have all processes look for plugins again."),
    Verb(_SWITCH, "settings", "settings:settings", "List, get or set settings of a plugin."),
    Verb(_SWITCH, "apply", "declare:apply", "Apply a plugins.toml."),
    Verb(_SWITCH, "export", "declare:export", "Write desired state as a plugins.toml."),
    Verb(_INSTALL, "plan", "packages:plan", "Show the changes of an installation."),
    Verb(_INSTALL, "install", "packages:install", "Install distributions of plugins."),
    Verb(_INSTALL, "uninstall", "packages:uninstall", "Remove a plugin's distribution."),
    Verb(_INSTALL, "upgrade", "packages:upgrade", "Upgrade to the latest releases."),
    Verb(_INSTALL, "sync", "packages:sync", "Install the plugins file, or a lock."),
    Verb(_INSTALL, "lock", "packages:lock", "Write a pylock.toml of the installed plugins."),
    Verb(_INSTALL, "rollback", "packages:rollback", "Go back to an earlier generation."),
    Verb(_INSTALL, "generations", "packages:generations", "List generations."),
    Verb(_INSTALL, "outdated", "packages:outdated", "Ask the index for later releases."),
    Verb(_INSTALL, "audit", "packages:audit", "List installations and removals."),
    Verb(_MEND, "doctor", "doctor:doctor", "Find problems and their remedies."),
    Verb(_MEND, "probe", "switching:probe", "Load plugins in a child process."),
    Verb(_MEND, "bisect", "bisect:bisect", "Find the plugin with which a command fails."),
    Verb(_MEND, "store", "store:store", "Check, repair, copy, export or import the store."),
    Verb(_WRITE, "new", "new:new", "Generate a plugin for this host."),
    Verb(_WRITE, "check", "check:check", "Check plugins, their sources and their life."),
    Verb(_WRITE, "dev", "dev:dev", "Import a plugin again whenever its sources change."),
    Verb(_WRITE, "contract", "contract:contract", "Write, compare or check the contract."),
    Verb(_SHELL, "completion", "completion:completion", "Print a script that completes words."),
)
"""All commands, in the order in which they are listed."""


_EXAMPLES: Final = """
plugreg --app shop.app:make_registry list
plugreg why discount
plugreg doctor
"""


class Root(Group):
    """The group of all commands.

    Args:
        source: The registry or factory of a host that mounts the commands, None for the program.
        name: Name of the group.
    """

    def __init__(
        self,
        source: PluginRegistry | Callable[[], PluginRegistry] | None = None,
        *,
        name: str = "plugreg",
    ) -> None:
        super().__init__(
            name,
            help=(
                "See, explain, switch, install and repair the plugins of a host. Listing, "
                "switching and repairing import no plugin, and work while plugins are broken."
            ),
            examples=_EXAMPLES,
            context_settings={"help_option_names": ["-h", "--help"]},
        )
        self._source = source
        self.params = [*source_options(), *common_options()]
        click.version_option(
            package_name="plugreg",
            message="%(package)s %(version)s",
            help="Show the version of plugreg.",
        )(self)

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return [entry.name for entry in COMMANDS]

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command.

        Args:
            _ctx: The context of click.
            cmd_name: Name of the command.
        """
        place = next((entry.place for entry in COMMANDS if entry.name == cmd_name), None)
        if place is None:
            return None
        module, _, attribute = place.partition(":")
        found: click.Command = getattr(import_module(f"plugreg.cli.commands.{module}"), attribute)
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the requested command, or raise an error with similar names.

        Args:
            ctx: The context of click.
            args: The arguments from the command on.
        """
        if args[0][:1] != "-" and self.get_command(ctx, args[0]) is None:
            from plugreg._support.slugs import near

            hint = near(args[0], self.list_commands(ctx))
            raise click.UsageError(f"there is no command {args[0]!r}{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands by section, without importing any.

        Args:
            _ctx: The context of click.
            formatter: The formatter of click.
        """
        for section in dict.fromkeys(entry.section for entry in COMMANDS):
            rows = [(entry.name, entry.help) for entry in COMMANDS if entry.section == section]
            with formatter.section(section):
                formatter.write_dl(rows)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Begin a session.

        Args:
            ctx: The context of click.
            args: The arguments.
        """
        ctx.meta[KEY] = session = Session(self._source)
        session.program = ctx.command_path
        # A usage error may come before the option has been read.
        if _asks_for_json(args):
            session.format = "json"
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command, with standard output kept for its answer.

        Args:
            ctx: The context of click.
        """
        session = session_of(ctx)
        with only_answers() as output:
            session.output = output
            try:
                try:
                    return super().invoke(ctx)
                finally:
                    session.close()
            except click.exceptions.Exit:
                raise
            except BaseException as error:
                if not isinstance(error, (Exception, KeyboardInterrupt)):
                    raise
                if session.debug:
                    import traceback

                    traceback.print_exc()
                ctx.exit(session.output.fail(session.fault_of(error)))

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run as a program, and end the process with the exit code.

        Args:
            args: The arguments. Defaults to those of the process.
            prog_name: Name of the program.
            complete_var: Environment variable by which shells ask for completions.
            standalone_mode: Whether the process is ended; else the exit code is returned.
            **extra: Further arguments of click.
        """
        given = sys.argv[1:] if args is None else [*args]
        try:
            code = super().main(given, prog_name, complete_var, False, **extra)
        except (click.ClickException, click.Abort) as error:
            with only_answers() as output:
                output.format = "json" if _asks_for_json(given) else "table"
                code = output.fail(fault_of(error))
        if not standalone_mode:
            return code
        sys.exit(code if isinstance(code, int) else 0)


def _asks_for_json(args: Sequence[str]) -> bool:
    """Return whether arguments, up to ``--``, ask for a JSON document."""
    own = args[: args.index("--")] if "--" in args else args
    return bool({"--json", "--format=json"} & {*own}) or ("--format", "json") in pairwise(own)


def source_options() -> list[click.Parameter]:
    """Return the options by which a host is found."""
    return [
        session_option(
            "--app",
            "-R",
            metavar="MODULE:ATTRIBUTE",
            is_eager=True,
            help=(
                "The host's registry, or a function that returns it. Defaults to PLUGREG_APP, then "
                "to app in [tool.plugreg] of the nearest pyproject.toml."
            ),
        ),
        session_option(
            "--store",
            metavar="URL",
            is_eager=True,
            help="A store, in place of a host, such as tinydb:///plugins.json.",
        ),
        session_option(
            "--group",
            metavar="NAME",
            is_eager=True,
            help="The entry-point group of the plugins, with --store.",
        ),
    ]
