"""Settings whose type pydantic knows: from any value to text, and back to an equal value."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from enum import Enum, Flag, IntEnum
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from annotated_types import Ge, Le, MinLen
from pydantic import (
    AfterValidator,
    BaseModel,
    EmailStr,
    Field,
    JsonValue,
    PlainSerializer,
    Secret,
    SecretBytes,
    SecretStr,
    StrictBool,
)

from plugreg.exceptions import SettingError
from plugreg.settings.declaration import parse_definitions
from plugreg.settings.definition import (
    SettingDefinition,
    check,
    choice_text,
    choices_of,
    default_of,
    fault_of,
    native_of,
    text_of,
)
from plugreg.settings.values import StoredValue


def to_text(definition, value, **who):
    """Return the text that is stored for a value."""
    return check(definition, value, **who).text


def to_value(definition, text):
    """Return the value of a stored string: the default if it is empty or no longer fits."""
    if text:
        with suppress(SettingError):
            return native_of(definition, text)
    return default_of(definition)


SECRET = "hunter2-and-more"


class Colour(Enum):
    DARK_RED = "red"
    BLUE = "blue"


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Access(Flag):
    READ = 1
    WRITE = 2


class Unwritable(Enum):
    BAD = b"\xff"


class Server(BaseModel):
    host: str
    port: int = Field(default=80, alias="p", ge=1)


class Login(BaseModel):
    user: str
    password: SecretStr


@dataclass
class Point:
    x: int
    y: int = 0


class Foreign:
    """A class that pydantic knows nothing of."""


def one(**fields):
    """Return the definition that an author's fields give; they must be sound."""
    definitions, faults = parse_definitions({"KEY": fields}, "SETTINGS")
    assert faults == ()
    return definitions["KEY"]


def faults_of(**fields):
    """Return the faults of one definition."""
    return list(parse_definitions({"KEY": fields}, "SETTINGS")[1])


def refusal(definition, value):
    """Return the reason for which ``value`` is refused; nothing stands behind the refusal."""
    with pytest.raises(SettingError) as caught:
        to_text(definition, value)
    assert caught.value.field == definition.key
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    return caught.value.reason


def cyclic():
    """Return a list that holds itself."""
    found = []
    found.append(found)
    return found


def deep(levels=5_000):
    """Return lists within lists."""
    found = []
    for _ in range(levels):
        found = [found]
    return found


class TestForm:
    @pytest.mark.parametrize(
        ("declared", "given", "text", "native"),
        [
            (EmailStr, "a@example.org", "a@example.org", "a@example.org"),
            (Annotated[int, Ge(1)], "3", "3", 3),
            (Annotated[int, Ge(1)], 3, "3", 3),
            (Annotated[float, Ge(0)], "1e22", "1e+22", 1e22),
            (StrictBool, True, "True", True),
            (StrictBool, "False", "False", False),
            (Annotated[str, MinLen(2)], " padded ", " padded ", " padded "),
            (list[int], [1, 2], "[1,2]", [1, 2]),
            (list[int], "[1, 2]", "[1,2]", [1, 2]),
            (tuple[int, str], [1, "é"], '[1,"é"]', (1, "é")),
            (dict[str, int], {"a": 1}, '{"a":1}', {"a": 1}),
            (Literal["a", "b"], "a", "a", "a"),
            (Literal[1, 2], "2", "2", 2),
            (Colour, "red", "red", Colour.DARK_RED),
            (Colour, Colour.BLUE, "blue", Colour.BLUE),
            (Level, "2", "2", Level.HIGH),
            (int | None, "3", "3", 3),
            (int | None, None, "", None),
            (date, "2020-01-02", "2020-01-02", date(2020, 1, 2)),
            (timedelta, timedelta(days=1), "P1D", timedelta(days=1)),
            (Decimal, "1.50", "1.50", Decimal("1.50")),
            (UUID, UUID(int=1), str(UUID(int=1)), UUID(int=1)),
            (bytes, b"ab", "ab", b"ab"),
            (set[int], [15, 7, 7], "[15,7]", {7, 15}),
            (frozenset[str], {"b", "c", "a"}, '["a","b","c"]', frozenset("abc")),
            (Server, {"host": "h", "p": 9}, '{"host":"h","p":9}', Server(host="h", p=9)),
            (Server, Server(host="h"), '{"host":"h","p":80}', Server(host="h")),
            (Point, {"x": 1}, '{"x":1,"y":0}', Point(1)),
            (int | list[int], "[1]", "[1]", [1]),
        ],
    )
    def test_text_and_back(self, declared, given, text, native):
        """A value is kept as bare text, "True", digits or compact JSON, and is read as itself."""
        definition = one(type=declared)

        assert to_text(definition, given) == text
        assert to_value(definition, text) == native
        assert type(to_value(definition, text)) is type(native)
        assert fault_of(definition, text or "1") is None

    @pytest.mark.parametrize(
        ("declared", "value"),
        [
            (Annotated[int, PlainSerializer(lambda value: value + 1)], 5),
            (Annotated[int, PlainSerializer(lambda value: "x")], 5),
        ],
    )
    def test_what_would_be_read_as_another_value_is_refused(self, declared, value):
        """A type whose values share strings never swaps one value for another."""
        assert refusal(one(type=declared), value) == (
            "Value cannot be stored, since its string would be read as another value; "
            "the values of this setting's type must have different strings"
        )

    @pytest.mark.parametrize(
        ("declared", "value", "json"),
        [
            (str | list[str], ["a", "b"], '["a","b"]'),
            (str | list[str], "a", None),
            (str | list[str], '["a"]', None),
            (list[str] | str, ["a"], '["a"]'),
            (int | str, 5, "5"),
            (int | str, "5", None),
            (Literal[1, "1"], 1, "1"),
            (Literal[1, "1"], "1", None),
            (bool | int, 1, "1"),
            (bool | int, True, None),
            (bool | int, 7, None),
            (str | None | float, 1.5, "1.5"),
            (JsonValue, 5, "5"),
            (JsonValue, True, "true"),
            (JsonValue, {"a": [1, None, "é"]}, '{"a":[1,null,"é"]}'),
            (JsonValue, '{"a": 1}', None),
            (JsonValue, "null", None),
            (Any, [1.5, {"a": "b"}], '[1.5,{"a":"b"}]'),
            (Any, 5, "5"),
            (Any, "5", None),
            (str | Server, Server(host="h", p=9), '{"host":"h","p":9}'),
        ],
    )
    def test_a_value_whose_text_is_another_values_is_stored_as_json(self, declared, value, json):
        """Each is read as itself, with its own type; a string stays the text it is."""
        definition = one(type=declared)
        checked = check(definition, value)

        assert (checked.native, checked.is_json) == (value, json is not None)
        assert checked.text == (json or str(value))
        stored = StoredValue(checked.text, is_protected=False, is_json=checked.is_json)
        native = native_of(definition, stored.given)
        assert native == value
        assert type(native) is type(value)
        assert fault_of(definition, stored.given) is None

    @pytest.mark.parametrize("blank", ["", None, " ", "\n\t"])
    @pytest.mark.parametrize("declared", [EmailStr, Annotated[int, Ge(1)], list[str], Server])
    def test_blank_unsets_what_is_no_text(self, declared, blank):
        """Blanks mean "unset" where the type has no use for them, and are refused if required."""
        assert to_text(one(type=declared), blank) == ""
        assert refusal(one(type=declared, required=True), blank) == "This setting is required"

    def test_blanks_of_a_text_are_kept(self):
        """A type that takes blank text keeps blanks; an empty one means "unset" here too."""
        definition = one(type=Annotated[str, Field(max_length=3)])

        assert to_text(definition, "  ") == "  "
        assert to_text(definition, "") == ""

    def test_a_value_that_becomes_nothing_is_missing_if_required(self):
        """A value whose string is empty does not count as a value."""
        definition = one(type=Annotated[str, AfterValidator(str.strip)], required=True)
        null = one(type=int | None, required=True)

        assert refusal(definition, "  ") == "This setting is required"
        assert refusal(null, "null") == "This setting is required"
        assert to_text(one(type=int | None), "null") == ""

    @pytest.mark.parametrize(
        ("declared", "word"),
        [
            (Annotated[int, Ge(1)], "integer"),
            (int | None, "integer"),
            (Level, "integer"),
            (Level | None, "integer"),
            (StrictBool, "boolean"),
            (EmailStr, "string"),
            (Annotated[float, Ge(1)], "string"),
            (list[int], "string"),
            (Server, "string"),
            (int, "integer"),
            (bool, "boolean"),
            (float, "string"),
            (str, "string"),
            (SecretStr, "string"),
        ],
    )
    def test_wire_type(self, declared, word):
        """Clients see one of four words, by the type's values."""
        assert one(type=declared).wire_type == word
        related = one(type=declared, model="a.b").wire_type
        assert related == ("related field" if word == "string" else word)


class TestPlainTypes:
    @pytest.mark.parametrize("kind", [bool, int, float])
    def test_are_the_converters(self, kind):
        """A plain type converts as the same validator does."""
        by_type, by_validator = one(type=kind), one(validator=kind)

        assert by_type.converter is by_validator.converter is kind
        assert by_type.typed is None
        assert to_text(by_type, " 1 ") == to_text(by_validator, " 1 ")
        assert refusal(by_type, "x") == refusal(by_validator, "x")

    def test_str_is_text(self):
        """``str`` is the same as no type."""
        assert one(type=str).typed is None
        assert to_text(one(type=str), "  ") == "  "

    def test_they_import_no_pydantic(self):
        """Reading and writing settings of plain types leaves pydantic out of the process."""
        code = (
            "import sys\n"
            "from plugreg.settings.declaration import parse_definitions\n"
            "from plugreg.settings.definition import check, native_of, choices_of, fault_of\n"
            "from plugreg.settings.schema import schema_of\n"
            "raw = {kind.__name__: {'type': kind, 'default': '1'} for kind in (bool, int, float)}\n"
            "definitions, faults = parse_definitions({**raw, 'T': {'type': str}}, 'SETTINGS')\n"
            "assert not faults\n"
            "for definition in definitions.values():\n"
            "    definition.wire_type, choices_of(definition), fault_of(definition, '1')\n"
            "    assert check(definition, native_of(definition, '1')).text\n"
            "schema_of(definitions)\n"
            "print('pydantic' in sys.modules)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )

        assert done.stdout.strip() == "False"


class TestReasons:
    def test_all_faults_at_once_with_their_places(self):
        """The reason names each faulty part, its place, and the expected value."""
        reason = refusal(one(type=Server), {"p": "x"})

        assert [fault.split(": ")[0] for fault in reason.split("; ")] == ["host", "p"]
        assert "Field required" in reason
        assert "valid integer" in reason

    def test_many_faults_are_counted(self):
        """A long list of wrong parts gives a reason that can still be read."""
        reason = refusal(one(type=list[int]), ["x"] * 100)

        assert reason.startswith("0: ")
        assert reason.endswith("; and 80 more")
        assert reason.count("; ") == 20
        assert len(refusal(one(type=dict[str, int]), {"k" * 100_000: "x"})) < 2_000

    @pytest.mark.parametrize(
        ("declared", "value", "words"),
        [
            (EmailStr, "nobody", "must have an @-sign"),
            (EmailStr, "5", "must have an @-sign"),
            (EmailStr, ["a@b.co"], "should be a valid string"),
            (Annotated[int, Ge(1), Le(9)], "0", "greater than or equal to 1"),
            (Annotated[int, Ge(1), Le(9)], 10**4000, "less than or equal to 9"),
            (Annotated[int, Ge(1)], "9" * 1_999 + "x", "valid integer"),
            (list[int], "x", "should be a valid list"),
            (list[int], '["x"]', "0: Input should be a valid integer"),
            (list[int], "[1", "Invalid JSON"),
            (list[Any], "[" * 1_500, "Invalid JSON: recursion limit"),
            (Literal["a", "b"], "c", "should be 'a' or 'b'"),
            (Colour, "green", "should be 'red' or 'blue'"),
        ],
    )
    def test_says_what_was_expected(self, declared, value, words):
        """The reason is pydantic's, for the form in which the value was meant."""
        assert words in refusal(one(type=declared), value)

    @pytest.mark.parametrize(
        ("declared", "value"),
        [
            (Annotated[float, Le(float("inf"))], "inf"),
            (Annotated[float, Le(float("inf"))], float("inf")),
            (Annotated[float, Le(float("inf"))], float("nan")),
            (Any, float("inf")),
            (Any, float("nan")),
            (list[float], [float("nan")]),
            (list[float], "[NaN]"),
            (list[Any], [float("inf")]),
            (Annotated[int, Ge(1)], 10**5_000),
            (list[int], [10**5_000]),
            (list[Any], cyclic()),
            (list[Any], deep()),
            (list[Any], deep(100_000)),
            (bytes, b"\xff"),
            (dict[str, Any], {"a": object()}),
            (list[Any], [{1, "x", None, b"\xff"}]),
        ],
        ids=lambda value: type(value).__name__,
    )
    def test_what_json_cannot_hold(self, declared, value):
        """NaN, endless numbers and cyclic or deep objects are refused like any wrong value."""
        reason = refusal(one(type=declared), value)

        assert reason.startswith("Value ") or "Input should be" in reason

    @pytest.mark.parametrize("text", ["a\0b", "\x1b", "a\rb", "\ud800"])
    def test_control_characters_at_any_depth(self, text):
        """Control characters are refused within typed values, and within JSON, too."""
        reason = "Value must not contain control characters"

        assert reason in refusal(one(type=list[Any]), [[text]])
        assert reason in refusal(one(type=Annotated[str, Field(max_length=9)]), text)
        assert refusal(one(type=dict[str, Any]), {text: 1})
        assert refusal(one(type=list[str]), json.dumps([text]))

    def test_the_longest_value(self):
        """The limit of plain settings holds for the text of typed ones."""
        assert to_text(one(type=list[str]), ["x" * 1996]) == json.dumps(["x" * 1996])
        assert refusal(one(type=list[str]), ["x" * 1997]) == (
            "Ensure this value has at most 2000 characters (it has 2001)."
        )

    def test_code_of_the_type_may_do_anything(self):
        """An exception of the type's code is a refusal that names the expected value."""

        def break_down(value):
            raise SystemExit(value)

        def compare(self, other):
            raise RuntimeError

        odd = type("Odd", (BaseModel,), {"__eq__": compare, "__hash__": None})

        assert refusal(one(type=Annotated[str, AfterValidator(break_down)]), "x") == (
            "Value must be a string that fits the type of this setting"
        )
        assert refusal(one(type=odd), {}) == (
            "Value must be an object that fits the type of this setting"
        )

    def test_objects_that_answer_nothing(self):
        """A value that cannot be compared, shown or looked at is refused, whatever the type."""

        class Hostile:
            def __repr__(self):
                raise SystemExit

            __str__ = __eq__ = __iter__ = __len__ = __getattr__ = __repr__
            __hash__ = None
            __class__ = property(__repr__)

        for declared in (EmailStr, list[Any], Annotated[int, Ge(1)], Server, Colour, Any):
            assert refusal(one(type=declared), Hostile())

    def test_pydantic_warns_nobody(self):
        """A value that is of another kind than its type says is no matter for warnings."""
        assert to_text(one(type=Annotated[int, AfterValidator(str)]), 5) == "5"

    def test_validators_get_the_native_value(self):
        """Validators beside a type get its value, and refuse with their own message."""

        def even(value):
            if value % 2:
                raise ValueError("must be even")

        definition = one(type=Annotated[int, Ge(1)], validator=even)

        assert to_text(definition, "2") == "2"
        with pytest.raises(SettingError, match="must be even"):
            to_text(definition, "3")
        assert fault_of(definition, "3") == "must be even"
        assert "greater than or equal to 1" in fault_of(definition, "0")


class TestProtected:
    @pytest.mark.parametrize(
        ("declared", "value"),
        [
            (EmailStr, SECRET),
            (EmailStr, f"{SECRET} @example.org"),
            (Annotated[int, Ge(1)], SECRET),
            (Literal["a"], SECRET),
            (dict[str, int], {SECRET: SECRET}),
            (Server, {"host": "h", "p": SECRET, SECRET: 1}),
            (list[int], json.dumps([SECRET])),
            (Annotated[str, AfterValidator(lambda value: 1 / 0)], SECRET),
            (date, SECRET),
        ],
    )
    def test_a_refusal_shows_nothing_of_the_value(self, declared, value):
        """The reason names the expected value and quotes nothing."""
        definition = one(type=declared, protected=True)
        reason = refusal(definition, value)

        assert reason.startswith("Value must be ")
        assert reason.endswith(" that fits the type of this setting")
        text = value if isinstance(value, str) else json.dumps(value)
        assert fault_of(definition, text) == reason

    def test_the_reason_names_the_form(self):
        """The words are taken from the type: kind and format."""
        assert refusal(one(type=EmailStr, protected=True), "x") == (
            "Value must be a string of the format 'email' that fits the type of this setting"
        )

    def test_a_validator_does_not_reveal_a_part(self):
        """Words of a validator that repeat a part of a protected value are replaced."""

        def refuse(value):
            raise ValueError(f"bad password {value['password'][:5]!r}")

        definition = one(type=dict[str, str], validator=refuse, protected=True)
        assert refusal(definition, {"password": SECRET}) == "Value does not pass validation checks"

    def test_a_validator_does_not_reveal_the_value_as_python_shows_it(self):
        """The words of a validator are compared with the native value too, not the text alone."""

        def refuse(value):
            raise ValueError(f"bad: {value}")

        definition = one(type=list[str], validator=refuse, protected=True)
        assert refusal(definition, ["ab", "cd"]) == "Value does not pass validation checks"

    def test_a_secret_type_is_text_and_protected(self):
        """SecretStr and SecretBytes are plain text of a protected setting, clear in Python."""
        for declared in (SecretStr, SecretBytes):
            definition = one(type=declared, default="d")

            assert definition.protected
            assert SettingDefinition(type=declared, protected=False).protected
            assert to_text(definition, SECRET) == SECRET
            assert to_text(definition, SecretStr(SECRET)) == SECRET
            assert to_text(definition, SecretBytes(SECRET.encode())) == SECRET
            assert to_value(definition, SECRET) == SECRET
            assert default_of(definition) == "d"
        assert default_of(one(type=SecretStr, default=SecretStr("d"))) == "d"
        assert refusal(one(type=SecretStr), SecretBytes(b"\xff")).startswith(
            "Value must be a string"
        )

    def test_a_secret_is_not_put_into_an_open_setting(self):
        """Neither the secret nor its stars are stored where everyone may read them."""
        assert refusal(one(), SecretStr(SECRET)) == (
            "Value must be a string, a number or a boolean value; give it as a string"
        )


class TestFaults:
    @pytest.mark.parametrize(
        "declared",
        [Login, list[SecretStr], Secret[date], SecretStr | None, Annotated[SecretStr, MinLen(3)]],
    )
    def test_a_nested_secret_type_is_a_fault_at_load(self, declared):
        """A type whose values cannot be stored is refused with a remedy."""
        assert faults_of(type=declared) == [
            "SETTINGS['KEY']: field 'type' must not hold a secret type of pydantic's, whose value "
            "cannot be stored; use plain types, with protected=True for the whole setting"
        ]

    @pytest.mark.parametrize(
        ("declared", "words"),
        [
            (5, "Unable to generate pydantic-core schema for 5"),
            (Foreign, "Foreign"),
            (Unwritable, "0xff"),
            (Annotated[Literal["a"], PlainSerializer(lambda value: 1 / 0)], "JSON can hold"),
            (list["Nowhere"], "Nowhere"),  # noqa: F821 - that is the point
        ],
    )
    def test_a_type_that_pydantic_cannot_handle(self, declared, words):
        """The failure at load has pydantic's reason."""
        (fault,) = faults_of(type=declared)

        assert fault.startswith(
            "SETTINGS['KEY']: field 'type' must be a type that pydantic can handle: "
        )
        assert words in fault

    def test_the_name_of_a_type_is_none(self):
        """A text is not looked up anywhere."""
        assert faults_of(type="int") == ["SETTINGS['KEY']: field 'type' must be a type, not 'int'"]

    def test_a_missing_package_is_a_fault(self):
        """A type that needs a package which is not there says so when the plugin is loaded."""
        code = (
            "import sys\n"
            "sys.modules['email_validator'] = None\n"
            "from pydantic import EmailStr\n"
            "from plugreg.settings.declaration import parse_definitions\n"
            "print(parse_definitions({'MAIL': {'type': EmailStr}}, 'SETTINGS')[1][0])\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )

        assert done.stdout.startswith("SETTINGS['MAIL']: field 'type' must be a type that pydantic")
        assert "email-validator is not installed" in done.stdout

    @pytest.mark.parametrize(
        ("declared", "kind"), [(int, float), (str, int), (bool, int), (EmailStr, bool)]
    )
    def test_a_type_and_another_converter(self, declared, kind):
        """A type and a converter that differ are a fault."""
        assert faults_of(type=declared, validator=[kind, print]) == [
            f"SETTINGS['KEY']: field 'validator' must not hold {kind.__name__!r}, since field "
            "'type' states another type; leave one of them out"
        ]
        assert faults_of(type=kind, validator=[kind, print]) == []

    def test_a_default_that_does_not_fit(self):
        """The default is checked by the type, and must have a text."""
        (fault,) = faults_of(type=list[int], default=["x"])
        assert fault.startswith("SETTINGS['KEY']: field 'default' must fit its type: 0: Input")
        (fault,) = faults_of(type=list[Any], default=cyclic())
        assert "field 'default' must fit its type: Value must be one that JSON can hold" in fault
        (fault,) = faults_of(type=list[int], default=[SECRET], protected=True)
        assert SECRET not in fault

    def test_a_fault_of_a_secret_type_shows_no_value(self):
        """A setting that is protected by its type is so when its other fields are wrong."""
        (fault,) = faults_of(type=SecretStr, choices=SECRET)
        assert SECRET not in fault

    def test_a_record_says_the_same_as_a_dict(self):
        """A typed SettingDefinition without a key is taken in under the key of its dict."""
        definitions, faults = parse_definitions(
            {"mail": SettingDefinition(type=EmailStr, default="a@example.org")}, "SETTINGS"
        )

        assert faults == ()
        assert definitions["MAIL"] == SettingDefinition(
            key="MAIL", type=EmailStr, default="a@example.org"
        )
        assert "example" not in repr(definitions["MAIL"])


class TestDefaults:
    def test_comes_as_its_type(self):
        """A default is read like a value, and converted again each time."""
        numbers = [1, "2"]
        definition = one(type=list[int], default=numbers)

        assert default_of(definition) == [1, 2]
        assert default_of(definition) is not default_of(definition)
        assert default_of(one(type=Server, default={"host": "h"})) == Server(host="h")
        assert default_of(one(type=Colour, default="red")) is Colour.DARK_RED
        assert default_of(one(type=list[int], default=" ")) is None
        assert default_of(one(type=list[int])) is None

    @pytest.mark.parametrize("declared", [list[int], int, bool, Any, Literal["a"], int | str])
    def test_without_one_a_typed_setting_reads_as_none(self, declared):
        """An unset value of another type than str is None; clients get the empty string."""
        definition = one(type=declared)

        assert default_of(definition) is to_value(definition, "") is None
        assert text_of(definition, None) == ""

    @pytest.mark.parametrize("fields", [{}, {"type": str}, {"validator": int}, {"type": SecretStr}])
    def test_without_one_a_text_reads_as_an_empty_one(self, fields):
        """So does a setting that has no type, whatever its validators."""
        assert default_of(one(**fields)) == to_value(one(**fields), "") == ""

    def test_stands_in_for_what_fits_no_more(self):
        """A stored string that the type refuses reads as the default; `fault_of` has the reason."""
        definition = one(type=Annotated[int, Ge(5)], default=7)

        assert to_value(definition, "3") == 7
        assert "greater than or equal to 5" in fault_of(definition, "3")
        assert to_value(definition, "6") == 6

    def test_has_a_text(self):
        """A native value's text is the one that would be stored; nothing's is empty."""
        assert text_of(one(type=list[int]), [1, 2]) == "[1,2]"
        assert text_of(one(type=Colour), Colour.BLUE) == "blue"
        assert text_of(one(type=Server), "") == ""
        assert text_of(one(type=bool), True) == "True"


class TestChoices:
    @pytest.mark.parametrize(
        ("declared", "choices"),
        [
            (Literal["a", "b"], (("a", "a"), ("b", "b"))),
            (Literal[1, 2] | None, ((1, "1"), (2, "2"))),
            (Annotated[Literal["a"], MinLen(1)], (("a", "a"),)),
            (Colour, (("red", "Dark red"), ("blue", "Blue"))),
            (Colour | None, (("red", "Dark red"), ("blue", "Blue"))),
            (Level, ((1, "Low"), (2, "High"))),
            (Access, ()),
            (list[Colour], ()),
            (int | str, ()),
        ],
    )
    def test_of_a_type_that_lists_its_values(self, declared, choices):
        """A Literal and an Enum have choices of their own, unless the author states some."""
        definition = one(type=declared)

        assert choices_of(definition) == choices
        assert [to_text(definition, value) for value, _ in choices] == [
            choice_text(definition, value) for value, _ in choices
        ]

    def test_stated_ones_count(self):
        """Choices that are stated narrow the type, and meet its values as they are stored."""
        definition = one(type=list[int], choices=[([1, 2], "both"), ("[3]", "last"), ("x", "none")])

        assert to_text(definition, "[1, 2]") == "[1,2]"
        assert to_text(definition, [3]) == "[3]"
        assert refusal(definition, [4]) == "Chosen value is not a valid option"
        assert fault_of(definition, "[4]") == "Chosen value is not a valid option"
        assert choices_of(one(type=Colour, choices=[("red", "R")])) == (("red", "R"),)


class TestFaultOf:
    def test_of_plain_settings(self):
        """Conversion, validators and listed choices are asked of a stored text."""

        def refuse(value):
            raise ValueError("never")

        assert fault_of(one(validator=int), "x") == "Provided value is not a valid integer"
        assert fault_of(one(validator=int), "3") is None
        assert fault_of(one(validator=refuse), "x") == "never"
        assert fault_of(one(choices=[("a", "A")]), "b") == "Chosen value is not a valid option"
        assert fault_of(one(choices=[("a", "A")]), "a") is None

    def test_of_what_json_cannot_hold(self):
        """A stored text that could not be written now is a fault, though it can be read."""
        assert fault_of(one(type=Annotated[float, Le(float("inf"))]), "inf")
        assert fault_of(one(type=list[float]), "[NaN]")

    def test_callable_choices_are_not_asked(self):
        """Callable choices of now do not judge a value that was chosen earlier."""
        calls = []

        assert fault_of(one(choices=lambda: calls.append(1)), "x") is None
        assert calls == []

    def test_shows_nothing_of_a_protected_value(self):
        """The reason of a protected setting repeats no part of the stored value."""

        def refuse(value):
            raise ValueError(f"not {value[:6]}")

        definition = one(validator=refuse, protected=True)
        assert fault_of(definition, SECRET) == "Value does not pass validation checks"
