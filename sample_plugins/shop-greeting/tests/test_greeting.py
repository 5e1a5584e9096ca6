"""Settings, and settings of users."""

from shop.hookspecs import Hooks
from shop.testing import Conformance, plugin_host
from shop_greeting import Greeting

__all__ = ["plugin_host"]


def test_greets_as_it_is_set(plugin_host):
    """Twice, loudly, and with the customer's name."""
    given = {"TEXT": "Hi", "LOUD": True, "REPEAT": 2, "SIGNATURE": "The shop"}
    host = plugin_host(Greeting, settings=given)

    assert host.registry.first(Hooks.greeting, customer="Ann") == "HI, HI, Ann!"


def test_users_have_nicknames_of_their_own(plugin_host):
    """One user's nickname is nobody else's."""
    host = plugin_host(Greeting, settings={"SIGNATURE": "The shop"})
    host.user(7).set("NICKNAME", "Captain")

    assert host.plugin.name_for(7, "Ann") == "Captain"
    assert host.plugin.name_for(8, "Ann") == "Ann"


def test_needs_a_signature(plugin_host):
    """Without one it works, and the registry says what is missing."""
    host = plugin_host(Greeting)
    host.expect_failure(match="SIGNATURE: it is required")

    assert host.plugin is not None


class TestGreeting(Conformance):
    plugin = "shop_greeting:Greeting"
