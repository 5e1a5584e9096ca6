"""Definitions of settings: how they are read, and the way from a value to its text and back."""

from __future__ import annotations

from contextlib import suppress
from datetime import date
from decimal import Decimal
from enum import StrEnum
from functools import partial
from itertools import repeat
from pathlib import PurePosixPath
from uuid import UUID

import pytest

from plugreg._support.redact import MASK
from plugreg.exceptions import SettingError
from plugreg.settings.declaration import parse_definitions
from plugreg.settings.definition import (
    SettingDefinition,
    as_text,
    check,
    choices_of,
    default_of,
    native_of,
)


def to_text(definition, value, **who):
    """Return the text that is stored for a value."""
    return check(definition, value, **who).text


def to_value(definition, text):
    """Return the value of a stored string: the default if it is empty or no longer fits."""
    if text:
        with suppress(SettingError):
            return native_of(definition, text)
    return default_of(definition)


def one(**fields):
    """Return the definition that an author's fields give; they must be sound."""
    definitions, faults = parse_definitions({"KEY": fields}, "SETTINGS")
    assert faults == ()
    return definitions["KEY"]


def faults_of(raw):
    """Return the faults of ``raw``, in order."""
    return list(parse_definitions(raw, "SETTINGS")[1])


def refusal(definition, value, **who):
    """Return the reason for which ``value`` is refused."""
    with pytest.raises(SettingError) as caught:
        to_text(definition, value, **who)
    assert caught.value.field == definition.key
    return caught.value.reason


class Shouting:
    """A lazy text, as translations are."""

    def __str__(self):
        return "loud"


class Unspeakable:
    """An object none of whose texts can be had, and that equals nothing without a fight."""

    def __repr__(self):
        raise RuntimeError("no repr")

    def __str__(self):
        raise RuntimeError("no text")

    def __eq__(self, other):
        raise RuntimeError("no comparison")

    __hash__ = None

    def __call__(self, value):
        return value


class TestParsing:
    def test_every_field_is_taken_in(self):
        """Each field arrives in the record under its name."""

        def hook(setting):
            """Do nothing."""

        definition = one(
            name="Per cent",
            description="How much",
            units="%",
            default=10,
            validator=[int, hook],
            choices=[(10, "ten"), [20, "twenty"]],
            model="part.part",
            model_filters={"active": True},
            hidden=True,
            protected=True,
            required=True,
            before_save=hook,
            after_save=hook,
            confirm=True,
            confirm_text="Sure?",
        )

        assert definition == SettingDefinition(
            key="KEY",
            name="Per cent",
            description="How much",
            units="%",
            default=10,
            validator=(int, hook),
            choices=((10, "ten"), (20, "twenty")),
            model="part.part",
            model_filters={"active": True},
            hidden=True,
            protected=True,
            required=True,
            before_save=hook,
            after_save=hook,
            confirm=True,
            confirm_text="Sure?",
        )

    def test_none_says_as_little_as_leaving_out(self):
        """A field that is None counts as not given."""
        fields = ("name", "default", "validator", "choices", "model", "model_filters", "hidden")

        assert one(**dict.fromkeys(fields)) == SettingDefinition(key="KEY")

    def test_empty_choices_are_no_choices(self):
        """With an empty list of choices anything may be chosen."""
        assert to_text(one(choices=[]), "x") == "x"

    def test_lazy_texts_stay_lazy(self):
        """A lazy translation is kept, so that each reader may get his own language."""
        lazy = Shouting()

        assert one(name=lazy).name is lazy

    def test_keys_are_upper_case_in_the_order_declared(self):
        """Keys are normalised once, and listed as the author wrote them."""
        definitions, faults = parse_definitions({"b": {}, "_a": {}, "C2": {}}, "SETTINGS")

        assert (list(definitions), faults) == (["B", "_A", "C2"], ())
        assert definitions["_A"].key == "_A"

    def test_raw_is_not_changed_and_not_kept(self):
        """The author's dicts are not changed, and later changes of them have no effect."""
        filters = {"active": True}
        raw = {"key": {"validator": [int], "model_filters": filters}}
        definitions, _ = parse_definitions(raw, "SETTINGS")

        assert raw == {"key": {"validator": [int], "model_filters": {"active": True}}}

        filters["active"] = False
        raw["key"]["validator"].append(bool)
        assert definitions["KEY"].model_filters == {"active": True}
        assert definitions["KEY"].validators == (int,)
        with pytest.raises(TypeError):
            definitions["OTHER"] = definitions["KEY"]

    def test_nothing_declared(self):
        """None and an empty dict are no settings, without a fault."""
        assert parse_definitions(None, "SETTINGS") == ({}, ())
        assert parse_definitions({}, "SETTINGS") == ({}, ())

    def test_a_record_is_taken_like_a_dict(self):
        """A SettingDefinition gives itself, with its key in upper case, and is checked as well."""
        record = SettingDefinition(key="key", default=1, validator=(int,))
        definitions, faults = parse_definitions({"key": record}, "SETTINGS")

        assert faults == ()
        assert definitions["KEY"] == SettingDefinition(key="KEY", default=1, validator=(int,))
        assert faults_of({"KEY": SettingDefinition(key="KEY", hidden="no")}) == [
            "SETTINGS['KEY']: field 'hidden' must be True or False, not 'no'"
        ]
        assert faults_of({"A": SettingDefinition(validator=int)}) == []
        assert faults_of({"A": SettingDefinition(key="B")}) == [
            "SETTINGS['A']: the definition's own key is 'B'; use one name"
        ]

    @pytest.mark.parametrize(
        ("raw", "fault"),
        [
            ([], "SETTINGS must be a dict of key to definition, not 'list'"),
            ({"K": 5}, "SETTINGS['K'] must be a dict or a SettingDefinition, not 5"),
            (
                {"K": {"validators": int}},
                "SETTINGS['K']: field 'validators' is not known; did you mean 'validator'?",
            ),
            ({"K": {3: 1}}, "SETTINGS['K']: field 3 is not known"),
            (
                {"K": {"validator": "x"}},
                "SETTINGS['K']: field 'validator' must be bool, int, float, a callable "
                "or a list of these, not 'x'",
            ),
            (
                {"K": {"validator": [int, "x"]}},
                "SETTINGS['K']: field 'validator' must be bool, int, float, a callable "
                "or a list of these, not [<class 'int'>, 'x']",
            ),
            *(
                ({"K": {name: 5}}, f"SETTINGS['K']: field {name!r} must be a string, not 5")
                for name in ("name", "description", "units", "confirm_text")
            ),
            ({"K": {"name": b"x"}}, "SETTINGS['K']: field 'name' must be a string, not b'x'"),
            *(
                ({"K": {name: 1}}, f"SETTINGS['K']: field {name!r} must be True or False, not 1")
                for name in ("hidden", "required", "confirm")
            ),
            (
                {"K": {"protected": 1}},
                "SETTINGS['K']: field 'protected' must be True or False, not a 'int' object",
            ),
            *(
                (
                    {"K": {name: 1}},
                    f"SETTINGS['K']: field {name!r} must be a callable that takes the setting, "
                    f"not 1",
                )
                for name in ("before_save", "after_save")
            ),
            *(
                (
                    {"K": {"choices": choices}},
                    "SETTINGS['K']: field 'choices' must be a list of (value, label) pairs or a "
                    f"callable that returns it, not {choices!r}",
                )
                for choices in (["ab"], "ab", 5, [(1, 2, 3)])
            ),
            (
                {"K": {"model": 5}},
                "SETTINGS['K']: field 'model' must be a string as 'app.model', not 5",
            ),
            (
                {"K": {"model_filters": 5}},
                "SETTINGS['K']: field 'model_filters' must be a dict, not 5",
            ),
            (
                {"K": {"default": "x", "validator": int}},
                "SETTINGS['K']: field 'default' must fit its validator: "
                "Provided value is not a valid integer",
            ),
            (
                {"K": {}, "k": {}},
                "SETTINGS['k']: the key differs from 'K' only in case; rename one of them",
            ),
            *(
                (
                    {key: {}},
                    f"SETTINGS[{key!r}]: a key is made of letters a-z, digits and underscores, "
                    f"at most 50 of them",
                )
                for key in ("a b", "", "a-b", "ß", "K" * 51, 7, "K\n")
            ),
        ],
    )
    def test_a_fault_names_attribute_key_and_remedy(self, raw, fault):
        """Each kind of fault is exactly one sentence with its place and the expected content."""
        assert faults_of(raw) == [fault]

    def test_the_longest_key(self):
        """A key of fifty characters is sound."""
        assert faults_of({"K" * 50: {}}) == []

    def test_all_faults_at_once_and_the_rest_is_sound(self):
        """All faults are reported at once; valid definitions are parsed beside them."""
        definitions, faults = parse_definitions(
            {"A": {"name": 1, "hiden": True}, "GOOD": {}, "B": {"model": 1}}, "USER_SETTINGS"
        )

        assert list(definitions) == ["GOOD"]
        assert [fault.split(":")[0] for fault in faults] == [
            "USER_SETTINGS['A']",
            "USER_SETTINGS['A']",
            "USER_SETTINGS['B']",
        ]

    def test_faults_show_no_secret(self):
        """A fault of a protected setting shows none of its values, nor does any default's."""
        raw = {
            "A": {"protected": True, "choices": "hunter2"},
            "B": {"protected": True, "default": "hunter2", "validator": int},
            "C": {"protected": "yes", "model": 1, "default": "hunter2", "validator": int},
        }

        assert len(faults_of(raw)) == 4
        assert not any("hunter2" in fault for fault in faults_of(raw))

    def test_hostile_objects_are_faults(self):
        """An object without repr, comparison and string is described by its class."""
        hostile = Unspeakable()
        shown = "<Unspeakable object, whose repr fails>"

        assert faults_of({"K": hostile}) == [
            f"SETTINGS['K'] must be a dict or a SettingDefinition, not {shown}"
        ]
        assert faults_of({"K": {"model": hostile}}) == [
            f"SETTINGS['K']: field 'model' must be a string as 'app.model', not {shown}"
        ]
        assert one(validator=[hostile, int]).wire_type == "integer"
        assert to_text(one(validator=[hostile, int]), "3") == "3"

    def test_a_hostile_default_is_a_fault(self):
        """A default that has no text is reported without its own message."""

        class Mute:
            def __str__(self):
                raise RuntimeError("hunter2")

        assert faults_of({"K": {"default": Mute(), "validator": float}}) == [
            "SETTINGS['K']: field 'default' must fit its validator: "
            "Value does not pass validation checks"
        ]

    def test_repr_shows_no_value(self):
        """Neither the default nor the choices of a setting can be read in its repr."""
        definition = one(
            protected=True,
            default="hunter2",
            choices=[("hunter2", "x")],
            model_filters={"a": "hunter2"},
            validator=partial(print, "hunter2"),
        )

        assert "hunter2" not in repr(definition)
        assert "'KEY'" in repr(definition)


class TestType:
    @pytest.mark.parametrize(
        ("fields", "word"),
        [
            ({}, "string"),
            ({"validator": bool}, "boolean"),
            ({"validator": [print, bool]}, "boolean"),
            ({"validator": [int, bool]}, "boolean"),
            ({"validator": int}, "integer"),
            ({"validator": int, "model": "a.b"}, "integer"),
            ({"model": "a.b"}, "related field"),
            ({"validator": float}, "string"),
            ({"choices": [(1, "one")]}, "string"),
        ],
    )
    def test_word(self, fields, word):
        """The word of a setting follows its converter, type and model, in this order."""
        assert one(**fields).wire_type == word


class TestToText:
    @pytest.mark.parametrize(
        ("validator", "value", "text"),
        [
            (None, "x", "x"),
            (None, None, ""),
            (None, "", ""),
            (None, True, "True"),
            (None, 4.5, "4.5"),
            (None, "  padded\n\t", "  padded\n\t"),
            (None, "  ", "  "),
            (None, "-----BEGIN\r\nKEY\r\n", "-----BEGIN\r\nKEY\r\n"),
            (bool, True, "True"),
            (bool, " yes ", "True"),
            (bool, 0, "False"),
            (bool, "OFF", "False"),
            (bool, "  ", ""),
            (bool, None, ""),
            (int, " 42 ", "42"),
            (int, 42, "42"),
            (int, "", ""),
            (int, "9" * 2000, "9" * 2000),
            (float, "1", "1.0"),
            (float, 1e22, "1e+22"),
            (float, " ", ""),
        ],
    )
    def test_form(self, validator, value, text):
        """Values get the text that is stored; blanks unset bools and numbers; text is kept."""
        assert to_text(one(validator=validator), value) == text

    @pytest.mark.parametrize("word", ["1", "y", "yes", "t", "true", "ok", "on"])
    def test_words_for_true(self, word):
        """Each of the known words means True, in any case."""
        assert to_text(one(validator=bool), word.upper()) == "True"

    @pytest.mark.parametrize("word", ["0", "n", "no", "f", "false", "off"])
    def test_words_for_false(self, word):
        """Each of the known words means False, in any case."""
        assert to_text(one(validator=bool), word.title()) == "False"

    @pytest.mark.parametrize(
        ("fields", "value", "reason"),
        [
            ({"validator": bool}, "maybe", "Value must be a boolean value"),
            ({"validator": bool}, 2, "Value must be a boolean value"),
            ({"validator": int}, "x", "Provided value is not a valid integer"),
            ({"validator": int}, 1.5, "Provided value is not a valid integer"),
            ({"validator": int}, True, "Provided value is not a valid integer"),
            ({"validator": float}, "x", "Provided value is not a valid float"),
            ({"validator": float}, "nan", "Provided value is not a valid float"),
            ({"validator": float}, "1e999", "Provided value is not a valid float"),
            ({"required": True}, "", "This setting is required"),
            ({"required": True}, None, "This setting is required"),
            ({"required": True}, " \n", "This setting is required"),
            ({"required": True, "validator": int}, " ", "This setting is required"),
            ({}, "x" * 2001, "Ensure this value has at most 2000 characters (it has 2001)."),
            ({"choices": [("a", "A")]}, "b", "Chosen value is not a valid option"),
        ],
    )
    def test_refused(self, fields, value, reason):
        """A value that cannot be stored is refused with a reason."""
        assert refusal(one(**fields), value) == reason

    @pytest.mark.parametrize("text", ["a\0b", "\x1b", "\x0c", "a\rb", "\r", "\ud800"])
    def test_control_characters(self, text):
        """NUL, other control characters and lone surrogates never reach a store."""
        assert refusal(one(), text) == (
            "Value must not contain control characters, but for tab and newline, or surrogates"
        )

    def test_what_has_no_text(self):
        """A value that cannot be turned into text, or only at great length, is refused."""
        for value in (10**5000, Unspeakable()):
            assert refusal(one(), value) == (
                "Value must be a string, a number or a boolean value; give it as a string"
            )

    @pytest.mark.parametrize(
        "value",
        [
            *([], ["a"], {}, {"a": 1}, {1}, (), b"a", bytearray(b"a"), range(2)),
            *(iter(""), {}.values(), object(), int, print),
        ],
        ids=lambda value: type(value).__name__,
    )
    @pytest.mark.parametrize("validator", [None, bool, int, float])
    def test_what_is_no_single_value(self, validator, value):
        """The string of a list, of bytes or of an odd object is never stored."""
        assert refusal(one(validator=validator), value) == (
            "Value must be a string, a number or a boolean value; give it as a string"
        )

    def test_an_endless_list_is_refused_unread(self):
        """A list that holds itself or goes too deep for a repr is refused like any other."""
        cyclic, deep = [], []
        cyclic.append(cyclic)
        for _ in range(100_000):
            deep = [deep]

        assert refusal(one(), cyclic) == refusal(one(), deep) == refusal(one(), [])

    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (Shouting(), "loud"),
            (Decimal("1.50"), "1.50"),
            (UUID(int=1), str(UUID(int=1))),
            (date(2020, 1, 2), "2020-01-02"),
            (PurePosixPath("/a"), "/a"),
        ],
    )
    def test_what_has_a_text_of_its_own(self, value, text):
        """Lazy texts, decimals, dates and their like are stored as their text."""
        assert to_text(one(), value) == text

    def test_the_text_is_a_plain_one(self):
        """A text whose methods do as they like is stored by its characters alone."""

        class Sly(str):
            def __str__(self):
                return self

            def strip(self, *_):
                raise SystemExit

            __len__ = __eq__ = __hash__ = strip

        found = to_text(one(), Sly("x"))
        assert (type(found), found) == (str, "x")

    def test_the_longest_value(self):
        """Two thousand characters are allowed."""
        assert to_text(one(), "x" * 2000) == "x" * 2000


class TestValidators:
    def test_gets_the_converted_value(self):
        """A custom validator sees the native value, wherever it stands in the list."""
        seen = []
        to_text(one(validator=[seen.append, int]), "42")

        assert seen == [42]

    def test_is_not_asked_about_blanks(self):
        """A blank value unsets the setting and is not validated."""
        seen = []
        to_text(one(validator=seen.append), "")

        assert seen == []

    @pytest.mark.parametrize(
        "error", [ValueError("must be even"), SettingError("X", "must be even")]
    )
    def test_own_words_pass_through(self, error):
        """The message of a ValueError is the reason that is shown."""

        def refuse(value):
            raise error

        assert refusal(one(validator=refuse), "3") == "must be even"

    @pytest.mark.parametrize(
        "error", [KeyError("secret"), SystemExit(3), ValueError(), RuntimeError]
    )
    def test_other_exceptions_are_a_plain_refusal(self, error):
        """Whatever else a validator raises, even SystemExit, refuses without its details."""

        def break_down(value):
            raise error

        reason = refusal(one(validator=break_down), "3")
        assert reason == "Value does not pass validation checks"

    def test_the_cause_is_kept(self):
        """The validator's own exception can be found behind the refusal."""
        with pytest.raises(SettingError) as caught:
            to_text(one(validator=lambda value: 1 / 0), "3")

        assert isinstance(caught.value.__cause__, ZeroDivisionError)

    def test_keyboard_interrupt_passes(self):
        """A person at the keyboard is not a validator's refusal."""

        def interrupt(value):
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            to_text(one(validator=interrupt), "3")

    @pytest.mark.parametrize(
        ("value", "words"),
        [
            ("hunter2", "bad: hunter2"),
            (" hunter2 ", "bad: hunter2"),
            ("hun\nter2", r"bad: 'hun\nter2'"),
            ("hunter2", "bad: HUNT..."),
            ("hunter2", "bad end: ter2"),
        ],
    )
    def test_a_protected_value_is_not_repeated(self, value, words):
        """A reason that repeats a protected value is replaced, and no exception carries it."""

        def refuse(text):
            raise ValueError(words)

        assert refusal(one(validator=refuse), value) == words
        with pytest.raises(SettingError) as caught:
            to_text(one(validator=refuse, protected=True), value)

        assert caught.value.reason == "Value does not pass validation checks"
        assert caught.value.__cause__ is None
        assert caught.value.__context__ is None

    def test_a_protected_setting_may_explain(self):
        """Advice that does not repeat the value is shown for protected settings too."""

        def refuse(text):
            raise ValueError("must begin with sk-")

        assert refusal(one(validator=refuse, protected=True), "hunter2") == "must begin with sk-"


class TestChoices:
    @pytest.mark.parametrize(
        ("fields", "value", "text"),
        [
            ({"choices": [(1, "one")]}, 1, "1"),
            ({"choices": [(1, "one")]}, "1", "1"),
            ({"choices": [("1", "one")], "validator": int}, 1, "1"),
            ({"choices": [(1, "one")], "validator": float}, "1", "1.0"),
            ({"choices": [("x", "x"), (1, "one")], "validator": float}, 1, "1.0"),
            ({"choices": [(True, "on")], "validator": bool}, "yes", "True"),
            ({"choices": [("a", "A")]}, "", ""),
        ],
    )
    def test_compared_as_text(self, fields, value, text):
        """A choice is compared by its stored string, whatever its type in the definition."""
        assert to_text(one(**fields), value) == text

    def test_enum_members_are_their_text(self):
        """A StrEnum serves for keys and choices alike."""

        class Colour(StrEnum):
            RED = "red"

        definitions, _ = parse_definitions({Colour.RED: {"choices": [(Colour.RED, "R")]}}, "S")

        assert to_text(definitions["RED"], Colour.RED) == "red"
        assert [type(key) for key in definitions] == [str]

    @pytest.mark.parametrize(
        "choices",
        [
            lambda: [("None", ""), ("None7", "")],
            lambda plugin: [(f"{plugin}", "")],
            lambda *, user: [(f"None{user}", "")],
            lambda plugin=None, user=None: [(f"{plugin}{user}", "")],
            lambda **who: [(f"{who['plugin']}{who['user']}", "")],
        ],
    )
    def test_a_callable_gets_what_it_accepts(self, choices):
        """The signature of callable choices decides which of plugin= and user= it gets."""
        offered = [value for value, _ in choices_of(one(choices=choices), user=7)]

        assert "None7" in offered or offered == ["None"]

    def test_both_keywords_reach_a_callable(self):
        """Whoever writes is known to the choices."""
        definition = one(choices=lambda plugin, user: [(f"{plugin}{user}", "")])

        assert to_text(definition, "mine7", plugin="mine", user=7) == "mine7"
        assert refusal(definition, "x", plugin="mine", user=7)

    def test_a_callable_without_a_signature(self):
        """A builtin without a signature is called without any."""
        assert choices_of(one(choices=dict)) == ()

    def test_a_type_error_within_is_not_hidden(self):
        """An exception of callable choices passes, and they are called once."""
        calls = []

        def choices():
            calls.append(1)
            raise TypeError("inside")

        with pytest.raises(TypeError, match="inside"):
            choices_of(one(choices=choices))
        assert calls == [1]

    def test_a_callable_that_gives_no_pairs(self):
        """Choices that are no pairs are a fault of the setting."""
        with pytest.raises(SettingError, match=r"choices of this setting are not \(value, label\)"):
            choices_of(one(choices=lambda: ["ab"]))

    def test_choices_without_an_end(self):
        """They are a fault where they are declared, and where they are asked for."""
        endless = repeat(("a", "A"))
        with pytest.raises(SettingError, match="pairs, 100,000 at most"):
            choices_of(one(choices=lambda: endless))
        _, faults = parse_definitions({"KEY": {"choices": endless}}, "SETTINGS")
        assert [
            "'choices' must be a list of (value, label) pairs" in fault for fault in faults
        ] == [True]

    def test_no_choices(self):
        """Without choices there is nothing to list."""
        assert choices_of(one()) == ()

    def test_an_empty_answer_allows_nothing(self):
        """A callable that offers nothing now refuses every value."""
        assert refusal(one(choices=list), "x") == "Chosen value is not a valid option"


class TestReading:
    @pytest.mark.parametrize(
        ("fields", "text", "value"),
        [
            ({}, "x", "x"),
            ({"validator": bool}, "False", False),
            ({"validator": int}, "42", 42),
            ({"validator": float}, "1.5", 1.5),
            ({"model": "a.b"}, "7", "7"),
            ({"default": "d"}, "", "d"),
            ({"default": 5, "validator": int}, "garbage", 5),
            ({"validator": int}, "garbage", ""),
            ({"default": True, "validator": bool}, "2", True),
        ],
    )
    def test_native(self, fields, text, value):
        """A stored string reads as its type; an empty or unfit one reads as the default."""
        found = to_value(one(**fields), text)

        assert found == value
        assert type(found) is type(value)

    @pytest.mark.parametrize(
        ("fields", "value"),
        [
            ({}, ""),
            ({"validator": bool}, ""),
            ({"default": "x"}, "x"),
            ({"default": "10", "validator": int}, 10),
            ({"default": 1, "validator": float}, 1.0),
            ({"default": "", "validator": int}, ""),
            ({"default": lambda: "yes", "validator": bool}, True),
            ({"default": lambda: None}, ""),
        ],
    )
    def test_default(self, fields, value):
        """The default comes in the setting's type, a missing one as an empty text."""
        found = default_of(one(**fields))

        assert found == value
        assert type(found) is type(value)

    def test_a_callable_default_is_called_each_time_and_not_when_parsed(self):
        """A callable default runs when it is read, never before."""
        calls = []
        definition = one(default=lambda: calls.append(1) or len(calls), validator=int)

        assert calls == []
        assert [default_of(definition), default_of(definition)] == [1, 2]

    def test_a_callable_default_that_does_not_convert(self):
        """The fault of a callable default is raised when it is read."""
        with pytest.raises(SettingError, match="not a valid integer"):
            default_of(one(default=lambda: "x", validator=int))

    def test_has_default(self):
        """An empty text is a default, None and a missing one are not."""
        assert one(default="").has_default
        assert not one(default=None).has_default
        assert not one().has_default

    def test_as_text(self):
        """None is an empty text, True its name."""
        assert [as_text(None), as_text(True), as_text(3)] == ["", "True", "3"]

    def test_the_mask_means_nothing_here(self):
        """The mask is text like any other to the write path; its caller looks for it."""
        assert MASK == "***"
        assert to_text(one(protected=True), MASK) == MASK
