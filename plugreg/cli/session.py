"""The run of a command: its registry, its output, and the operator's consent."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack, redirect_stderr
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from plugreg._support import lazy
from plugreg.cli.faults import Fault, fault_of, refused, usage
from plugreg.cli.output import Output, only_answers
from plugreg.exceptions import RecordCorruptError

if TYPE_CHECKING:
    from plugreg.contract import Contract
    from plugreg.registry import PluginRegistry
    from plugreg.storage import Storage

KEY: Final = "plugreg.cli.session"
"""Where a click context keeps its session."""


class Session:
    """The argument of command functions. It exists for one command.

    Args:
        source: The registry or factory of a host that has mounted the commands; None for the
            program, which has options for that.
    """

    def __init__(self, source: Any = None) -> None:
        self._source = source
        self._registry: PluginRegistry | None = None
        self._closing = ExitStack()
        self._output = Output(sys.stdout, sys.stderr)
        self.app: str | None = None
        self.project: Path | None = None
        self.store: str | None = None
        self.group: str | None = None
        self.program = "plugreg"
        self.format = "table"
        self.color = "auto"
        self.debug = False
        self.yes = False

    @property
    def output(self) -> Output:
        """Where the answer goes, as the options ask for it."""
        self._output.format = self.format
        self._output.color = self.color
        return self._output

    @output.setter
    def output(self, output: Output) -> None:
        self._output = output

    @property
    def registry(self) -> PluginRegistry:
        """The host's plugins, loaded in safe mode: nothing of a plugin is imported.

        Raises:
            CommandError: If no host is named, or it cannot be opened.
            StorageError: If the store cannot be read.
        """
        if self._registry is None:
            registry = self._host.in_safe_mode()
            self._closing.callback(registry.close)
            registry.load()
            self._registry = registry
        return self._registry

    @property
    def storage(self) -> Storage:
        """The store of the host, or of ``--store``. No plugin row is read."""
        if self.store is not None and not self.app:
            from plugreg.storage import open_storage

            storage = open_storage(self.store)
            self._closing.callback(storage.close)
            return storage
        return self._host.storage

    def note_memory(self) -> None:
        """Tell the operator that a change ends with the command, where nothing stores it."""
        from plugreg.storage import MemoryStorage

        if self._source is None and isinstance(self.registry.storage, MemoryStorage):
            self.output.note(
                "nothing of this is kept: the host's store is in memory; give its registry "
                "storage=open_storage('tinydb:///plugins.json'), for example"
            )

    def contract(self, file: str | None = None) -> Contract:
        """Return the contract of the host, or of a file. Nothing is loaded.

        Args:
            file: The file; None means the host's.

        Raises:
            CommandError: If no host is named, or host or file cannot be opened.
            ContractError: If the file is no contract.
        """
        from plugreg.contract import Contract

        if file is None:
            return Contract.of(self._host)
        try:
            return Contract.read(file)
        except OSError as error:
            raise usage(
                f"contract {file!r} cannot be read: {error.strerror}",
                "write it where the host is installed: plugreg contract dump FILE",
            ) from error

    @property
    def directories(self) -> tuple[str | os.PathLike[str], ...]:
        """The host's folders of plugins. Nothing is loaded."""
        return tuple(self._host.options.directories)

    @property
    def has_host(self) -> bool:
        """Whether a host is named; it may still be missing."""
        return bool(self._source or self.store or self.app_name)

    @property
    def app_name(self) -> str | None:
        """Name of the host's registry, None where the host has mounted the commands."""
        from plugreg.cli.hosts import app_name

        return app_name(self.app, self.project)

    @property
    def command(self) -> str:
        """The beginning of a command line that reaches the same plugins."""
        from shlex import quote

        from plugreg._support.url_secrets import without_credentials

        # A password is not shown, so that it must be typed again.
        store = without_credentials(self.store) if self.store else None
        options = (("--app", self.app), ("--store", store), ("--group", self.group))
        given = [part for name, value in options if value for part in (name, quote(value))]
        return " ".join([self.program, *given])

    def fault_of(self, error: BaseException) -> Fault:
        """Return the fault that an exception stands for; of a damaged row with its remedy.

        Args:
            error: The exception.
        """
        fault = fault_of(error)
        if isinstance(error, RecordCorruptError):
            return fault._replace(remedy=self.set_aside(error))
        return fault

    def set_aside(self, error: RecordCorruptError) -> str:
        """Return the command line that sets a damaged row aside.

        Args:
            error: The error that names the row.
        """
        from shlex import quote

        return f"{self.command} store repair --set-aside {quote(f'{error.table}:{error.key}')}"

    def confirm(self, question: str) -> None:
        """Ask the operator whether to go on, unless ``--yes`` was given.

        Args:
            question: The question, on standard error.

        Raises:
            CommandError: If the answer is no, or there is no terminal. Exit code 4.
        """
        if self.yes:
            return
        if not self.is_interactive:
            raise refused(
                "nothing was changed: this needs your consent, and there is no terminal to ask",
                "add --yes",
                code="no-consent",
            )
        answer = self.ask(f"{question} [y/N] ")
        if answer.strip().lower() not in ("y", "yes"):
            raise refused("nothing was changed, as you have not agreed", code="no-consent")

    def ask(self, question: str, *, is_secret: bool = False) -> str:
        """Ask the operator a question on standard error; return the answer, "" at its end.

        Args:
            question: The question, with a blank at its end.
            is_secret: Whether the input is hidden. This needs a terminal.
        """
        if is_secret:
            from getpass import getpass

            return getpass(question)
        sys.stderr.write(question)
        sys.stderr.flush()
        return "" if sys.stdin is None else sys.stdin.readline()

    @property
    def is_interactive(self) -> bool:
        """Whether somebody can be asked."""
        return sys.stdin is not None and sys.stdin.isatty()

    @property
    def actor(self) -> str:
        """Who runs the command, for the audit."""
        from getpass import getuser

        try:
            return f"{getuser()} (shell)"
        except (KeyError, OSError):
            return "shell"

    def close(self) -> None:
        """Close the registry and the store."""
        self._closing.close()

    @lazy
    def _host(self) -> PluginRegistry:
        """Return the registry of the host, as it is made there."""
        from plugreg.cli.hosts import as_registry, open_app, open_store

        if self.app and self.store:
            raise usage("--app and --store exclude each other", "give one of them")
        if self._source is not None and not (self.app or self.store):
            return as_registry(self._source, "the host's registry")
        if self.store is not None:
            if self.group is None:
                raise usage("--store needs --group", "such as --group shop.plugins")
            registry = open_store(self.store, self.group)
            self._closing.callback(registry.storage.close)
            return registry
        name = self.app_name
        if name is None:
            raise usage(
                "no host is named",
                "give --app MODULE:ATTRIBUTE, or --store URL --group NAME; see: plugreg --help",
            )
        return open_app(name)


def session_of(context: click.Context) -> Session:
    """Return the session of a click context.

    Args:
        context: The context of click.
    """
    session: Session = context.meta[KEY]
    return session


def complete_slugs(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Return the slugs that begin with *incomplete*, none where the host cannot be opened.

    Args:
        ctx: The context of click.
        incomplete: The beginning of a slug.
    """
    try:
        with only_answers(), redirect_stderr(StringIO()), ExitStack() as closing:
            session = session_of(ctx)
            closing.callback(session.close)
            return [slug for slug in session.registry.plugins if slug.startswith(incomplete)]
    except Exception:  # noqa: BLE001 - a shell that completes a word shows no error
        return []
