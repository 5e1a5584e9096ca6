"""The refusals of the plugin API: their answers, and the fields that a program can read."""

from __future__ import annotations

import copy
import inspect
import json
import pickle

import pytest

from plugreg.api import (
    APIError,
    ConflictError,
    CrossSiteError,
    InvalidError,
    LengthRequiredError,
    MethodNotAllowedError,
    NotAuthenticatedError,
    NotFoundError,
    PermissionDeniedError,
    TooLargeError,
    UnavailableError,
    UnsupportedMediaTypeError,
    errors,
)
from plugreg.exceptions import PlugregError

# Each error with its status, its code, its body, and its text.
ERRORS = [
    (APIError({"detail": ["No"]}), 500, "error", {"detail": "No"}, "500 error: detail: No"),
    (
        InvalidError({"limit": ["Too low.", "Too odd."], "offset": ["Not a number."]}),
        400,
        "invalid",
        {"limit": ["Too low.", "Too odd."], "offset": ["Not a number."]},
        "400 invalid: limit: Too low.; limit: Too odd.; offset: Not a number.",
    ),
    (
        InvalidError({"non_field_errors": ["Plugin installation is disabled"]}),
        400,
        "invalid",
        {"non_field_errors": ["Plugin installation is disabled"]},
        "400 invalid: non_field_errors: Plugin installation is disabled",
    ),
    (
        InvalidError({"detail": ["Plugin cannot be deleted as it is currently active"]}),
        400,
        "invalid",
        {"detail": "Plugin cannot be deleted as it is currently active"},
        "400 invalid: detail: Plugin cannot be deleted as it is currently active",
    ),
    (
        NotAuthenticatedError(),
        401,
        "not_authenticated",
        {"detail": "Authentication credentials were not provided."},
        "401 not_authenticated: detail: Authentication credentials were not provided.",
    ),
    (
        PermissionDeniedError(),
        403,
        "permission_denied",
        {"detail": "You do not have permission to perform this action."},
        "403 permission_denied: detail: You do not have permission to perform this action.",
    ),
    (
        NotFoundError(),
        404,
        "not_found",
        {"detail": "Not found."},
        "404 not_found: detail: Not found.",
    ),
    (
        NotFoundError("Plugin 'tea' not found"),
        404,
        "not_found",
        {"detail": "Plugin 'tea' not found"},
        "404 not_found: detail: Plugin 'tea' not found",
    ),
    (
        MethodNotAllowedError("POST", iter(["GET", "HEAD"])),
        405,
        "method_not_allowed",
        {"detail": 'Method "POST" not allowed.'},
        '405 method_not_allowed: detail: Method "POST" not allowed.',
    ),
    (
        ConflictError("Plugin registry is currently loading"),
        409,
        "conflict",
        {"detail": "Plugin registry is currently loading"},
        "409 conflict: detail: Plugin registry is currently loading",
    ),
    (
        CrossSiteError("https://other.example"),
        403,
        "cross_site",
        {"detail": "Changes from pages of 'https://other.example' are not trusted here."},
        "403 cross_site: detail: "
        "Changes from pages of 'https://other.example' are not trusted here.",
    ),
    (
        CrossSiteError(""),
        403,
        "cross_site",
        {"detail": "Changes from pages of another site are not trusted here."},
        "403 cross_site: detail: Changes from pages of another site are not trusted here.",
    ),
    (
        LengthRequiredError(),
        411,
        "length_required",
        {"detail": "The body must be sent with its length, not in chunks."},
        "411 length_required: detail: The body must be sent with its length, not in chunks.",
    ),
    (
        TooLargeError(),
        413,
        "too_large",
        {"detail": "The body is too large."},
        "413 too_large: detail: The body is too large.",
    ),
    (
        UnsupportedMediaTypeError("text/csv"),
        415,
        "unsupported_media_type",
        {"detail": 'Unsupported media type "text/csv" in request.'},
        '415 unsupported_media_type: detail: Unsupported media type "text/csv" in request.',
    ),
    (
        UnavailableError("Plugin registry is not loaded"),
        503,
        "unavailable",
        {"detail": "Plugin registry is not loaded"},
        "503 unavailable: detail: Plugin registry is not loaded",
    ),
]
NAMES = [f"{status}-{text}" for _, status, _, _, text in ERRORS]


@pytest.mark.parametrize(("error", "status", "code", "body", "text"), ERRORS, ids=NAMES)
def test_what_is_answered(error, status, code, body, text):
    """Status, code and body are those that clients match; the message has all of it."""
    assert (error.status, error.code) == (status, code)
    assert error.body == body
    assert json.loads(json.dumps(error.body)) == body
    assert str(error) == text


@pytest.mark.parametrize("error", [error for error, *_ in ERRORS], ids=NAMES)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_survives_pickling(error, protocol):
    """An error that went to another process is the same error."""
    again = pickle.loads(pickle.dumps(error, protocol))

    assert type(again) is type(error)
    assert vars(again) == vars(error)
    assert again.body == error.body
    assert str(again) == str(error)


@pytest.mark.parametrize("error", [error for error, *_ in ERRORS], ids=NAMES)
def test_survives_copying(error):
    """A copy says the same."""
    assert str(copy.deepcopy(error)) == str(error)


@pytest.mark.parametrize("error", [error for error, *_ in ERRORS], ids=NAMES)
def test_is_made_from_its_arguments(error):
    """``args`` are the arguments of the class, and not something made of them."""
    assert vars(type(error)(*error.args)) == vars(error)


def test_every_error_is_in_the_table():
    """No error is left untested, and all are caught as APIError and as plugreg's own."""
    defined = {
        kind
        for _, kind in inspect.getmembers(errors, inspect.isclass)
        if kind.__module__ == errors.__name__
    }

    assert defined == {type(error) for error, *_ in ERRORS}
    assert all(issubclass(kind, APIError) for kind in defined)
    assert issubclass(APIError, PlugregError)


def test_errors_are_sentences_by_field():
    """For programs there is one form of all errors, whatever the body looks like."""
    assert NotFoundError("No tea").errors == {"detail": ["No tea"]}
    assert InvalidError({"limit": iter(["No"])}).errors == {"limit": ["No"]}


def test_details_in_the_plural_are_one_text():
    """``detail`` is a text in every body."""
    assert InvalidError({"detail": ["One.", "Two."]}).body == {"detail": "One. Two."}


def test_detail_beside_a_field_stays_a_list():
    """A body that has fields is a body of fields throughout."""
    both = {"detail": ["One."], "limit": ["Two."]}

    assert InvalidError(both).body == both


def test_allowed_methods_are_kept():
    """Who answers over HTTP must name them."""
    assert MethodNotAllowedError("POST", iter(["GET", "HEAD"])).allowed == ("GET", "HEAD")


@pytest.mark.parametrize(
    "kind", [UnsupportedMediaTypeError, lambda x: MethodNotAllowedError(x, ())]
)
def test_what_a_client_sent_is_repeated_in_part(kind):
    """A client's text of any length and of any characters gives a short body that can be sent."""
    error = kind("\ud800" + "x" * 10_000)

    assert len(error.body["detail"]) < 400
    error.body["detail"].encode()


def test_a_name_that_cannot_be_written_out():
    """In Python a name may be any object; it is shown as well as it can be."""
    assert errors.shorten_name(10**5_000) == "<int object, whose repr fails>"


def test_sentences_have_a_utf8_form():
    """Lone surrogates in a sentence do not make the answer fail."""
    json.dumps(InvalidError({"value": ["\udcff"]}).body, ensure_ascii=False).encode()
