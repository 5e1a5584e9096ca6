"""Values that a plugin object reaches through its binding: its own, of the named user."""

from __future__ import annotations

from types import MappingProxyType

import pytest

from plugreg import Plugin, SettingError
from plugreg._lifecycle.binding import BoundContext
from plugreg._state.plugin_rows import PluginRows
from plugreg.mixins import SettingsMixin
from plugreg.registry import PluginRegistry
from plugreg.settings.declaration import parse_definitions
from plugreg.settings.store import SettingsStore
from plugreg.settings.values import Declared
from plugreg.storage import MemoryStorage

SETTINGS = {
    "COLOUR": {"default": "red"},
    "SIZE": {"default": 3, "validator": int},
    "SHAPE": {},
    "NONE": {"default": None},
}


class Guarded(MemoryStorage):
    """Counts the transactions that were begun."""

    begun = 0

    def transaction(self):
        self.begun += 1
        return super().transaction()


@pytest.fixture
def storage():
    return Guarded()


@pytest.fixture
def bound(storage):
    """Return a function that binds a slug; both kinds of setting have the same keys."""
    store = SettingsStore(storage, lambda *_: None)
    plugin_rows = PluginRows(storage)

    def bind(slug):
        settings, _ = parse_definitions(SETTINGS, "SETTINGS")
        user_settings, _ = parse_definitions(SETTINGS, "USER_SETTINGS")
        return BoundContext(store, plugin_rows, slug, Declared(settings, user_settings))

    return bind


class TestSettings:
    def test_each_plugin_has_its_own(self, bound):
        """Another plugin's setting of the same name is another one."""
        tea, milk = bound("tea"), bound("milk")
        tea.set_setting("colour", "green")
        assert (tea.get_setting("Colour"), milk.get_setting("COLOUR")) == ("green", "red")

    def test_values_are_native_and_live(self, bound):
        """A value that is stored through one binding is read by all of the same plugin."""
        one, two = bound("tea"), bound("tea")
        one.set_setting("SIZE", "7")
        assert (one.get_setting("SIZE"), two.get_setting("SIZE")) == (7, 7)
        two.set_setting("SIZE", None)
        assert one.get_setting("SIZE") == 3

    @pytest.mark.parametrize("key", ["SHAPE", "NONE"])
    def test_a_backup_counts_where_nothing_else_is(self, bound, key):
        """Where nothing is stored and no default exists, for users too."""
        tea = bound("tea")
        assert tea.get_setting(key) == ""
        assert tea.get_setting(key, "round") == "round"
        assert tea.get_user_setting(key, 1, "round") == "round"
        tea.set_setting(key, "square")
        tea.set_user_setting(key, "flat", 1)
        assert tea.get_setting(key, "round") == "square"
        assert tea.get_user_setting(key, 1, "round") == "flat"
        assert tea.get_user_setting(key, 2, "round") == "round"

    def test_a_backup_does_not_count_where_a_default_is(self, bound):
        """A default is the plugin's value where nothing is stored."""
        tea = bound("tea")
        assert tea.get_setting("COLOUR", "blue") == "red"
        assert tea.get_user_setting("COLOUR", 1, "blue") == "red"

    def test_an_unknown_key_is_refused_whatever_the_backup(self, bound):
        """A slip in a key would otherwise go unseen."""
        tea = bound("tea")
        for read in (
            lambda: tea.get_setting("COLOR", "x"),
            lambda: tea.get_user_setting("COLOR", 1, "x"),
        ):
            with pytest.raises(KeyError, match="did you mean 'COLOUR'"):
                read()


class TestUserSettings:
    def test_each_user_has_their_own(self, bound):
        """Neither another user's value nor the one that holds for all is ever read."""
        tea = bound("tea")
        tea.set_setting("COLOUR", "global")
        tea.set_user_setting("COLOUR", "mine", 1)
        tea.set_user_setting("COLOUR", "yours", 2)
        assert [tea.get_user_setting("COLOUR", user) for user in (1, 2, 3)] == [
            "mine",
            "yours",
            "red",
        ]
        assert tea.get_setting("COLOUR") == "global"

    @pytest.mark.parametrize("user", [None, True, "alice", "1", 1.0, b"1"])
    def test_a_user_is_a_number(self, storage, user):
        """Anything else is refused, through plugin and registry, before anything is stored.

        None, which hosts have for nobody, would otherwise be the setting that holds for all.
        """

        class Tea(SettingsMixin, Plugin):
            SETTINGS = USER_SETTINGS = {"COLOUR": {"default": "red"}}

        with PluginRegistry(
            "shop", builtin=[Tea], storage=storage, new_plugins="active"
        ) as registry:
            registry.load()
            tea = registry.get("tea").plugin
            storage.begun = 0
            for use in (
                lambda: tea.get_user_setting("COLOUR", user),
                lambda: tea.set_user_setting("COLOUR", "green", user),
                lambda: registry.user_settings("tea", user),
                lambda: registry.config.user_settings("tea", user),
            ):
                with pytest.raises(SettingError, match="a user is a whole number, not "):
                    use()
            assert storage.begun == 0
            assert tea.get_setting("COLOUR") == "red"


def test_the_logger_is_the_plugins_own(bound):
    """It is named after the slug, below plugreg's."""
    assert bound("tea").slug == "tea"
    assert bound("tea").logger.name == "plugreg.plugin.tea"


def test_metadata_is_the_plugins_own(bound):
    """A read returns a copy, and another plugin has another one."""
    tea, milk = bound("tea"), bound("milk")
    tea.set_metadata(MappingProxyType({"shelf": [1]}))
    tea.set_metadata({"row": 2})
    tea.get_metadata()["shelf"].append(5)
    assert tea.get_metadata() == {"shelf": [1], "row": 2}
    tea.set_metadata({"row": 3}, merge=False)
    assert (tea.get_metadata(), milk.get_metadata()) == ({"row": 3}, {})
