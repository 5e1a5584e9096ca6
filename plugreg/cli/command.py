"""How a command is made: a function that gets the session and returns an `Answer`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click

from plugreg.cli.output import Answer
from plugreg.cli.session import complete_slugs, session_of
from plugreg.cli.tables import FORMATS

Function = Callable[..., Answer]


class _WithExamples(click.Command):
    """A click command with the options that every command has, and examples in its help."""

    def __init__(
        self, *args: Any, examples: str, formats: Sequence[str] = FORMATS, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.examples = [line.strip() for line in examples.strip().splitlines()]
        """Lines of a shell that show its use."""
        self.params += common_options(hidden=True, formats=formats)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples, as they are."""
        with formatter.section("Examples"):
            for line in self.examples:
                formatter.write(f"  {line}\n")
        if ctx.parent is not None:
            formatter.write_paragraph()
            formatter.write_text(
                "Every command takes --json, --format, --color and --debug as well; "
                f"see {ctx.find_root().info_name} --help."
            )

    def get_help_option(self, ctx: click.Context) -> click.Option | None:
        """Return the option, which writes to standard output while that is kept for answers."""
        option = super().get_help_option(ctx)
        if option is not None:
            option.callback = _show_help
        return option


class ShellCommand(_WithExamples):
    """A command: its function gets the session, and returns an `Answer`.

    Args:
        examples: Lines of a shell that show its use.
    """

    def invoke(self, ctx: click.Context) -> Any:
        """Run the function, write its answer, and end with its exit code.

        Args:
            ctx: The context of click.
        """
        assert self.callback is not None
        session = session_of(ctx)
        answer: Answer = ctx.invoke(self.callback, session, **ctx.params)
        ctx.exit(session.output.write(answer))


class Group(_WithExamples, click.Group):
    """A command with subcommands.

    Args:
        examples: Lines of a shell that show its use.
    """

    command_class = ShellCommand

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Show the help where no command is given.

        Args:
            ctx: The context of click.
            args: The arguments.
        """
        if not args and not ctx.resilient_parsing:
            _show_help(ctx, self.params[0], True)
        return super().parse_args(ctx, args)


def _show_help(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        session_of(ctx).output.print(f"{ctx.get_help()}\n")
        ctx.exit()


def common_options(
    *, hidden: bool = False, formats: Sequence[str] = FORMATS
) -> list[click.Parameter]:
    """Return the options that stand at the program and at every command.

    Args:
        hidden: Whether the help leaves them out.
        formats: Values of ``--format``; unusual formats are shown in the help.
    """
    known = {"type": click.Choice(formats), "hidden": hidden and formats is FORMATS}
    colors = {"type": click.Choice(("auto", "always", "never")), "hidden": hidden}
    flag = {"is_flag": True, "hidden": hidden}
    return [
        session_option(
            *("--json", "format"),
            flag_value="json",
            hidden=hidden,
            help="Write one JSON document, as --format json does.",
        ),
        session_option("--format", help="How the answer is written.", **known),
        session_option(
            "--color", help="Whether there are colours; auto means on a terminal.", **colors
        ),
        session_option("--debug", help="Show tracebacks of errors.", **flag),
    ]


def session_option(*names: str, **settings: Any) -> click.Option:
    """Return an option that the session keeps, so that functions do not get it.

    It may stand before or behind the command.

    Args:
        *names: Its names on the command line.
        **settings: What else click takes.
    """
    return click.Option(names, expose_value=False, callback=_keep, **settings)


def command(name: str, examples: str, **settings: Any) -> Callable[[Function], ShellCommand]:
    """Return a decorator that makes a command of a function, whose docstring is its help.

    Args:
        name: Name of the command.
        examples: Lines of a shell that show its use.
        **settings: Further arguments of click.
    """
    return click.command(name, cls=ShellCommand, examples=examples, **settings)


def consent_option(function: Function) -> Function:
    """Decorate a command's function with ``--yes``.

    Args:
        function: The function.
    """
    return click.option(
        "--yes",
        "-y",
        is_flag=True,
        expose_value=False,
        callback=_keep,
        help="Do not ask. Without a terminal and without it nothing is changed.",
    )(function)


def slug_argument(*, many: bool = False, required: bool = True) -> Callable[[Function], Function]:
    """Return a decorator that adds the argument SLUG, which shells complete.

    Args:
        many: Whether it takes several slugs.
        required: Whether a slug must be given.
    """
    metavar = "SLUG..." if many else "SLUG"
    return click.argument(
        "slugs" if many else "slug",
        metavar=metavar if required else f"[{metavar}]",
        nargs=-1 if many else 1,
        required=required,
        shell_complete=complete_slugs,
    )


def _keep(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
    if value not in (None, False):
        setattr(session_of(ctx), str(param.name), value)
    return value
