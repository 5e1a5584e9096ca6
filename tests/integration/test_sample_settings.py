"""The sample plugins with settings: each kind works in a real store as the sample says."""

from __future__ import annotations

import pytest


def test_settings_are_remembered(shop):
    """Each kind of setting is read in the next process as the value of its type that was set."""
    values = {"TEXT": "Hello", "LOUD": True, "REPEAT": 3, "PAUSE": 1.5, "TONE": "short"}
    values |= {"SILENT_ON": ["Sunday"], "SIGNATURE": "Grace", "API_KEY": "sesame"}
    shop.run(
        "registry.activate('greeting')\n"
        f"for key, value in {values!r}.items():\n"
        "    registry.settings('greeting').set(key, value)\n"
        "registry.user_settings('greeting', user=7).set('NICKNAME', 'Countess')\n"
        "answer = None"
    )
    answer = shop.run(
        "answer = [dict(registry.settings('greeting')),\n"
        "          registry.get('greeting').plugin.name_for(7, 'Ada'),\n"
        "          registry.get('greeting').plugin.name_for(8, 'Ada'),\n"
        "          registry.first(Hooks.greeting, customer='Ada')]"
    )

    assert answer == [values, "Countess", "Ada", "HELLO, HELLO, HELLO"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("LOUD", "perhaps"), ("REPEAT", "1.5"), ("PAUSE", "nan"), ("TONE", "rude")),
        *(("TEXT", "a\nb"), ("SILENT_ON", ["Monday"])),
    ],
)
def test_each_kind_of_setting_refuses_what_it_is_not(shop, key, value):
    """A value that does not fit a setting is refused with its key, and nothing changes."""
    answer = shop.run(
        "from plugreg import SettingError\n"
        "registry.activate('greeting')\n"
        "settings = registry.settings('greeting')\n"
        f"before = settings[{key!r}]\n"
        "try:\n"
        f"    settings.set({key!r}, {value!r})\n"
        "except SettingError as error:\n"
        f"    answer = [error.field, settings[{key!r}] == before]\n"
    )

    assert answer == [key, True]


def test_every_field_of_a_definition_is_shown(shop):
    """The two samples of settings use each field that a definition may have, and load with it."""
    answer = shop.run(
        "from dataclasses import MISSING, fields\n"
        "from plugreg import SettingDefinition\n"
        "def differs(one, field):\n"
        "    made = field.default_factory\n"
        "    left_out = field.default if made is MISSING else made()\n"
        "    return getattr(one, field.name) != left_out\n"
        "used = set()\n"
        "for slug in ('greeting', 'gift-wrap'):\n"
        "    registry.activate(slug)\n"
        "    for view in (registry.settings(slug), registry.user_settings(slug, 1)):\n"
        "        for one in view.definitions.values():\n"
        "            used |= {f.name for f in fields(one) if differs(one, f)}\n"
        "gift = registry.settings('gift-wrap').definitions\n"
        "answer = [sorted({f.name for f in fields(SettingDefinition)} - used),\n"
        "          callable(gift['PAPER'].default), callable(gift['PAPER'].choices),\n"
        "          len(gift['FEE'].validators), gift['IN_WINDOW'].wire_type,\n"
        "          gift['IN_WINDOW'].model, dict(gift['IN_WINDOW'].model_filters)]"
    )

    assert answer == [[], True, True, 3, "related field", "shop.item", {"in_stock": True}]


def test_callable_default_and_choices_are_asked_each_time(shop):
    """The sources of a default or choices may change: the next read and write use them."""
    answer = shop.run(
        "registry.activate('gift-wrap')\n"
        "import shop_gift_wrap\n"
        "from plugreg import SettingError\n"
        "settings = registry.settings('gift-wrap')\n"
        "answer = [settings['PAPER']]\n"
        "for _ in range(2):\n"
        "    try:\n"
        "        settings.set('PAPER', 'silk')\n"
        "    except SettingError as error:\n"
        "        answer.append(error.reason)\n"
        "    shop_gift_wrap.PAPERS['silk'] = 0.1\n"
        "answer.append(settings.is_set('PAPER'))\n"
        "settings.set('PAPER', None)\n"
        "answer.append([settings['PAPER'], settings.is_set('PAPER')])"
    )

    assert answer == ["plain", "Chosen value is not a valid option", True, ["silk", False]]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("much", "Provided value is not a valid float"),
        ("-1", "Nobody is paid for having a gift wrapped"),
        ("1.005", "A price has two decimals at most"),
        ("1.5", None),
    ],
)
def test_each_of_several_validators_is_asked(shop, value, reason):
    """The first one makes the number, and each of the others may refuse it in its own words."""
    answer = shop.run(
        "registry.activate('gift-wrap')\n"
        "from plugreg import SettingError\n"
        "settings = registry.settings('gift-wrap')\n"
        "answer = [None]\n"
        "try:\n"
        f"    settings.set('FEE', {value!r})\n"
        "except SettingError as error:\n"
        "    answer = [error.reason]\n"
        "answer.append(settings['FEE'])"
    )

    assert answer == [reason, 1.0 if reason else 1.5]


def test_before_save_vetoes_and_after_save_hears(shop):
    """A veto stores nothing and is all that happens; after_save runs once a value is stored."""
    code = (
        "import logging\n"
        "from plugreg import SettingError\n"
        "registry.activate('gift-wrap')\n"
        "settings, heard, refused = registry.settings('gift-wrap'), [], []\n"
        "class Ear(logging.Handler):\n"
        "    def emit(self, record):\n"
        "        heard.append([record.getMessage(), settings['PAPER']])\n"
        "logger = logging.getLogger('plugreg.plugin.gift-wrap')\n"
        "logger.setLevel(logging.INFO)\n"
        "logger.addHandler(Ear())\n"
        "for paper in ('gold', 'striped'):\n"
        "    try:\n"
        "        settings.set('PAPER', paper)\n"
        "    except SettingError as error:\n"
        "        refused.append([error.field, error.reason])\n"
        "answer = [refused, heard]"
    )

    assert shop.run(code) == [
        [["PAPER", "There is no gold paper left"]],
        [["from now on: striped", "striped"]],
    ]
    again = "answer = registry.call(Hooks.receipt_line, item='tea')"
    assert shop.run(again) == ["As a gift, in striped paper: 1.90 EUR."]


def test_typed_settings_are_values_of_their_types(shop):
    """A value written as a string is read as a number, a list or a choice, by its type."""
    answer = shop.run(
        "registry.activate('courier')\n"
        "settings = registry.settings('courier')\n"
        "settings.set('PARCELS', '25')\n"
        "settings.set('VEHICLE', 'van')\n"
        "settings.set('POSTCODES', '[\"10115\", \"10117\"]')\n"
        "schema = settings.schema()['properties']\n"
        "answer = [dict(settings), registry.call(Hooks.receipt_line, item='tea'),\n"
        "          schema['PARCELS']['minimum'], schema['VEHICLE']['enum'],\n"
        "          schema['POSTCODES']['items']['type']]"
    )

    values = {"PARCELS": 25, "VEHICLE": "van", "POSTCODES": ["10115", "10117"], "TOKEN": ""}
    receipt = ["Brought to 10115, 10117 by van."]
    assert answer == [values, receipt, 1, ["bicycle", "van"], "string"]


@pytest.mark.parametrize(
    ("key", "value"),
    [("PARCELS", 0), ("PARCELS", "many"), ("VEHICLE", "balloon"), ("POSTCODES", "10115")],
)
def test_typed_settings_refuse_what_their_type_does_not_know(shop, key, value):
    """Numbers below the limit, other words, and values that are no list, are refused."""
    answer = shop.run(
        "from plugreg import SettingError\n"
        "registry.activate('courier')\n"
        "settings = registry.settings('courier')\n"
        "before = dict(settings)\n"
        "answer = None\n"
        "try:\n"
        f"    settings.set({key!r}, {value!r})\n"
        "except SettingError as error:\n"
        "    answer = [error.field, dict(settings) == before]\n"
    )

    assert answer == [key, True]


def test_settings_outlive_an_upgrade(copied):
    """Values of version 1.0 are there in the form of 2.0, once it is installed, and stay."""
    file = copied.site / "shop_courier.py"
    new = file.read_text(encoding="utf-8")
    file.write_text(
        "from plugreg import Plugin\n"
        "from plugreg.mixins import SettingsMixin\n"
        "class Courier(SettingsMixin, Plugin):\n"
        "    SETTINGS = {'AREA': {}, 'PARCELS': {'validator': int, 'default': 40}}\n"
        "    USER_SETTINGS = {'DOORSTEP': {'validator': bool, 'default': False}}\n",
        encoding="utf-8",
    )
    copied.run(
        "registry.activate('courier')\n"
        "registry.settings('courier').set('AREA', '10115, 10117')\n"
        "registry.settings('courier').set('PARCELS', 25)\n"
        "registry.user_settings('courier', user=7).set('DOORSTEP', True)\n"
        "answer = None"
    )
    file.write_text(new, encoding="utf-8")

    for _ in range(2):
        answer = copied.run(
            "settings = registry.settings('courier')\n"
            "answer = [settings['POSTCODES'], settings['PARCELS'], 'AREA' in settings,\n"
            "          registry.user_settings('courier', user=7)['DOORSTEP'],\n"
            "          [each.message for each in registry.errors]]"
        )
        assert answer == [["10115", "10117"], 25, False, True, []]
