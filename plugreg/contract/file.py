"""The file of a contract: JSON, version 1."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from plugreg._support.frozen import arguments
from plugreg.contract.exceptions import ContractDamagedError, ContractVersionError
from plugreg.contract.values import ContractTerms

VERSION: Final = 1
VERSION_KEY: Final = "plugreg-contract"


def dumps(contract: ContractTerms) -> str:
    """Return the contents of a contract's file, the same for the same contract.

    Args:
        contract: The contract.
    """
    document = {VERSION_KEY: VERSION, **asdict(contract)}
    del document["classes"]
    for part in ("hooks", "mixins"):
        document[part] = dict(sorted(document[part].items()))
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def loads(content: bytes, path: str) -> dict[str, Any]:
    """Return the fields of the contract that a file holds.

    Args:
        content: Contents of the file.
        path: The file, for errors.

    Raises:
        ContractVersionError: If the format is not known.
        ContractDamagedError: If a field is missing or wrong.
    """
    try:
        data = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ContractDamagedError(path, "", f"it is no JSON ({error})") from None
    if not isinstance(data, dict) or VERSION_KEY not in data:
        raise ContractDamagedError(path, VERSION_KEY, "it is not there")
    found = data[VERSION_KEY]
    if type(found) is not int:
        raise ContractDamagedError(path, VERSION_KEY, f"it must be a number, not {found!r}")
    if found != VERSION:
        raise ContractVersionError(path, found, VERSION)
    try:
        # Keys of later versions of plugreg are left out.
        terms = TypeAdapter(ContractTerms).validate_json(content, strict=True)
    except ValidationError as error:
        raise ContractDamagedError(path, *first_fault(error)) from None
    if "hooks" not in data:
        raise ContractDamagedError(path, "hooks", "field required")
    return arguments(terms)


def first_fault(error: ValidationError) -> tuple[str, str]:
    """Return the place of the first fault in a document, and the fault as a clause.

    Args:
        error: The error that pydantic has raised.
    """
    first = error.errors(include_url=False)[0]
    # Older releases of pydantic name the schema of a mapping as a part of the place.
    places = [str(place) for place in first["loc"] if "[" not in str(place)]
    return ".".join(places), first["msg"].lower()
