"""Access: actors, grades and scopes, for every operation cell by cell."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import pytest

from plugreg import Plugin
from plugreg.api import (
    Actor,
    APIError,
    Grade,
    InvalidError,
    NotAuthenticatedError,
    NotFoundError,
    PermissionDeniedError,
    PluginAPI,
)
from plugreg.mixins import SettingsMixin

# The lowest grade of each operation, and the scope that OAuth2 callers need.
RULES = {
    "plugins_list": ("authenticated", "g:read"),
    "plugins_install_create": ("superuser", "a:superuser"),
    "plugins_reload_create": ("superuser", "a:superuser"),
    "plugins_settings_list_all": ("staff", "a:staff"),
    "plugins_status_retrieve": ("superuser", "a:superuser"),
    "plugins_ui_features_list": ("authenticated", "g:read"),
    "plugins_destroy": ("superuser", "a:superuser"),
    "plugins_retrieve": ("authenticated", "g:read"),
    "plugins_activate_partial_update": ("superuser", "a:superuser"),
    "plugins_activate_update": ("superuser", "a:superuser"),
    "plugins_admin_retrieve": ("staff", "a:staff"),
    "plugins_metadata_retrieve": ("staff", "a:staff"),
    "plugins_metadata_partial_update": ("staff", "a:staff"),
    "plugins_metadata_update": ("staff", "a:staff"),
    "plugins_settings_list": ("authenticated", "g:read"),
    "plugins_settings_retrieve": ("authenticated", "g:read"),
    "plugins_settings_partial_update": ("staff", "a:staff"),
    "plugins_settings_update": ("staff", "a:staff"),
    "plugins_uninstall_partial_update": ("superuser", "a:superuser"),
    "plugins_uninstall_update": ("superuser", "a:superuser"),
    "plugins_user_settings_list": ("authenticated", "any"),
    "plugins_user_settings_retrieve": ("authenticated", "any"),
    "plugins_user_settings_partial_update": ("authenticated", "any"),
    "plugins_user_settings_update": ("authenticated", "any"),
}
WRITES = [row.id for row in PluginAPI.operations if row.method != "GET"]
WITH_PLUGIN = [row.id for row in PluginAPI.operations if "plugin" in row.path_parameters]

CALLERS = {
    "no actor": None,
    "no Actor": "superuser",
    "anonymous": {"is_authenticated": False},
    "anonymous with every flag": {
        "is_authenticated": False,
        "is_staff": True,
        "is_superuser": True,
    },
    "authenticated": {},
    "staff": {"is_staff": True},
    "superuser": {"is_superuser": True},
    "superuser and staff": {"is_staff": True, "is_superuser": True},
}
# Which callers have at least a grade. Superusers need not be staff.
AT_LEAST = {
    "superuser": {"superuser", "superuser and staff"},
    "staff": {"superuser", "superuser and staff", "staff"},
    "authenticated": {"superuser", "superuser and staff", "staff", "authenticated"},
}

TOKENS = {
    "no token": None,
    "no scope": set(),
    "g:read": {"g:read"},
    "a:staff": {"a:staff"},
    "a:superuser": {"a:superuser"},
    "unknown": {"r:view:admin"},
    "other case": {"A:SUPERUSER"},
    "read and unknown": {"g:read", "r:view:admin"},
    "read and staff": {"g:read", "a:staff"},
    "all": {"g:read", "a:staff", "a:superuser"},
}
# Tokens and the scopes that they include. A higher scope includes the lower.
ALLOWING = {
    "a:superuser": {"no token", "a:superuser", "all"},
    "a:staff": {"no token", "a:superuser", "all", "a:staff", "read and staff"},
    "g:read": {
        "no token",
        "a:superuser",
        "all",
        "a:staff",
        "read and staff",
        "g:read",
        "read and unknown",
    },
    "any": set(TOKENS) - {"no scope"},
}


class Tea(SettingsMixin, Plugin):
    NAME = "Tea"
    SLUG = "tea"
    SETTINGS = {"SUGAR": {"default": "1"}}
    USER_SETTINGS = {"SUGAR": {"default": "1"}}


@pytest.fixture
def api(make):
    return PluginAPI(make(Tea))


def actor_of(caller, token="no token"):
    flags = CALLERS[caller]
    if not isinstance(flags, dict):
        return flags
    return Actor(7, scopes=TOKENS[token], **flags)


def parameters_of(operation, **given):
    """Return the parameters of the path; the plugin is one that there is not, unless given."""
    row = getattr(PluginAPI, operation)
    every = {"plugin": "nobody", "key": "SUGAR", "feature": "panel", **given}
    return {name: every[name] for name in row.path_parameters}


def outcome(api, operation, actor, body=None, **given):
    """Carry an operation out and return the status of its exception, or "passed"."""
    try:
        getattr(api, operation)(actor, body=body, **parameters_of(operation, **given))
    except APIError as error:
        return error.status
    return "passed"


SUPERUSER = Actor(7, is_superuser=True)


class TestTable:
    def test_each_operation_has_a_rule(self):
        """No operation is left out of the table below."""
        assert set(RULES) == {row.id for row in PluginAPI.operations}
        assert len(RULES) == 24

    @pytest.mark.parametrize("caller", CALLERS)
    @pytest.mark.parametrize("operation", RULES)
    def test_cell(self, api, operation, caller):
        """Nobody gets 401, a low grade or scope 403, and everyone else gets further."""
        grade, scope = RULES[operation]
        expected = {}
        for token in TOKENS:
            if caller not in AT_LEAST["authenticated"]:
                expected[token] = 401
            elif caller in AT_LEAST[grade] and token in ALLOWING[scope]:
                expected[token] = "further"
            else:
                expected[token] = 403

        found = {token: outcome(api, operation, actor_of(caller, token)) for token in TOKENS}

        assert {
            token: item if item in (401, 403) else "further" for token, item in found.items()
        } == expected

    @pytest.mark.parametrize("operation", RULES)
    def test_who_is_refused_changes_nothing(self, api, operation):
        """A refused call leaves desired state, settings, metadata and registry as they were."""
        registry = api.service.registry
        body = {"active": False, "value": "9", "metadata": {"a": 1}, "confirm": True, "url": "x"}
        before = registry.get("tea")
        for actor in (None, Actor.anonymous(), Actor(7, is_superuser=True, scopes=set())):
            assert outcome(api, operation, actor, body, plugin="tea") in (401, 403)

        assert registry.get("tea").plugin is before.plugin
        assert registry.get("tea").wanted
        assert registry.settings("tea")["SUGAR"] == "1"
        assert registry.user_settings("tea", 7)["SUGAR"] == "1"
        assert registry.metadata("tea") == {}


class TestOrderOfRefusals:
    @pytest.mark.parametrize("operation", WITH_PLUGIN)
    def test_permission_before_object(self, api, operation):
        """Who may not learns nothing of which plugins there are; who may sees it in the answer."""
        if RULES[operation][0] != "authenticated":
            assert outcome(api, operation, Actor(7)) == 403
        assert outcome(api, operation, Actor(7, scopes=set())) == 403
        assert outcome(api, operation, None) == 401
        assert outcome(api, operation, SUPERUSER) == 404

    @pytest.mark.parametrize("operation", WRITES)
    def test_permission_before_body(self, api, operation):
        """The body of somebody who may not is not even looked at."""

        class Body(Mapping):
            def __getitem__(self, key):
                raise AssertionError("looked at")

            __iter__ = __len__ = __contains__ = __getitem__

        for actor, status in ((None, 401), (Actor(7, is_superuser=True, scopes=set()), 403)):
            assert outcome(api, operation, actor, Body(), plugin="tea") == status

    @pytest.mark.parametrize("operation", [write for write in WRITES if write in WITH_PLUGIN])
    def test_object_before_body(self, api, operation):
        """A wrong body for a plugin that is not there is 404; for one that is there, 400."""
        wrong = ["no", "object"]

        assert outcome(api, operation, SUPERUSER, wrong) == 404
        if getattr(PluginAPI, operation).body is not None:
            assert outcome(api, operation, SUPERUSER, wrong, plugin="tea") == 400

    def test_permission_before_parameters(self, api):
        """A wrong parameter of nobody's is no error of the parameter."""
        with pytest.raises(NotAuthenticatedError):
            api.plugins_list(None, limit="many")
        with pytest.raises(PermissionDeniedError):
            api.plugins_settings_list_all(Actor(7), limit="many")
        with pytest.raises(InvalidError):
            api.plugins_list(Actor(7), limit="many")

    def test_key_before_body(self, api):
        """A setting that is not declared is 404, whatever is to be written."""
        with pytest.raises(NotFoundError):
            api.plugins_settings_update(SUPERUSER, plugin="tea", key="MILK", body=[])


class TestUsers:
    def test_each_has_settings_of_their_own(self, api):
        """A value that one user sets is not seen by another."""
        api.plugins_user_settings_update(Actor(7), plugin="tea", key="SUGAR", body={"value": "3"})

        def value(user):
            found = api.plugins_user_settings_retrieve(Actor(user), plugin="tea", key="SUGAR")
            return found.value

        assert (value(7), value(8)) == ("3", "1")

    @pytest.mark.parametrize("operation", [rule for rule in RULES if "user_settings" in rule])
    def test_a_service_has_none(self, api, operation):
        """An actor that is no user may read plugins, and has no settings of its own."""
        service = Actor(None, is_superuser=True)

        assert outcome(api, operation, service, plugin="tea") == 403
        assert outcome(api, "plugins_retrieve", service, plugin="tea") == "passed"


class TestWhatIsNoActor:
    class Sub(Actor):
        grade = Grade.SUPERUSER

    class Like:
        id = 7
        is_authenticated = is_staff = is_superuser = True
        scopes = None
        grade = Grade.SUPERUSER

    @pytest.mark.parametrize(
        "actor", [Sub(7), Like(), "root", 7, True, {"is_superuser": True}, Actor, object()]
    )
    def test_it_is_nobody(self, api, actor):
        """Only an Actor that the host has made is somebody, be it as true as it may."""
        assert {outcome(api, operation, actor) for operation in RULES} == {401}

    def test_no_argument_is_nobody(self, api):
        """Who forgets the actor is refused."""
        with pytest.raises(NotAuthenticatedError):
            api.plugins_list()


class TestActor:
    @pytest.mark.parametrize("given", ["7", 7.0, True, b"7", object()])
    def test_id_is_a_number(self, given):
        """An id of another type would find nobody's settings, or somebody else's."""
        with pytest.raises(TypeError, match=r"Actor\.id must be a whole number or None"):
            Actor(given)

    @pytest.mark.parametrize("name", ["is_authenticated", "is_staff", "is_superuser"])
    @pytest.mark.parametrize("value", ["False", "", 0, 1, None, []])
    def test_flags_are_booleans(self, name, value):
        """A flag of another type is refused, for a text "False" would count as true."""
        with pytest.raises(TypeError, match=rf"Actor\.{name} must be True or False"):
            Actor(7, **{name: value})

    @pytest.mark.parametrize("scopes", ["g:read", b"g:read", 5, True])
    def test_scopes_are_a_set(self, scopes):
        """One text would count as its letters."""
        with pytest.raises(TypeError, match=r"Actor\.scopes must be a set of strings or None"):
            Actor(7, scopes=scopes)

    @pytest.mark.parametrize("scopes", [[1], {None}, ["g:read", b"a:staff"]])
    def test_scopes_are_texts(self, scopes):
        """A scope that is no text can never allow anything, so it is a mistake."""
        with pytest.raises(TypeError, match=r"Actor\.scopes must hold strings only"):
            Actor(7, scopes=scopes)

    def test_a_fault_whose_repr_fails(self):
        """A host's odd object is in the message, even if it cannot be shown."""

        class Odd:
            def __repr__(self):
                raise OSError("no")

        with pytest.raises(TypeError, match="Odd object, whose repr fails"):
            Actor(Odd())

    @pytest.mark.parametrize("kind", [list, tuple, set, frozenset, iter, dict.fromkeys])
    def test_scopes_may_come_in_any_collection(self, kind):
        """A later change of the argument changes nothing: the actor has a set of its own."""
        assert Actor(7, scopes=kind(["g:read", "a:staff"])).scopes == {"g:read", "a:staff"}

    def test_it_is_a_value(self):
        """Actors are equal by their fields, can be keys, and cannot be raised in grade."""
        actor = Actor(7, scopes=["g:read"])

        assert actor == Actor(7, scopes={"g:read"})
        assert hash(actor) == hash(Actor(7, scopes={"g:read"}))
        with pytest.raises(dataclasses.FrozenInstanceError):
            actor.is_superuser = True

    @pytest.mark.parametrize(
        ("actor", "grade"),
        [
            (Actor.anonymous(), Grade.ANONYMOUS),
            (Actor(7, False, True, True), Grade.ANONYMOUS),
            (Actor(7), Grade.AUTHENTICATED),
            (Actor(None), Grade.AUTHENTICATED),
            (Actor(7, is_staff=True), Grade.STAFF),
            (Actor(7, is_superuser=True), Grade.SUPERUSER),
            (Actor(7, is_staff=True, is_superuser=True), Grade.SUPERUSER),
        ],
    )
    def test_grade(self, actor, grade):
        """The highest flag counts, and none of them without authentication."""
        assert actor.grade is grade

    def test_anonymous_is_no_user(self):
        """Nobody has no id, and no token."""
        assert Actor.anonymous() == Actor(None, is_authenticated=False)
