"""Reading the JSON of a store: values that no store accepts are refused."""

from __future__ import annotations

import json
import math
import re
from itertools import accumulate
from typing import Any, Final, NoReturn

from plugreg.storage.base import MAX_DEPTH, value_fault


def refuse_constant(name: str) -> NoReturn:
    """Refuse NaN and the infinities, which are not JSON, though Python parses them.

    Args:
        name: The constant that was parsed.
    """
    raise ValueError(f"{name} is not JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError("there is a number that is not finite")
    return number


_PARSER: Final = json.JSONDecoder(parse_constant=refuse_constant, parse_float=_finite)
_SURROGATE: Final = r"\\u[dD][89a-fA-F]"
_NO_BRACKETS: Final = r'"(?:[^"\\]|\\.)*"|[^"\[\]{}]+'


def levels_of(text: str) -> int:
    """Return the nesting depth of objects and arrays in a JSON string.

    Args:
        text: The string.
    """
    brackets = text.count("[") + text.count("{")
    if brackets <= MAX_DEPTH:
        return brackets
    found = re.sub(_NO_BRACKETS, "", text, flags=re.DOTALL)
    return max(accumulate(1 if bracket in "[{" else -1 for bracket in found), default=0)


def parse_json(text: str) -> Any:
    """Return the value of a JSON string.

    Args:
        text: The string.

    Raises:
        ValueError: If it is not JSON, is nested too deeply, or has a value that no store accepts.
        RecursionError: If the caller has left too little of the stack, whatever the string is.
    """
    try:
        value = _PARSER.decode(text)
    except RecursionError:
        if levels_of(text) <= MAX_DEPTH + 2:
            raise
        raise ValueError("it is nested too deeply") from None
    # Few strings have such an escape, so the values of most need no check. The records of a whole
    # file are two levels deeper, below the table and the tables.
    if re.search(_SURROGATE, text):
        fault = value_fault(value, -1)
        if fault is not None:
            raise ValueError(fault)
    return value
