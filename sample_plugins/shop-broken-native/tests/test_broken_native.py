"""The shop isolates it, so that a test of it outlives it, too."""

from shop.app import make_registry
from shop.hookspecs import Hooks

from plugreg import PluginDiedError
from plugreg.storage import MemoryStorage


def test_costs_itself_alone() -> None:
    """The crash is an outcome."""
    with make_registry(storage=MemoryStorage()) as registry:
        registry.load()
        registry.activate("broken-native")
        [outcome] = registry.outcomes(Hooks.receipt_line, item="tea")

        assert type(outcome.error) is PluginDiedError
        assert registry.get("broken-native").state == "active"
