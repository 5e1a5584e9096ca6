"""The two lists that come in pages (behaviour.md, section 1.4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar, cast

from plugreg.api.operations import Call, Parameter

Rows = TypeVar("Rows", bound=Sequence[Any])

PAGING: Final = (
    Parameter("limit", int, "The most rows to give; without it all are given.", minimum=1),
    Parameter("offset", int, "How many rows to leave out before the first."),
)


@dataclass(frozen=True, slots=True)
class Page(Generic[Rows]):
    """One page of rows. ``next`` and ``previous`` are (limit, offset), None where there is none."""

    rows: Rows
    count: int
    next: tuple[int, int] | None = None
    previous: tuple[int, int] | None = None


def page_of(call: Call, rows: Rows) -> Page[Rows]:
    """Return the page of ``rows`` that limit and offset of the call ask for; without a limit, all.

    The parameters are those of :data:`PAGING`.
    """
    limit, offset = call.query["limit"], call.query["offset"] or 0
    if limit is None:
        return Page(rows, len(rows))
    following, before = offset + limit, max(offset - limit, 0)
    return Page(
        rows=cast("Rows", rows[offset:following]),
        count=len(rows),
        next=(limit, following) if following < len(rows) else None,
        previous=(limit, before) if offset > 0 else None,
    )
