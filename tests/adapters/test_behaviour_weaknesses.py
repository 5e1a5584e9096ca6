"""Which numbered weakness of behaviour.md is held by which file of this suite.

A weakness that is left out here is no answer of this API. Of those that operations touch, 57 (a
backup value) is held by tests/test_binding.py, 69, 70 and 72 (what an installer is asked, and what
it fails with) by tests/test_install.py, 120 (paths of files) by tests/test_assets.py, 65 and 119
(events) by tests/test_events.py, and 93 (a wrong task) by tests/test_schedules.py; 71, 73, 75, 77
to 79 are about installers and their files. The tests name the numbers at the end of their
docstrings.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

HELD = {
    "access": {
        1: "installing needs a superuser",
        2: "nobody reads without an identity",
        3: "a superuser need not be staff",
        4: "scopes are enforced",
        6: "texts in lists are treated as others",
        7: "values keep their lines",
        10: "the names of paths are no slugs",
        11: "paths end where they end",
        28: "there is no operation that changes a config as a whole",
    },
    "list": {
        8: "a list is the page object, with and without a limit",
        9: "without a limit all rows are one page, and a huge limit does no harm",
        13: "a filter that is no boolean is refused",
        14: "no undocumented search",
        15: "an unknown ordering is refused",
        16: "the order does not depend on case or on a database",
        17: "a list makes no plugin objects, and asks none",
    },
    "plugin": {
        5: "the detail of a refused deletion is a text",
        26: "a deletion forgets everything at once",
        27: "mandatory plugins are not deleted",
        34: "the name is refreshed",
        35: "a plugin whose constructor fails is installed",
        36: "no server paths for readers",
        37: "a wrong date costs itself alone",
        38: "what an inactive plugin states is known in Python",
        55: "deleted values are nowhere to be seen",
    },
    "states": {
        20: "a reload that cannot be done says so",
        21: "what fails in a reload is in the status",
        24: "only plugins in service count as active",
        25: "each error is three texts",
        29: "a number in the body names no plugin",
        64: "errors do not pile up",
        66: "nothing is activated that is not installed",
        67: "the wish of an incompatible plugin is kept",
        68: "a change during a load is carried out after it",
    },
    "settings": {
        12: "not the flag counts but the plugin in service",
        30: "the order is that of the declaration",
        31: "every setting has a number",
        32: "reads write nothing",
        39: "model filters are an object",
        40: "an address that cannot be told is null",
        41: "the signature of choices decides",
        42: "hidden settings are left out of pages, in Python",
        45: "keys have one case",
        46: "a float is a string",
        51: "values are text",
        52: "a float is a float in Python",
        56: "an unknown key makes no setting",
    },
    "values": {
        41: "a TypeError of choices is told",
        43: "a required setting is not emptied",
        44: "hooks refuse, or are recorded",
        47: "the length is checked in Python too",
        48: "a wrong boolean is refused",
        49: "choices are compared as text",
        50: "numbers can be emptied",
        53: "a secret is shown as set or not",
        54: "the mask keeps the secret",
        58: "a plugin is told of every failure",
        59: "all values at once are native",
    },
    "all_settings": {
        22: "the settings of all plugins have an order",
        23: "secrets of plugins that are off are masked",
    },
    "user_settings": {
        31: "every setting of a user has a number",
        32: "reads write nothing",
        54: "the mask keeps the secret",
        60: "users set their own",
        61: "definitions go with the plugin",
    },
    "metadata": {
        62: "what is no object is refused",
        63: "writers lose nothing",
    },
    "ui": {
        110: "an unknown type is no news",
        111: "what fails is in the status",
        112: "any iterable of features counts",
        113: "no text is made of None",
        114: "objects are never null",
        115: "what a plugin gave stays as it is",
        116: "a source that fails is told of",
        117: "the address is made with the slug",
        118: "a context that fails is null, and told of",
    },
    "packages": {
        18: "the sentence is well spelt",
        19: "the answer has the published fields",
        33: "what was asked is echoed",
        35: "a plugin whose constructor fails can be removed",
        74: "codes are set apart",
        76: "a package stays while any of its plugins is on, and goes with all",
    },
}

_NAMED = re.compile(r"\(weakness(?:es)? ([\d, ]+)\)")


def named(subject):
    """Return the weaknesses that the docstrings of one file's tests name."""
    source = Path(__file__).with_name(f"test_behaviour_{subject}.py").read_text(encoding="utf-8")
    tests = (each for each in ast.walk(ast.parse(source)) if isinstance(each, ast.FunctionDef))
    docstrings = (ast.get_docstring(each) or "" for each in tests if each.name.startswith("test"))
    found = (numbers for each in docstrings for numbers in _NAMED.findall(each))
    return {int(number) for numbers in found for number in numbers.split(",")}


def test_the_table_says_what_the_tests_say():
    """Each file's tests name the weaknesses of its row, and no others."""
    assert {subject: named(subject) for subject in HELD} == {
        subject: set(numbers) for subject, numbers in HELD.items()
    }
