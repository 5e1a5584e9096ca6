"""Clients learn nothing of protected values from the treatment of their own or other strings."""

from __future__ import annotations

import pytest

from plugreg import Plugin
from plugreg.api import Actor, APIError, PluginAPI
from plugreg.mixins import SettingsMixin, UserInterfaceMixin

STAFF = Actor(1, is_staff=True)
READER = Actor(2)
OTHER = Actor(3)
PIN = "0451"
SECRET = "sesame-open-51"
HOME = "https://shop.example/"


class Shop(SettingsMixin, UserInterfaceMixin, Plugin):
    NAME = "Shop"
    SETTINGS = {
        "PIN": {"protected": True},
        "KEY": {"protected": True, "default": SECRET},
        "COLOUR": {"name": "Colour of the door", "choices": [("green", "Green"), ("red", "Red")]},
    }
    USER_SETTINGS = {
        "TOKEN": {"protected": True},
    }

    def get_ui_panels(self, request, context, **kwargs):
        return [
            {
                "key": "about",
                "title": f"About {context.get('item', '')}",
                "context": {**context, "number": int(context.get("number", 0))},
                "options": {"quoted": SECRET, "pin": PIN},
            }
        ]


@pytest.fixture
def registry(plugin_host):
    return plugin_host(Shop, settings={"PIN": PIN}).registry


@pytest.fixture
def api(registry):
    return PluginAPI(registry)


def _set_own(api, key, value, actor=READER):
    return api.plugins_user_settings_update(actor, plugin="shop", key=key, body={"value": value})


class TestWhatComesBack:
    """A text of the client's comes back as it was sent, be it a protected value or not."""

    @pytest.mark.parametrize("guess", ["0450", PIN, SECRET, "sesame-open-52", SECRET.upper()])
    def test_in_a_feature_of_the_interface(self, api, guess):
        """Many guesses in one request would find a short one."""
        (panel,) = api.plugins_ui_features_list(
            READER, feature="panel", item=guess, more=f"a{guess}b"
        )

        assert panel.title == f"About {guess}"
        assert panel.context == {"item": guess, "more": f"a{guess}b", "number": 0}

    def test_as_a_number(self, registry, api):
        """Which is another text in the answer."""
        registry.settings("shop").set("PIN", "4511")
        (panel,) = api.plugins_ui_features_list(READER, feature="panel", number="4511")

        assert panel.context == {"number": 4511}

    def test_what_the_plugin_shows_by_itself_is_hidden(self, api):
        """Whatever else the client has sent."""
        (panel,) = api.plugins_ui_features_list(READER, feature="panel", item="0450")

        assert panel.options == {"quoted": "***", "pin": "***"}


class TestValuesOfUsers:
    """Any user may choose one, and changes nothing that others are shown."""

    def test_metadata_stays_readable_and_writable(self, registry, api):
        """Nor may staff find out by trying which values users have chosen."""
        metadata = {"home": HOME}
        registry.set_metadata("shop", metadata)
        for value in ("https://", "shop.example"):
            _set_own(api, "TOKEN", value)

            assert api.plugins_metadata_retrieve(STAFF, plugin="shop").metadata == metadata
            body = {"metadata": metadata}
            assert api.plugins_metadata_update(STAFF, plugin="shop", body=body).metadata == metadata

    @pytest.mark.parametrize("value", ["green", "Colour", "of the"])
    def test_settings_are_described_as_before(self, registry, api, value):
        """In the lists, one by one, and in the schema."""

        def described():
            found = [
                api.plugins_settings_retrieve(OTHER, plugin="shop", key="COLOUR").model_dump(),
                *(e.model_dump() for e in api.plugins_settings_list(OTHER, plugin="shop")),
            ]
            return found, registry.settings("shop").schema()

        before = described()
        _set_own(api, "TOKEN", value)
        _set_own(api, "TOKEN", f"{value} and more")

        assert described() == before

    def test_what_the_host_protects_stays_so(self, registry, api):
        """A user who has guessed a default, or a value, takes it from nobody else's protection."""
        body = {"metadata": {"a": SECRET}}
        for value in (SECRET, PIN):
            _set_own(api, "TOKEN", value)

            assert registry.config.scrubbed("shop", [SECRET, PIN]) == ["***", "***"]
            with pytest.raises(APIError, match="holds the value of a protected setting"):
                api.plugins_metadata_update(STAFF, plugin="shop", body=body)

    def test_a_user_does_not_see_the_own_one_again(self, registry, api):
        """Not even in a text of the plugin's."""
        _set_own(api, "TOKEN", "green")

        assert registry.config.scrubbed("shop", "green", 2) == "***"
        assert registry.config.scrubbed("shop", "green", 3) == "green"
        assert registry.config.scrubbed("shop", "green") == "green"

    def test_what_a_user_has_chosen_may_become_the_plugins_own(self, registry, api):
        """The same text, now a protected value of the plugin, is hidden from everybody."""
        _set_own(api, "TOKEN", "a-common-text")
        assert registry.config.scrubbed("shop", "a-common-text") == "a-common-text"
        registry.settings("shop").set("KEY", "a-common-text")
        _set_own(api, "TOKEN", "")

        assert registry.config.scrubbed("shop", "a-common-text") == "***"
        assert registry.config.scrubbed("shop", "a-common-text", 2) == "***"
