"""Reading bodies: booleans, strings and values, missing fields, and faults."""

from __future__ import annotations

import json
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugreg import Plugin, PluginRegistry
from plugreg.api import Actor, APIError, InvalidError, PluginAPI
from plugreg.api.models import (
    Metadata,
    PaginatedPluginConfigList,
    PluginActivate,
    PluginConfigInstall,
    PluginReload,
    PluginSetting,
    PluginUIFeature,
)
from plugreg.api.operations import OperationCall
from plugreg.mixins import SettingsMixin
from plugreg.storage.base import MAX_DEPTH

SUPERUSER = Actor(7, is_superuser=True)
NOT_A_BOOLEAN = "Must be a valid boolean."
NOT_A_STRING = "Not a valid string."
NULL = "This field may not be null."
REQUIRED = "This field is required."
HUGE = 10**5_000
"""An integer that JSON may hold, and that Python refuses to write out."""

WITH_BODY = [row.id for row in PluginAPI.operations if row.body is not None]


class Tea(SettingsMixin, Plugin):
    NAME = "Tea"
    SLUG = "tea"
    SETTINGS = {"SUGAR": {"default": "1"}}
    USER_SETTINGS = {"SUGAR": {"default": "1"}}


@pytest.fixture(scope="module")
def api():
    registry = PluginRegistry("shop", builtin=[Tea], new_plugins="active")
    registry.load()
    with registry:
        yield PluginAPI(registry)


def read(api, operation, body, *, form=False):
    """Return the fields that a handler of this operation is given."""
    row = getattr(PluginAPI, operation)
    call = OperationCall(
        service=api.service,
        operation=row,
        actor=SUPERUSER,
        parameters={},
        query={},
        body=lambda: body,
        form=form,
    )
    return dict(call.fields())


def faults(api, operation, body, *, form=False):
    """Return the faults of a body, by field; the call must be refused for them."""
    with pytest.raises(InvalidError) as refused:
        read(api, operation, body, form=form)
    return refused.value.errors


class TestBooleans:
    @pytest.mark.parametrize("form", [False, True])
    @pytest.mark.parametrize("word", ["true", "t", "yes", "y", "on", "1"])
    def test_words_for_true(self, api, word, form):
        """The words of clients are read in any case, in JSON and in forms."""
        for item in (word, word.upper(), word.title()):
            body = {"active": item}
            assert read(api, "plugins_activate_update", body, form=form) == {"active": True}

    @pytest.mark.parametrize("form", [False, True])
    @pytest.mark.parametrize("word", ["false", "f", "no", "n", "off", "0"])
    def test_words_for_false(self, api, word, form):
        """No word for false counts as true because it is a text."""
        for item in (word, word.upper(), word.title()):
            body = {"active": item}
            assert read(api, "plugins_activate_update", body, form=form) == {"active": False}

    @pytest.mark.parametrize(
        ("given", "value"), [(True, True), (1, True), (False, False), (0, False)]
    )
    def test_json(self, api, given, value):
        """JSON's own booleans, and the numbers 1 and 0."""
        found = read(api, "plugins_activate_update", {"active": given})

        assert found == {"active": value}
        assert found["active"] is value

    @pytest.mark.parametrize(
        "given",
        ["", " ", "maybe", "2", "truetrue", "ye s", 2, -1, 0.5, float("nan"), float("inf"), [],
         [True], {}, {"a": True}, "\x00", "\ud800", object(),
         pytest.param(HUGE, id="huge")],
    )  # fmt: skip
    def test_everything_else_is_refused(self, api, given):
        """A value that is neither true nor false does not become one of them."""
        found = faults(api, "plugins_activate_update", {"active": given})

        assert found == {"active": [NOT_A_BOOLEAN]}

    def test_null(self, api):
        """Null has a sentence of its own: it is not the same as leaving the field out."""
        assert faults(api, "plugins_activate_update", {"active": None}) == {"active": [NULL]}


class TestTexts:
    def install(self, api, name):
        return read(api, "plugins_install_create", {"confirm": True, "packagename": name})

    @pytest.mark.parametrize(
        "text", ["", "tea", " tea ", "a\tb\nc", "a\r\nb", "<b>tea</b>", "Grüner Tee ☕"]
    )
    def test_texts_are_not_altered(self, api, text):
        """Blanks, lines and tags stay as they came."""
        assert self.install(api, text)["packagename"] == text

    @pytest.mark.parametrize(
        ("number", "text"), [(1, "1"), (-7, "-7"), (1.5, "1.5"), (10**30, "1" + "0" * 30)]
    )
    def test_numbers_are_texts(self, api, number, text):
        """A version such as 1.5 may be sent as the number it looks like, as a form would."""
        assert self.install(api, number)["packagename"] == text

    @pytest.mark.parametrize(
        "given", [True, False, [], ["tea"], {}, b"tea", float("nan"), float("-inf"), object()]
    )
    def test_everything_else_is_refused(self, api, given):
        """A value that is neither a string nor a number has no obvious string."""
        body = {"confirm": True, "packagename": given}

        assert faults(api, "plugins_install_create", body) == {"packagename": [NOT_A_STRING]}

    @pytest.mark.parametrize("text", ["te\x00a", "\x00", "te\x1ba", "te\ud800a", "te\ra"])
    def test_control_characters_are_refused(self, api, text):
        """NUL and the like would end, or colour, strings that are written elsewhere."""
        found = faults(api, "plugins_install_create", {"confirm": True, "packagename": text})

        assert list(found) == ["packagename"]
        assert "control characters" in found["packagename"][0]

    def test_null_and_what_is_too_long(self, api):
        """Each has a sentence of its own."""
        found = faults(
            api, "plugins_install_create", {"confirm": True, "packagename": None, "url": HUGE}
        )

        assert found == {
            "packagename": [NULL],
            "url": ["Ensure this value has at most 2000 characters."],
        }


@pytest.mark.parametrize("operation", ["plugins_settings_update", "plugins_user_settings_update"])
class TestValuesOfSettings:
    @pytest.mark.parametrize(
        ("given", "value"),
        [
            (None, None),
            ("", ""),
            (" a\nb ", " a\nb "),
            ("***", "***"),
            (True, "True"),
            (False, "False"),
            (0, "0"),
            (-42, "-42"),
            (1.5, "1.5"),
            pytest.param(10**400, "1" + "0" * 400, id="long"),
        ],
    )
    def test_they_become_text(self, api, operation, given, value):
        """A value is text on the wire; native booleans and numbers have one."""
        assert read(api, operation, {"value": given}) == {"value": value}

    @pytest.mark.parametrize(
        "given", [[], [1], {}, {"$env": "HOME"}, float("nan"), float("inf"), b"x", object()]
    )
    def test_what_has_no_text_is_refused(self, api, operation, given):
        """No list, object or NaN becomes a setting; neither does a reference to a variable."""
        assert faults(api, operation, {"value": given}) == {"value": [NOT_A_STRING]}

    def test_an_integer_beyond_writing_is_refused(self, api, operation):
        """An integer of thousands of digits is too long, and no unforeseen error."""
        found = faults(api, operation, {"value": HUGE})

        assert found == {"value": ["Ensure this value has at most 2000 characters."]}

    @pytest.mark.parametrize("given", ["\ud800", "a\udcffb"])
    def test_lone_surrogates_are_refused(self, api, operation, given):
        """Text that no store can write is refused under its field, and is not stored."""
        change, where = getattr(api, operation), {"plugin": "tea", "key": "SUGAR"}
        with pytest.raises(InvalidError) as refused:
            change.run(SUPERUSER, where, lambda: {"value": given})

        assert list(refused.value.errors) == ["value"]
        assert api.service.registry.settings("tea")["SUGAR"] == "1"
        assert api.service.registry.user_settings("tea", 7)["SUGAR"] == "1"


class TestFields:
    @pytest.mark.parametrize("body", [None, {}, MappingProxyType({})])
    def test_defaults(self, api, body):
        """An empty body is fine where nothing is required; a field with a default has it."""
        assert read(api, "plugins_activate_partial_update", body) == {"active": True}
        assert read(api, "plugins_uninstall_update", body) == {"delete_config": True}
        assert read(api, "plugins_reload_create", body) == {
            "full_reload": False,
            "force_reload": False,
            "collect_plugins": False,
        }

    @pytest.mark.parametrize(
        "operation",
        [
            "plugins_settings_partial_update",
            "plugins_user_settings_partial_update",
            "plugins_metadata_partial_update",
        ],
    )
    def test_what_a_change_leaves_out_is_not_there(self, api, operation):
        """A handler sees whether a field was left out or is null."""
        assert read(api, operation, {}) == {}

    @pytest.mark.parametrize(
        ("operation", "field"),
        [
            ("plugins_install_create", "confirm"),
            ("plugins_settings_update", "value"),
            ("plugins_user_settings_update", "value"),
            ("plugins_metadata_update", "metadata"),
        ],
    )
    @pytest.mark.parametrize("body", [None, {}, {"other": 1}])
    def test_required(self, api, operation, field, body):
        """A missing required field is named."""
        assert faults(api, operation, body) == {field: [REQUIRED]}

    def test_unknown_and_read_only_fields_are_ignored(self, api):
        """A client may send an answer back; only writable fields count."""
        every = {name: ["wrong"] for name in PluginSetting.model_fields}
        body = {**every, "value": "5", "other": object(), "user": -1, 3: 4}

        assert read(api, "plugins_settings_update", body) == {"value": "5"}
        assert read(api, "plugins_user_settings_partial_update", body) == {"value": "5"}

    def test_pk_does_not_lead_elsewhere(self, api):
        """The plugin in the path is meant, whatever number is in the body."""
        body = {"active": False, "pk": 1}

        assert read(api, "plugins_activate_update", body) == {"active": False}

    def test_metadata_is_handed_on_as_it_is(self, api):
        """The handler judges it: no copy is made, and nothing is converted."""
        data = {"a": [1, None, {"b": float("inf")}]}
        data["self"] = data

        assert read(api, "plugins_metadata_update", {"metadata": data})["metadata"] is data
        assert read(api, "plugins_metadata_partial_update", {"metadata": None}) == {
            "metadata": None
        }

    @pytest.mark.parametrize("operation", WITH_BODY)
    @pytest.mark.parametrize(
        ("body", "kind"),
        [
            ([], "list"),
            ("text", "str"),
            (5, "int"),
            (True, "bool"),
            (1.5, "float"),
            (b"{}", "bytes"),
        ],
    )
    def test_a_body_that_is_no_object(self, api, operation, body, kind):
        """The request as a whole is refused, and the type of the body is named."""
        sentence = f"Invalid data. Expected a dictionary, but got {kind}."

        assert faults(api, operation, body) == {"non_field_errors": [sentence]}

    def test_every_fault_is_answered_at_once(self, api):
        """A client need not ask once for each of its mistakes."""
        body = {"confirm": "maybe", "packagename": [], "url": None, "version": "\x00"}
        found = faults(api, "plugins_install_create", body)

        assert found.pop("version")
        assert found == {"confirm": [NOT_A_BOOLEAN], "packagename": [NOT_A_STRING], "url": [NULL]}

    def test_missing_and_wrong_together(self, api):
        """Missing fields are named beside wrong ones."""
        found = faults(api, "plugins_install_create", {"url": []})

        assert found == {"confirm": [REQUIRED], "url": [NOT_A_STRING]}


class TestForms:
    def test_a_box_that_was_not_ticked_is_false(self, api):
        """Of a required boolean a form sends nothing when it is off; JSON must say so."""
        assert read(api, "plugins_install_create", {"url": "x"}, form=True) == {
            "confirm": False,
            "url": "x",
        }
        assert faults(api, "plugins_install_create", {"url": "x"}) == {"confirm": [REQUIRED]}

    def test_a_ticked_box_is_true(self, api):
        """A browser's value of a checkbox is read as true."""
        assert read(api, "plugins_install_create", {"confirm": "on"}, form=True) == {
            "confirm": True
        }

    def test_a_boolean_with_a_default_has_it(self, api):
        """An empty form means the same as an empty JSON body."""
        assert read(api, "plugins_activate_update", {}, form=True) == {"active": True}
        assert read(api, "plugins_uninstall_partial_update", None, form=True) == {
            "delete_config": True
        }

    def test_nothing_else_is_made_up(self, api):
        """Only boxes are left out by forms; a text that must be given must be given."""
        assert faults(api, "plugins_settings_update", {}, form=True) == {"value": [REQUIRED]}


class TestModelsAsBodies:
    def test_a_model_is_read_as_its_fields(self, api):
        """In Python the body may be the model."""
        body = PluginConfigInstall(packagename="tea", confirm=True)

        assert read(api, "plugins_install_create", body) == {"packagename": "tea", "confirm": True}

    def test_what_was_not_given_is_left_out(self, api):
        """A model's defaults are those of the operation."""
        assert read(api, "plugins_reload_create", PluginReload(force_reload=True)) == {
            "full_reload": False,
            "force_reload": True,
            "collect_plugins": False,
        }

    def test_an_answer_can_be_sent_back(self, api):
        """An answer can be written back: the fields that are read-only do not count."""
        answer = api.plugins_metadata_retrieve(SUPERUSER, plugin="tea")

        assert api.plugins_metadata_update(SUPERUSER, plugin="tea", body=answer) == answer

    def test_a_model_of_another_operation_lacks_fields(self, api):
        """Its fields are looked at, not its class."""
        found = faults(api, "plugins_install_create", PluginActivate(active=True))

        assert found == {"confirm": [REQUIRED]}

    def test_a_model_that_was_never_validated(self, api):
        """Fields of a model are judged as those of a mapping are."""
        body = PluginActivate.model_construct(active="maybe")

        assert faults(api, "plugins_activate_update", body) == {"active": [NOT_A_BOOLEAN]}

    def test_a_model_of_cyclic_data_is_refused(self, api):
        """A value that JSON cannot hold is refused under its field, in a model as in a mapping."""
        data = {}
        data["self"] = data
        for body in (Metadata(metadata=data), {"metadata": data}):
            with pytest.raises(InvalidError) as refused:
                api.plugins_metadata_update(SUPERUSER, plugin="tea", body=body)
            assert list(refused.value.errors) == ["metadata"]

    @pytest.mark.parametrize(
        "data",
        [{"a": HUGE}, {"a": [float("nan")]}, {"a": "\ud800"}, {"a": {1}}],
        ids=["huge", "nan", "surrogate", "set"],
    )
    def test_metadata_that_no_client_could_read(self, api, data):
        """A value that cannot be sent is not stored, from whichever kind of body."""
        for body in (Metadata(metadata=data), {"metadata": data}):
            with pytest.raises(InvalidError) as refused:
                api.plugins_metadata_update(SUPERUSER, plugin="tea", body=body)
            assert list(refused.value.errors) == ["metadata"]

    def test_metadata_are_refused_where_the_store_would_refuse_them(self, api):
        """However deep they are, they are stored, or refused as too deep."""
        stored = []
        data = {}
        for levels in range(1, MAX_DEPTH + 3):
            try:
                api.plugins_metadata_update(SUPERUSER, plugin="tea", body={"metadata": data})
                stored.append(levels)
            except InvalidError as error:
                assert f"at most {MAX_DEPTH - 1} levels" in error.errors["metadata"][0]
            data = {"a": data}

        assert stored == list(range(1, MAX_DEPTH))


class TestAnswers:
    def test_what_was_not_given_is_left_out(self):
        """A feature has the texts that its plugin gave, and no others."""
        feature = PluginUIFeature(plugin_name="tea", feature_type="panel", key="a", title="")

        assert feature.to_json() == {
            "plugin_name": "tea",
            "feature_type": "panel",
            "key": "a",
            "title": "",
        }

    def test_pages(self):
        """A link is numbers in Python, and may be an address for those who make one."""
        page = PaginatedPluginConfigList(count=0, next=(10, 20), previous=None, results=[])

        assert page.next == (10, 20)
        changed = page.model_copy(update={"next": "http://x.test/?limit=10&offset=20"})
        assert changed.to_json() == {
            "count": 0,
            "next": "http://x.test/?limit=10&offset=20",
            "previous": None,
            "results": [],
        }


leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(st.characters(exclude_categories=())),
    st.sampled_from(["true", "no", "1", "***", "\x00"]),
)
anything = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)
names = sorted({name for row in PluginAPI.operations if row.body for name in row.body.model_fields})
bodies = st.one_of(
    st.dictionaries(st.one_of(st.sampled_from(names), st.text(max_size=3)), anything, max_size=6),
    anything,
)


class TestAnythingAtAll:
    @given(operation=st.sampled_from(WITH_BODY), body=bodies, form=st.booleans())
    def test_a_body_is_read_or_refused(self, api, operation, body, form):
        """Whatever JSON may hold, its fields are read, or InvalidError names the fault."""
        allowed = getattr(PluginAPI, operation).input.model_fields
        try:
            found = read(api, operation, body, form=form)
        except InvalidError as error:
            assert error.errors
            assert set(error.errors) <= {*allowed, "non_field_errors"}
            assert all(sentences and all(sentences) for sentences in error.errors.values())
            json.dumps(error.body, ensure_ascii=False).encode()
        else:
            assert set(found) <= set(allowed)

    @given(body=bodies, form=st.booleans(), partial=st.booleans())
    def test_metadata_are_stored_or_refused(self, api, body, form, partial):
        """An accepted value is answered again and can be sent; a refused value changed nothing."""
        method = "plugins_metadata_partial_update" if partial else "plugins_metadata_update"
        before = api.plugins_metadata_retrieve(SUPERUSER, plugin="tea")
        try:
            answer = getattr(api, method).run(SUPERUSER, {"plugin": "tea"}, lambda: body, form=form)
        except APIError as error:
            assert error.status == 400
            assert api.plugins_metadata_retrieve(SUPERUSER, plugin="tea") == before
        else:
            assert json.loads(json.dumps(answer.to_json(), allow_nan=False)) == answer.to_json()
            assert api.plugins_metadata_retrieve(SUPERUSER, plugin="tea") == answer
