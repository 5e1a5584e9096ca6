"""The error tree: every error keeps its fields, has subject and remedy, and can be pickled."""

from __future__ import annotations

import copy
import inspect
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import plugreg
from plugreg import exceptions
from plugreg.exceptions import (
    AssetNotFoundError,
    CircuitOpenError,
    CommitUnknownError,
    EncryptionError,
    FormattedError,
    InstallError,
    IsolationError,
    MissingExtraError,
    NotReadyYet,
    PluginActiveError,
    PluginBlockedError,
    PluginBusyError,
    PluginDiedError,
    PluginFaultError,
    PluginMandatoryError,
    PluginNotActiveError,
    PluginNotBoundError,
    PluginNotFoundError,
    PluginRaisedError,
    PluginRequiredError,
    PluginSlugError,
    PluginTimeoutError,
    PlugregError,
    RecordCorruptError,
    RegistryBusyError,
    RegistryNotReady,
    RequirementError,
    SettingError,
    StorageCorruptError,
    StorageError,
    StorageFormatError,
    StorageLockedError,
    StorageUnavailableError,
    StorageURLError,
    UnknownHookError,
    ValueNotSentError,
)

# Each error with its fields, and the required parts of its message beside the subject.
ERRORS = [
    (PlugregError("text"), {}, ["text"]),
    (PluginNotFoundError("tea"), {"slug": "tea", "hint": ""}, ["'tea'", "registry.plugins"]),
    (
        PluginNotFoundError("tee", "; did you mean 'tea'?"),
        {"slug": "tee", "hint": "; did you mean 'tea'?"},
        ["'tee'", "did you mean 'tea'?"],
    ),
    (
        PluginNotActiveError("tea", "failed"),
        {"slug": "tea", "state": "failed"},
        ["'tea'", "failed", "activate it"],
    ),
    (
        PluginBlockedError("tea", "is blocked by the host"),
        {"slug": "tea", "reason": "is blocked by the host"},
        ["'tea' is blocked by the host", "blocked=", "allowed="],
    ),
    (PluginBusyError("tea"), {"slug": "tea"}, ["'tea'", "abandoned", "again as soon as"]),
    (
        PluginTimeoutError("tea", 0.5),
        {"slug": "tea", "seconds": 0.5},
        ["'tea'", "0.5 seconds", "call_timeout="],
    ),
    (
        PluginDiedError("tea", exitcode=3),
        {"slug": "tea", "exitcode": 3, "signal": None, "stderr": "", "reason": ""},
        ["'tea'", "exit code 3", "starts another"],
    ),
    (
        PluginDiedError("tea", signal=9, stderr="x", reason="it was too slow"),
        {"slug": "tea", "exitcode": None, "signal": 9, "stderr": "x", "reason": "it was too slow"},
        ["'tea'", "signal 9", "too slow"],
    ),
    (
        PluginRaisedError("tea", "tea.Cold", "Cold: no"),
        {"slug": "tea", "exception_type": "tea.Cold", "message": "Cold: no"},
        ["'tea'", "Cold: no"],
    ),
    (
        ValueNotSentError("price", "item", "object", "expected str"),
        {"hook": "price", "argument": "item", "type": "object", "reason": "expected str"},
        ["'item'", "'price'", "'object'", "expected str"],
    ),
    (
        IsolationError("tea", "it is a wrapper"),
        {"slug": "tea", "reason": "it is a wrapper"},
        ["'tea'", "it is a wrapper"],
    ),
    (PluginMandatoryError("tea"), {"slug": "tea"}, ["'tea'", "mandatory="]),
    (
        PluginRequiredError("tea", ("milk", "cup")),
        {"slug": "tea", "needed_by": ("milk", "cup")},
        ["'tea'", "'milk', 'cup'", "cascade=True"],
    ),
    (
        PluginSlugError("tea", "it is taken; use another"),
        {"slug": "tea", "reason": "it is taken; use another"},
        ["'tea'", "it is taken; use another"],
    ),
    (PluginActiveError("tea"), {"slug": "tea"}, ["'tea'", "deactivate it first"]),
    (PluginNotBoundError("Tea"), {"plugin": "Tea"}, ["'Tea'", "plugreg_activated()"]),
    (
        PluginFaultError("init", "tea", "OSError: no"),
        {"stage": "init", "slug": "tea", "message": "OSError: no"},
        ["init", "tea", "OSError: no"],
    ),
    (
        MissingExtraError("encryption", "cryptography", "secrets"),
        {"what": "encryption", "package": "cryptography", "extra": "secrets", "reason": ""},
        ["encryption", "'cryptography'; install it: pip install 'plugreg[secrets]'"],
    ),
    (
        MissingExtraError("encryption", "cryptography", "secrets", "No module named 'cffi'"),
        {"what": "encryption", "reason": "No module named 'cffi'"},
        ["'cryptography', which is installed", "'cffi'", "pip install --upgrade 'plugreg[secrets]"],
    ),
    (CircuitOpenError("tea"), {"slug": "tea"}, ["'tea'", "registry.reset('tea')"]),
    (
        NotReadyYet("its service is away", 5),
        {"reason": "its service is away", "retry_after": 5},
        ["its service is away", "5 seconds"],
    ),
    (UnknownHookError("prise"), {"hook": "prise", "hint": ""}, ["'prise'", "hookspecs="]),
    (
        UnknownHookError("prise", "; did you mean 'price'?"),
        {"hook": "prise", "hint": "; did you mean 'price'?"},
        ["'prise'", "did you mean 'price'?"],
    ),
    (RegistryNotReady(), {}, ["not loaded yet", "registry.load()"]),
    (
        RegistryNotReady("closed", "make a new one"),
        {"what": "closed", "remedy": "make a new one"},
        ["closed; make a new one"],
    ),
    (RegistryBusyError(0.5), {"seconds": 0.5}, ["0.5 seconds", "try again"]),
    (
        SettingError("PER_CENT", "Provided value is not a valid integer"),
        {"field": "PER_CENT", "reason": "Provided value is not a valid integer"},
        ["'PER_CENT'", "not a valid integer"],
    ),
    (
        AssetNotFoundError("tea", "cup.png"),
        {"slug": "tea", "path": "cup.png"},
        ["'tea'", "'cup.png'", "'static'"],
    ),
    (
        InstallError(iter(["tea is denied", "milk has no wheel"])),
        {"reasons": ("tea is denied", "milk has no wheel")},
        ["tea is denied; milk has no wheel"],
    ),
    (
        RequirementError("url", "must begin with https"),
        {"field": "url", "reason": "must begin with https"},
        ["url", "must begin with https"],
    ),
    (StorageError("text"), {}, ["text"]),
    (
        EncryptionError("setting 'KEY' of plugin 'tea'", 2),
        {"what": "setting 'KEY' of plugin 'tea'", "keys": 2},
        ["setting 'KEY' of plugin 'tea'", "2 tried", "add the key"],
    ),
    (
        StorageCorruptError("/x.json", "no JSON"),
        {"path": "/x.json", "reason": "no JSON"},
        ["'/x.json'", "no JSON", "restore it"],
    ),
    (
        RecordCorruptError("plugins", "tea", "no JSON"),
        {"path": "plugins/tea", "table": "plugins", "key": "tea", "reason": "no JSON"},
        ["record 'tea' of table 'plugins'", "no JSON", "restore it", "delete it"],
    ),
    (
        StorageFormatError("/x.json", 2, 1),
        {"path": "/x.json", "found": 2, "known": 1},
        ["'/x.json'", "format 2", "newer plugreg", "update plugreg"],
    ),
    (
        StorageLockedError("/x.lock", 30.0),
        {"lock": "/x.lock", "seconds": 30.0},
        ["'/x.lock'", "30 seconds", "lock_timeout="],
    ),
    (
        CommitUnknownError("postgresql://db/shop", 8),
        {"place": "postgresql://db/shop", "revision": 8, "committed": None},
        ["'postgresql://db/shop'", "commit 8", "compare the store's revision"],
    ),
    (
        CommitUnknownError("postgresql://db/shop", 8, True),
        {"committed": True},
        ["do not do it again"],
    ),
    (
        CommitUnknownError("postgresql://db/shop", 8, False),
        {"committed": False},
        ["not made; do it again"],
    ),
    (
        StorageURLError("tinidb:///x.json", "write tinydb:///x.json"),
        {"url": "tinidb:///x.json", "reason": "write tinydb:///x.json"},
        ["'tinidb:///x.json'", "write tinydb:///x.json"],
    ),
    (
        StorageUnavailableError("/x.json", "disk full"),
        {"place": "/x.json", "reason": "disk full"},
        ["'/x.json'", "disk full"],
    ),
]
CASES = pytest.mark.parametrize(
    ("error", "fields", "said"), ERRORS, ids=[type(error).__name__ for error, *_ in ERRORS]
)


@CASES
def test_fields_and_message(error, fields, said):
    """The fields are the arguments of the error; the message has subject and remedy."""
    assert {name: getattr(error, name) for name in fields} == fields
    for words in said:
        assert words in str(error)


@CASES
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_survives_pickling(error, fields, said, protocol):
    """An error that went to another process is the same error."""
    again = pickle.loads(pickle.dumps(error, protocol))
    assert type(again) is type(error)
    assert vars(again) == vars(error)
    assert str(again) == str(error)


@CASES
def test_survives_copying(error, fields, said):
    """A copy says the same."""
    assert str(copy.deepcopy(error)) == str(error)


def test_every_error_is_in_the_tables():
    """No error is left untested, and each is exported under one root."""
    defined = {
        kind
        for _, kind in inspect.getmembers(exceptions, inspect.isclass)
        if kind.__module__ == exceptions.__name__ and kind is not FormattedError
    }
    assert defined == {type(error) for error, *_ in ERRORS}
    assert all(issubclass(kind, PlugregError) for kind in defined)
    assert all(getattr(plugreg, kind.__name__) is kind for kind in defined)


def test_fields_by_name():
    """Arguments may be given by name, and ``fields`` has them in the order of the arguments."""
    error = PluginNotActiveError(state="failed", slug="tea")
    assert list(error.fields.items()) == [("slug", "tea"), ("state", "failed")]
    assert error.args == ("tea", "failed")
    assert str(error) == str(PluginNotActiveError("tea", "failed"))
    assert PluginNotFoundError("tea").fields == {"slug": "tea", "hint": ""}


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ((), {}),
        (("tea",), {}),
        (("tea", "failed", "more"), {}),
        (("tea", "failed"), {"more": 1}),
        (("tea", "failed"), {"slug": "tea"}),
    ],
)
def test_wrong_arguments_are_refused(values, named):
    """As of any function: none missing, none too many, none twice."""
    with pytest.raises(TypeError, match="PluginNotActiveError takes the arguments slug, state"):
        PluginNotActiveError(*values, **named)


def test_a_subclass_of_a_host_may_have_its_own_constructor():
    """Its annotations are its own business then."""

    class ShopError(PluginNotActiveError):
        shop: str

        def __init__(self, shop):
            super().__init__("tea", "failed")
            self.shop = shop

    assert "'tea' is failed" in str(ShopError("corner"))
    assert ShopError("corner").fields == {"slug": "tea", "state": "failed"}


@pytest.mark.parametrize(
    ("error", "base"),
    [
        (PluginNotFoundError, LookupError),
        (UnknownHookError, LookupError),
        (SettingError, ValueError),
        (PluginSlugError, ValueError),
        (AssetNotFoundError, LookupError),
        (RequirementError, ValueError),
        (MissingExtraError, ImportError),
        (PluginTimeoutError, TimeoutError),
        (ValueNotSentError, TypeError),
        (EncryptionError, StorageError),
        (StorageCorruptError, StorageError),
        (RecordCorruptError, StorageCorruptError),
        (StorageFormatError, StorageError),
        (StorageLockedError, StorageError),
        (StorageUnavailableError, StorageError),
    ],
)
def test_errors_are_of_the_kind_that_callers_expect(error, base):
    """``except LookupError`` and the like catch the expected errors."""
    assert issubclass(error, base)


BROKEN = """
import sys
from plugreg import MissingExtraError
for code in sys.argv[1:]:
    try:
        exec(code)
    except MissingExtraError as error:
        assert error.reason == f"No module named 'needed_by_{error.package.partition('-')[0]}'"
        assert "install it" not in str(error)
        print(error.extra)
"""


@pytest.mark.parametrize(
    "uses",
    [
        {
            ("apscheduler", "schedule"): "import plugreg.adapters.apscheduler",
            ("django", "django"): "import plugreg.adapters.django",
            ("fastapi", "fastapi"): "import plugreg.adapters.fastapi",
            ("flask", "flask"): "import plugreg.adapters.flask",
            ("opentelemetry", "otel"): "import plugreg.adapters.otel",
            ("starlette", "starlette"): "import plugreg.adapters.starlette",
            ("cronsim", "schedule"): "import plugreg.mixins._cron as c; c.parse_cron('* * * * *')",
            ("cryptography", "secrets"): "import plugreg.encryption as e; e.Encryption.new_key()",
            ("redis", "redis"): "import plugreg.hints as h; h.RedisHints('redis://127.0.0.1')",
            ("sqlalchemy", "sql"): "from plugreg.storage import SQLStorage",
        },
        {
            ("psycopg", "postgresql"): "import plugreg.storage as s; "
            "s.open_storage('postgresql+psycopg://h/d')",
            ("pymysql", "mariadb"): "import plugreg.storage as s; "
            "s.open_storage('mysql+pymysql://h/d')",
        },
    ],
    ids=["packages", "drivers"],
)
def test_a_package_that_lacks_what_it_needs_is_not_called_missing(uses, tmp_path):
    """Its error has the import's exception, and the remedy."""
    for package, _ in uses:
        module = tmp_path / package / "__init__.py"
        module.parent.mkdir()
        module.write_text(f"import needed_by_{package}\n")
    path = [str(tmp_path), str(Path(plugreg.__file__).parents[1])]
    done = subprocess.run(
        [sys.executable, "-P", "-c", BROKEN, *uses.values()],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout.split() == [extra for _, extra in uses]
