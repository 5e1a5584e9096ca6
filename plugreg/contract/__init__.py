"""The contract between a host and its plugins: the plugin interface as a file.

`Contract.of` reads it from a registry, `Contract.read` from a file. Two contracts are compared from
the side of implementations, and plugins are checked against a contract without importing them (with
the extra ``plugreg[contract]``). The format of the file is described in
``docs/reference/contract.md``.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from plugreg.contract.contract import Contract
    from plugreg.contract.exceptions import (
        ContractDamagedError,
        ContractError,
        ContractVersionError,
        NoPluginError,
    )
    from plugreg.contract.values import (
        ArgumentContract,
        Change,
        CheckReport,
        Finding,
        HookContract,
        InstalledReport,
        MixinContract,
    )
else:

    def __getattr__(name: str) -> object:
        # PEP 562: the values need no pydantic.
        if name in __all__:
            from plugreg.contract import contract, exceptions, values

            for module in (contract, exceptions, values):
                if hasattr(module, name):
                    return getattr(module, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "ArgumentContract",
    "Change",
    "CheckReport",
    "Contract",
    "ContractDamagedError",
    "ContractError",
    "ContractVersionError",
    "Finding",
    "HookContract",
    "InstalledReport",
    "MixinContract",
    "NoPluginError",
]
