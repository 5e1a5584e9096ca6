"""Pages of the two lists that have them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Generic, NamedTuple, TypeVar, cast

from plugreg.api.operations import OperationCall, Parameter

Rows = TypeVar("Rows", bound=Sequence[Any])

PAGING: Final = (
    Parameter("limit", int, "The most rows to return; all without it", minimum=1),
    Parameter("offset", int, "The number of rows to skip"),
)


class Page(NamedTuple, Generic[Rows]):
    """One page of rows. ``next`` and ``previous`` are (limit, offset), None if there is none."""

    rows: Rows
    total: int
    next: tuple[int, int] | None = None
    previous: tuple[int, int] | None = None


def page_of(call: OperationCall, rows: Rows) -> Page[Rows]:
    """Return the page that limit and offset select; all rows without a limit.

    Args:
        call: A call of an operation with the parameters of :data:`PAGING`.
        rows: All rows.
    """
    limit, offset = call.query["limit"], call.query["offset"] or 0
    if limit is None:
        return Page(rows, len(rows))
    following, before = offset + limit, max(offset - limit, 0)
    return Page(
        rows=cast("Rows", rows[offset:following]),
        total=len(rows),
        next=(limit, following) if following < len(rows) else None,
        previous=(limit, before) if offset > 0 else None,
    )
