"""Answers of commands, and their rendering."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout, suppress
from types import MappingProxyType
from typing import Any, Final, TextIO

import click

from plugreg._support.frozen import NamedTuple
from plugreg.cli.faults import DIFFERENT, FINE, NO, Fault
from plugreg.cli.tables import Row, aligned_table, cell, csv_table, fields_of, printable

SCHEMA: Final = 1
"""The version of the JSON documents."""

_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


class Answer(NamedTuple):
    """The answer of a command. Nothing is written before the command has ended.

    Args:
        key: Name of the rows in the JSON document: ``plugins``, ``failures``, ``processes``,
            ``repairs``, ``generations``, ``changes`` or another plural.
        rows: The rows, of JSON values.
        columns: Names of the values in the table and in CSV. The first one is the name of a row.
        code: The exit code.
        fault: Why the command failed, if it did. It may have rows all the same.
        text: Readable text instead of the table.
        verdict: For people, a line at the end.
        empty: For people, a line in place of an empty table.
        more: Further members of the JSON document.
    """

    key: str
    rows: Sequence[Row] = ()
    columns: Sequence[str] = ("slug",)
    code: int = FINE
    fault: Fault | None = None
    text: str | None = None
    verdict: str = ""
    empty: str = ""
    more: Mapping[str, Any] = _NOTHING

    @classmethod
    def of(
        cls,
        key: str,
        records: Iterable[object],
        columns: Sequence[str],
        also: Sequence[str] = (),
        **named: Any,
    ) -> Answer:
        """Return the answer with a row for each record.

        Args:
            key: Name of the rows in the JSON document.
            records: The records.
            columns: Attributes that are shown in the table.
            also: Further attributes of the rows.
            **named: Further fields of the answer.
        """
        rows = [fields_of(record, *columns, *also) for record in records]
        return cls(key, rows, columns, **named)

    @property
    def exit_code(self) -> int:
        """The exit code of the command."""
        return self.code or (self.fault.exit_code if self.fault is not None else FINE)

    @property
    def is_ok(self) -> bool:
        """Whether the exit code is 0, or that of a plan with a difference, which is no fault."""
        return self.exit_code == FINE or (self.code == DIFFERENT and self.fault is None)


class Output:
    """Writes answers to standard output, and all else to standard error.

    Args:
        out: The stream of the answer.
        err: The stream of all else.
    """

    def __init__(self, out: TextIO | None, err: TextIO | None) -> None:
        self.out = out
        self.err = err
        self.format = "table"
        self.color = "auto"

    @property
    def is_json(self) -> bool:
        """Whether the answer is a JSON document."""
        return self.format == "json"

    @property
    def width(self) -> int:
        """Columns of the terminal, by ``COLUMNS`` or the terminal itself; else 80."""
        given = os.environ.get("COLUMNS", "")
        if given.isdigit() and int(given):
            return int(given)
        try:
            return os.get_terminal_size(self.out.fileno()).columns if self.out else 80
        except (OSError, ValueError):
            return 80

    def has_color(self, stream: TextIO | None) -> bool:
        """Return whether a stream gets colours: see ``--color``.

        Args:
            stream: The stream.
        """
        if self.color != "auto":
            return self.color == "always"
        if os.environ.get("NO_COLOR"):
            return False
        if os.environ.get("FORCE_COLOR"):
            return True
        if os.environ.get("TERM") == "dumb":
            return False
        return stream is not None and stream.isatty()

    def style(self, text: str, **styles: Any) -> str:
        """Return a string for standard output, coloured if that gets colours.

        Args:
            text: The string.
            **styles: What `click.style` takes.
        """
        return click.style(text, **styles) if self.has_color(self.out) else text

    def write(self, answer: Answer) -> int:
        """Write an answer, and return the exit code.

        A reader that has gone changes nothing. Where the answer cannot be written, the command
        has failed.

        Args:
            answer: The answer.
        """
        try:
            self._write(answer)
        except BrokenPipeError:
            self.forget_out()
        except OSError as error:
            self.forget_out()
            reason = error.strerror or str(error)
            self.complain(Fault(NO, "output", f"the answer cannot be written: {reason}"))
            return answer.exit_code or NO
        return answer.exit_code

    def fail(self, fault: Fault) -> int:
        """Write a fault in place of an answer, and return the exit code.

        Args:
            fault: The fault.
        """
        return self.write(Answer("", fault=fault))

    def note(self, text: str) -> None:
        """Write a line for people to standard error.

        Args:
            text: The line.
        """
        self._write_to_err(printable(text))

    def complain(self, fault: Fault) -> None:
        """Write fault and remedy to standard error.

        Args:
            fault: The fault.
        """
        head = "error:"
        if self.has_color(self.err):
            head = click.style(head, fg="red", bold=True)
        self._write_to_err(f"{head} {printable(fault.message)}")
        if fault.remedy:
            self._write_to_err(f"       {printable(fault.remedy)}")

    def _write_to_err(self, line: str) -> None:
        # Without a reader there is no other place to report it.
        if self.err is not None:
            with suppress(OSError):
                self.err.write(f"{line}\n")
                self.err.flush()

    def forget_out(self) -> None:
        """Discard buffered output, so that the interpreter can end silently."""
        if self.out is None:
            return
        with open(os.devnull, "w") as nowhere:  # noqa: PTH123 - a device, not a path of ours
            try:
                os.dup2(nowhere.fileno(), self.out.fileno())
            except (OSError, ValueError):
                self.out = None

    def _write(self, answer: Answer) -> None:
        if self.is_json:
            self.print(_document(answer))
        elif answer.key or answer.text:
            self._print_rows(answer)
        if answer.fault is not None:
            self.complain(answer.fault)

    def _print_rows(self, answer: Answer) -> None:
        if self.format == "count":
            self.print(f"{len(answer.rows)}\n")
        elif self.format == "names":
            self.print("".join(f"{cell(row.get(answer.columns[0]))}\n" for row in answer.rows))
        elif self.format == "csv":
            self.print(csv_table(answer.rows, answer.columns))
        elif answer.text is not None:
            self.print(answer.text)
        elif answer.rows:
            self.print(aligned_table(answer.rows, answer.columns, self.width, self.style))
        elif answer.empty:
            self.note(answer.empty)
        if answer.verdict and self.format == "table":
            self.print(f"{printable(answer.verdict)}\n")

    def print(self, text: str) -> None:
        """Write a string to standard output. Raises OSError.

        Args:
            text: The string.
        """
        if self.out is None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        self.out.write(text)
        self.out.flush()


def _document(answer: Answer) -> str:
    import json

    document: dict[str, Any] = {"schema": SCHEMA, "ok": answer.is_ok}
    if answer.key:
        document[answer.key] = [dict(row) for row in answer.rows]
    document |= answer.more
    if answer.fault is not None:
        document["error"] = fields_of(answer.fault, "code", "message", "remedy")
    return json.dumps(document) + "\n"


@contextmanager
def only_answers() -> Iterator[Output]:
    """Keep standard output for the answer: whatever else prints there goes to standard error.

    That includes output of hosts, plugins and their child processes to file descriptor 1.

    Yields:
        The output, which has the real standard output.
    """
    out = sys.stdout
    with ExitStack() as stack:
        if out is None:
            # A file that is opened later must not become standard output.
            os.open(os.devnull, os.O_WRONLY)
        elif _descriptor_of(out) == 1:
            out.flush()
            out = stack.enter_context(_moved(out))
        stack.enter_context(redirect_stdout(sys.stderr))
        yield Output(out, sys.stderr)


@contextmanager
def _moved(given: TextIO) -> Iterator[TextIO]:
    """Move standard output to another descriptor, and have 1 be standard error meanwhile."""
    saved = os.dup(1)
    try:
        os.dup2(2, 1)
    except OSError:
        # There is no standard error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    encoding = given.encoding or "utf-8"
    out = open(saved, "w", encoding=encoding, errors="backslashreplace", closefd=False)  # noqa: SIM115
    try:
        yield out
    finally:
        os.dup2(saved, 1)
        with suppress(OSError):
            out.close()
        os.close(saved)


def _descriptor_of(stream: TextIO) -> int | None:
    try:
        return stream.fileno()
    except (OSError, ValueError):
        return None
