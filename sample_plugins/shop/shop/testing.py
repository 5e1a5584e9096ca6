"""What the shop gives the authors of its plugins: a fixture, the checks, and the contract.

An author writes ``from shop.testing import plugin_host`` in a ``conftest.py``, and derives a test
from ``Conformance``. Nothing here is needed to run the shop: it wants ``plugreg[kit]``.
"""

from plugreg import testing
from plugreg.contract import Contract
from plugreg.storage import MemoryStorage
from shop.app import make_registry

plugin_host = testing.host_fixture(make_registry)
"""The fixture: ``plugin_host(Weather, settings={…})`` is the shop with one plugin, in memory."""


class Conformance(testing.Conformance):
    """The checks of plugreg, against the shop."""

    make_registry = staticmethod(make_registry)


def contract() -> Contract:
    """Return what the shop calls on its plugins, to be compared and written to a file."""
    return Contract.of(make_registry(storage=MemoryStorage()), events=["item.sold"])
