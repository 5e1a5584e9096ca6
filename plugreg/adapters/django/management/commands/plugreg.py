"""``manage.py plugreg``: the commands of plugreg on the registry that ``PLUGREG_APP`` names."""

from __future__ import annotations

import argparse
import sys
from typing import Any

import click
from django import conf
from django.apps import apps
from django.core.management.base import BaseCommand, CommandError

from plugreg.cli import group
from plugreg.cli.hosts import open_app


class Command(BaseCommand):  # type: ignore[misc]
    """Hands its arguments to the command line of plugreg."""

    help = "See, explain, switch, install and repair plugins."
    requires_system_checks = ()

    def run_from_argv(self, argv: list[str]) -> None:
        """Run as a program, and end the process with the exit code.

        Args:
            argv: Program, name of this command, and its arguments.
        """
        sys.stdout = apps.get_app_config("plugreg").stdout
        _group().main(args=argv[2:], prog_name="manage.py plugreg")

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Take all arguments as they are, for ``call_command``.

        Args:
            parser: The parser of Django.
        """
        parser.add_argument("words", nargs=argparse.REMAINDER)

    def handle(self, *_args: Any, **options: Any) -> None:
        """Run for ``call_command``; an exit code other than 0 is raised as CommandError.

        Args:
            **options: What Django has parsed; ``words`` are the arguments.
        """
        code = _group().main(
            args=options["words"], prog_name="manage.py plugreg", standalone_mode=False
        )
        if isinstance(code, int) and code:
            raise CommandError(f"plugreg ended with exit code {code}", returncode=code)


def _group() -> click.Group:
    app = getattr(conf.settings, "PLUGREG_APP", None)
    if app is None:
        raise CommandError(
            "the setting PLUGREG_APP is missing; name the registry, or a function that returns it: "
            'PLUGREG_APP = "shop.plugins:make_registry"'
        )
    return group((lambda: open_app(app)) if isinstance(app, str) else app)
