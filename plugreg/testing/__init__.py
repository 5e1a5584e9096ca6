"""The kit for authors of plugins: hosts for tests, and the checks of conformance.

The fixture ``plugin_host`` comes with pytest's entry point, and needs no import. A host provides
its authors a fixture of its own with `host_fixture`. `Conformance` is a base class for tests. See
``docs/author/testing.md``.
"""

from typing import TYPE_CHECKING

from plugreg._support import lazy_names

if TYPE_CHECKING:
    from plugreg.testing.before import OldSettings, stored
    from plugreg.testing.checks import CHECKS, Check, run_checks
    from plugreg.testing.client import APIClient, APIResponse
    from plugreg.testing.conformance import Conformance, ConformanceWarning
    from plugreg.testing.expecting import ExpectedFailure
    from plugreg.testing.fixtures import host_fixture
    from plugreg.testing.host import PluginHost
    from plugreg.testing.moments import TestTime
else:
    # pytest is imported where a name needs it.
    __getattr__ = lazy_names(
        __name__,
        {
            "before": "OldSettings stored",
            "checks": "CHECKS Check run_checks",
            "client": "APIClient APIResponse",
            "conformance": "Conformance ConformanceWarning",
            "expecting": "ExpectedFailure",
            "fixtures": "host_fixture",
            "host": "PluginHost",
            "moments": "TestTime",
        },
    )


__all__ = [
    "CHECKS",
    "APIClient",
    "APIResponse",
    "Check",
    "Conformance",
    "ConformanceWarning",
    "ExpectedFailure",
    "OldSettings",
    "PluginHost",
    "TestTime",
    "host_fixture",
    "run_checks",
    "stored",
]
