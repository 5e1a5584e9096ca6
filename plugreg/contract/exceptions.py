"""The errors of contracts and of checks against them."""

from __future__ import annotations

from plugreg.exceptions import FormattedError, PlugregError


class ContractError(PlugregError):
    """Base of errors about the file of a contract."""


class ContractDamagedError(ContractError, FormattedError, ValueError):
    """The file of a contract is no contract.

    Args:
        path: The file.
        field: The damaged field, such as ``hooks.price.arguments.0.name``; empty for the whole.
        reason: Its fault, as a clause.
    """

    path: str
    field: str
    reason: str

    def __str__(self) -> str:
        field = f", field {self.field!r}" if self.field else ""
        return (
            f"contract {self.path!r}{field}: {self.reason}; write the file again with "
            f"Contract.write or 'plugreg contract dump'"
        )


class ContractVersionError(ContractError, FormattedError):
    """The file of a contract has a format that this version of plugreg does not know.

    Args:
        path: The file.
        found: Version of its format.
        known: The version that this plugreg reads.
    """

    path: str
    found: object
    known: int
    template = """contract {path!r} has version {found!r} of the format, and this plugreg reads
    version {known}; update plugreg, or write the file again with this one"""


class NoPluginError(FormattedError, LookupError):
    """The plugin to be checked does not exist.

    Args:
        target: The path or slug that was given.
        reason: Why there is none, as a clause.
    """

    target: str
    reason: str
    template = """{target!r} is nothing to check: {reason}; give a wheel, a folder with
    pyproject.toml, or the slug of an installed plugin"""
