"""What the demo prints with: headings, sentences, aligned tables, and steps that must hold."""

from collections.abc import Iterable, Sequence
from textwrap import fill, shorten

WIDTH = 96
"""Characters in a line."""


class StepError(Exception):
    """A step did not give what it must. The text says which and what."""


def heading(text: str) -> None:
    """Begin a step."""
    print(f"\n{text}\n{'-' * len(text)}")


def say(text: str) -> None:
    """Print a few sentences as a paragraph."""
    print(f"\n{fill(' '.join(text.split()), WIDTH)}")


def show(call: str, answer: object) -> None:
    """Print a call as a host writes it, and what came back."""
    print(f"    {call}")
    margin = " " * 6
    print(
        fill(
            str(answer),
            WIDTH,
            initial_indent=margin,
            subsequent_indent=margin,
            break_on_hyphens=False,
        )
    )


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print an aligned table. The last column is shortened to the width of the page."""
    lines = [tuple(map(str, row)) for row in (head, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    room = max(20, WIDTH - sum(each + 2 for each in widths[:-1]) - 2)
    for row in lines:
        cells = [cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False)]
        print("  " + "  ".join([*cells, shorten(row[-1], room, placeholder=" …")]).rstrip())


def must(holds: bool, what: str) -> None:
    """Go on if it holds; otherwise raise StepError, which ends the demo."""
    if not holds:
        raise StepError(what)


def must_be(what: str, found: object, expected: object) -> None:
    """Go on if both are equal; otherwise raise StepError with both."""
    must(found == expected, f"{what} must be {expected!r}, but is {found!r}")
