"""The shop isolates it, and so its call has an end."""

from shop.app import make_registry
from shop.hookspecs import Hooks

from plugreg import PluginTimeoutError
from plugreg.storage import MemoryStorage


def test_costs_itself_alone() -> None:
    """The call that never returns is an outcome."""
    with make_registry(storage=MemoryStorage()) as registry:
        registry.load()
        registry.activate("broken-endless")
        [outcome] = registry.outcomes(Hooks.receipt_line, item="tea")

        assert type(outcome.error) is PluginTimeoutError
        assert registry.get("broken-endless").state == "active"
