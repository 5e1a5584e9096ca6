"""The error tree. Everything may import this module; it imports nothing of plugreg's own.

Each error keeps what it was made from as fields and builds its message from them, so that it
can be pickled, and answered to a client, without parsing text.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Self

__all__ = [
    "AssetNotFoundError",
    "CircuitOpenError",
    "CommitUnknownError",
    "EncryptionError",
    "InstallError",
    "MissingExtraError",
    "NotReadyYet",
    "PluginActiveError",
    "PluginBlockedError",
    "PluginBusyError",
    "PluginFaultError",
    "PluginMandatoryError",
    "PluginNotActiveError",
    "PluginNotBoundError",
    "PluginNotFoundError",
    "PluginRequiredError",
    "PluginSlugError",
    "PluginTimeoutError",
    "PlugregError",
    "RecordCorruptError",
    "RegistryBusyError",
    "RegistryNotReady",
    "RequirementError",
    "SettingError",
    "StorageCorruptError",
    "StorageError",
    "StorageFormatError",
    "StorageLockedError",
    "StorageURLError",
    "StorageUnavailableError",
    "UnknownHookError",
]


_LOOK_AT_PLUGINS = "; registry.plugins has all that are"
_GIVE_A_SPEC = "; correct the name, or pass its specification as hookspecs="


class PlugregError(Exception):
    """The root of all errors that plugreg raises on purpose."""


class PluginNotFoundError(PlugregError, LookupError):
    """No plugin has this slug, or its package is gone.

    ``slug`` is what was asked for, ``hint`` an addition to the message (a near name, a remedy).
    """

    def __init__(self, slug: str, hint: str = "") -> None:
        super().__init__(slug, hint)
        self.slug = slug
        self.hint = hint

    def __str__(self) -> str:
        return f"plugin {self.slug!r} is not known here{self.hint or _LOOK_AT_PLUGINS}"


class PluginNotActiveError(PlugregError):
    """Something was asked of a plugin that only an active one can answer.

    ``slug`` is the plugin, ``state`` the word of its state.
    """

    def __init__(self, slug: str, state: str) -> None:
        super().__init__(slug, state)
        self.slug = slug
        self.state = state

    def __str__(self) -> str:
        return (
            f"plugin {self.slug!r} is {self.state}, but must be active for this; "
            f"activate it, or look at its errors"
        )


class PluginBlockedError(PlugregError):
    """The host forbids this plugin (``blocked=`` or ``allowed=``); no wish is stored.

    ``reason`` is the end of a sentence about it: "is blocked by the host".
    """

    def __init__(self, slug: str, reason: str) -> None:
        super().__init__(slug, reason)
        self.slug = slug
        self.reason = reason

    def __str__(self) -> str:
        return f"plugin {self.slug!r} {self.reason}; change the host's blocked= or allowed= first"


class PluginMandatoryError(PlugregError):
    """A mandatory plugin was to be switched off, removed or forgotten; nothing was changed."""

    def __init__(self, slug: str) -> None:
        super().__init__(slug)
        self.slug = slug

    def __str__(self) -> str:
        return (
            f"plugin {self.slug!r} is mandatory and stays on; "
            f"take it from the host's mandatory= to change that"
        )


class PluginRequiredError(PlugregError):
    """A plugin was to be switched off that active plugins need; nothing was changed.

    ``needed_by`` has the slugs of those that need it, directly or through others.
    """

    def __init__(self, slug: str, needed_by: Iterable[str]) -> None:
        self.slug = slug
        self.needed_by = tuple(needed_by)
        super().__init__(slug, self.needed_by)

    def __str__(self) -> str:
        names = ", ".join(repr(each) for each in self.needed_by)
        return (
            f"plugin {self.slug!r} is needed by {names}; "
            f"deactivate them first, or pass cascade=True"
        )


class PluginSlugError(PlugregError, ValueError):
    """A slug does not suit what is asked: it is taken, empty, reserved, or of another kind."""

    def __init__(self, slug: str, reason: str) -> None:
        super().__init__(slug, reason)
        self.slug = slug
        self.reason = reason

    def __str__(self) -> str:
        return f"plugin slug {self.slug!r} cannot be used for this: {self.reason}"


class PluginActiveError(PlugregError):
    """What is stored of an active plugin was to be deleted; nothing was changed."""

    def __init__(self, slug: str) -> None:
        super().__init__(slug)
        self.slug = slug

    def __str__(self) -> str:
        return f"plugin {self.slug!r} is wished active and cannot be deleted; deactivate it first"


class PluginNotBoundError(PlugregError):
    """A plugin object asked for its settings before a registry had taken it in."""

    def __init__(self, plugin: str) -> None:
        super().__init__(plugin)
        self.plugin = plugin

    def __str__(self) -> str:
        return (
            f"plugin object of class {self.plugin!r} is not bound to a registry; "
            f"use settings in plugreg_activated() or later, not in the constructor"
        )


class MissingExtraError(PlugregError, ImportError):
    """A part of plugreg was used whose package is not installed, or cannot be imported.

    ``what`` is that part in words, ``package`` what it needs, ``extra`` what brings it along.
    ``reason`` is why a package that is installed cannot be imported, empty for one that is not.
    """

    def __init__(self, what: str, package: str, extra: str, reason: str = "") -> None:
        super().__init__(what, package, extra, reason)
        self.what = what
        self.package = package
        self.extra = extra
        self.reason = reason

    @classmethod
    def of(
        cls, error: ImportError, what: str, package: str, extra: str, module: str | None = None
    ) -> Self:
        """Return the error for an import that has failed.

        Args:
            error: What the import has raised.
            what: The part of plugreg that needs the package.
            package: The name of the package.
            extra: The extra of plugreg that brings it along.
            module: The top-level module of the package. Defaults to its name.
        """
        from importlib.util import find_spec

        # A package that is there may lack what it imports itself, or be another version.
        is_there = find_spec(module or package) is not None
        return cls(what, package, extra, str(error) if is_there else "")

    def __str__(self) -> str:
        need = f"{self.what} needs {self.package!r}"
        if self.reason:
            return (
                f"{need}, which is installed and cannot be imported ({self.reason}); repair it: "
                f"pip install --upgrade 'plugreg[{self.extra}]'"
            )
        return f"{need}; install it: pip install 'plugreg[{self.extra}]'"


class PluginFaultError(PlugregError):
    """One failure record as an exception: what ``load(strict=True)`` raises a group of.

    ``stage``, ``slug`` and ``message`` are those of the record.
    """

    def __init__(self, stage: str, slug: str, message: str) -> None:
        super().__init__(stage, slug, message)
        self.stage = stage
        self.slug = slug
        self.message = message

    def __str__(self) -> str:
        return f"{self.stage}: {self.slug}: {self.message}"


class PluginTimeoutError(PlugregError, TimeoutError):
    """A plugin took longer than the time limit of the call, which is ``seconds``."""

    def __init__(self, slug: str, seconds: float) -> None:
        super().__init__(slug, seconds)
        self.slug = slug
        self.seconds = seconds

    def __str__(self) -> str:
        return (
            f"plugin {self.slug!r} took longer than {self.seconds:g} seconds; "
            f"make it faster, or give more time with call_timeout= or bind(timeout=)"
        )


class PluginBusyError(PlugregError):
    """A plugin was not called, since code of it that was given up on has not returned yet."""

    def __init__(self, slug: str) -> None:
        super().__init__(slug)
        self.slug = slug

    def __str__(self) -> str:
        return (
            f"plugin {self.slug!r} is still busy with a call that was given up on; "
            f"it is called again as soon as that has returned"
        )


class AssetNotFoundError(PlugregError, LookupError):
    """An active plugin has no such file to show, or none that may be read."""

    def __init__(self, slug: str, path: str) -> None:
        super().__init__(slug, path)
        self.slug = slug
        self.path = path

    def __str__(self) -> str:
        return (
            f"plugin {self.slug!r} has no asset {self.path!r}; "
            f"assets are plain files below the folder 'static' of its package"
        )


class UnknownHookError(PlugregError, LookupError):
    """A hook was called, or asked for, that neither a spec nor an implementation names."""

    def __init__(self, hook: str, hint: str = "") -> None:
        super().__init__(hook, hint)
        self.hook = hook
        self.hint = hint

    def __str__(self) -> str:
        return f"hook {self.hook!r} is not known here{self.hint or _GIVE_A_SPEC}"


class CircuitOpenError(PlugregError):
    """A plugin was not called, since it has failed too often of late.

    ``slug`` is the plugin's. It is what an outcome has, and is never raised to a host.
    ``is_refusal`` tells plugreg's own from one that a plugin has raised.
    """

    is_refusal = False

    def __init__(self, slug: str) -> None:
        super().__init__(slug)
        self.slug = slug

    def __str__(self) -> str:
        return (
            f"plugin {self.slug!r} is not called, as its circuit is open after repeated faults; "
            f"wait for its trial call, or close it with registry.reset({self.slug!r})"
        )


class NotReadyYet(PlugregError):  # noqa: N818 - what a plugin says, and no fault of its own
    """For a plugin to raise while it is loaded, where what it needs is not there yet.

    After ``retry_after`` seconds it is tried again, by a process that watches or keeps up.
    ``reason`` is one sentence. ValueError refuses what is no number of seconds over 0.
    """

    def __init__(self, reason: str = "it is not ready yet", retry_after: float = 30.0) -> None:
        if not 0 < retry_after < float("inf"):
            raise ValueError(f"retry_after={retry_after!r} is no number of seconds over 0")
        super().__init__(reason, retry_after)
        self.reason = reason
        self.retry_after = retry_after

    def __str__(self) -> str:
        return f"{self.reason}; it is tried again after {self.retry_after:g} seconds"


class RegistryNotReady(PlugregError):  # noqa: N818 - the public name, without the suffix
    """The registry was read before ``load()``, or used after ``close()``."""

    def __init__(
        self, what: str = "not loaded yet", remedy: str = "call registry.load() first"
    ) -> None:
        super().__init__(what, remedy)
        self.what = what
        self.remedy = remedy

    def __str__(self) -> str:
        return f"the registry is {self.what}; {self.remedy}"


class RegistryBusyError(PlugregError):
    """A change had to wait longer than ``reload_wait`` seconds for the one before it."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds

    def __str__(self) -> str:
        return (
            f"the registry is still carrying out another change after {self.seconds:g} seconds; "
            f"try again, or look for a plugin that hangs while it is loaded"
        )


class SettingError(PlugregError, ValueError):
    """A setting's value or definition is refused; nothing was changed.

    ``field`` is the setting's key, ``reason`` a sentence that is fit to be shown.
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(field, reason)
        self.field = field
        self.reason = reason

    def __str__(self) -> str:
        return f"setting {self.field!r}: {self.reason}"


class InstallError(PlugregError):
    """A distribution was not installed, or not removed; ``reasons`` are sentences on why.

    ``report`` is a :class:`plugreg.install.InstallReport` of what became of the environment, None
    where it was not touched. Where the change was made, and the registry could not take it in, its
    ``success`` is True, or it is an :class:`plugreg.install.UninstallReport`.
    :mod:`plugreg.install.exceptions` has a class for each reason.
    """

    def __init__(self, reasons: Iterable[str]) -> None:
        self.reasons = tuple(reasons)
        self.report: Any = None
        super().__init__(self.reasons)

    def __str__(self) -> str:
        return "; ".join(self.reasons)


class RequirementError(PlugregError, ValueError):
    """What was to be installed is no acceptable requirement; nothing was changed.

    ``field`` is ``packagename``, ``url``, ``version`` or ``actor``, ``reason`` what was expected of
    it.
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(field, reason)
        self.field = field
        self.reason = reason

    def __str__(self) -> str:
        return f"requirement, {self.field}: {self.reason}"


class StorageError(PlugregError):
    """A storage was used wrongly, or could not do what was asked.

    What it held is unchanged, unless the message says otherwise.
    """


class EncryptionError(StorageError):
    """A stored value was not encrypted with any of the keys at hand, or is damaged.

    ``what`` is the value in words, never its text, and ``keys`` how many keys were tried.
    """

    def __init__(self, what: str = "a stored value", keys: int = 0) -> None:
        super().__init__(what, keys)
        self.what = what
        self.keys = keys

    def __str__(self) -> str:
        return (
            f"{self.what} cannot be decrypted: no key opens it ({self.keys} tried); "
            f"add the key that it was encrypted with after the first one, or set the value anew"
        )


class CommitUnknownError(StorageError):
    """The connection broke during a commit, so that the change may have been made or not.

    ``place`` is the address of the store. A look at it afterwards told in ``committed`` which it
    was, or None where there could be none. ``revision`` is what the commit would have made of the
    store's. Nothing was tried again: what was done in fact would be done twice.
    """

    def __init__(self, place: str, revision: int, committed: bool | None = None) -> None:
        super().__init__(place, revision, committed)
        self.place = place
        self.revision = revision
        self.committed = committed

    def __str__(self) -> str:
        begun = f"store {self.place!r} broke off while commit {self.revision} was made: "
        if self.committed is None:
            return (
                f"{begun}whether the change was made is not known; compare the store's revision "
                f"and contents with what was meant before doing it again"
            )
        if self.committed:
            return f"{begun}a look at it showed that the change was made; do not do it again"
        return f"{begun}a look at it showed that the change was not made; do it again"


class StorageURLError(StorageError, ValueError):
    """A text is no URL of a store that plugreg can open.

    ``url`` is the text without its password, ``reason`` what is wrong with it and what to write.
    """

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(url, reason)
        self.url = url
        self.reason = reason

    def __str__(self) -> str:
        return f"storage URL {self.url!r} cannot be opened: {self.reason}"


class StorageCorruptError(StorageError):
    """What is at ``path``, a file or an address, is not a store that plugreg wrote whole.

    It was left untouched.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return (
            f"store {self.path!r} is damaged: {self.reason}; it was left as it is: "
            f"restore it from a copy, or move it away to start with an empty store"
        )


class RecordCorruptError(StorageCorruptError):
    """One record of a store is not what plugreg wrote. It was left untouched, and others serve."""

    def __init__(self, table: str, key: str, reason: str) -> None:
        super().__init__(f"{table}/{key}", reason)
        self.args = (table, key, reason)
        self.table = table
        self.key = key

    def __str__(self) -> str:
        return (
            f"record {self.key!r} of table {self.table!r} is damaged: {self.reason}; it was left "
            f"as it is: restore it from a copy of the store, or delete it"
        )


class StorageFormatError(StorageError):
    """A newer plugreg has written what is at ``path``, a file or an address. It is not damaged.

    ``found`` is its format, and ``known`` the newest format that this plugreg reads. It was left
    untouched, and is never set aside.
    """

    def __init__(self, path: str, found: int, known: int) -> None:
        super().__init__(path, found, known)
        self.path = path
        self.found = found
        self.known = known

    def __str__(self) -> str:
        return (
            f"store {self.path!r} has format {self.found}, from a newer plugreg than this one, "
            f"which knows format {self.known}; it was left as it is: update plugreg"
        )


class StorageLockedError(StorageError):
    """The lock ``lock``, a file or an address, was not had in ``seconds``; nothing was changed."""

    def __init__(self, lock: str, seconds: float) -> None:
        super().__init__(lock, seconds)
        self.lock = lock
        self.seconds = seconds

    def __str__(self) -> str:
        return (
            f"lock {self.lock!r} could not be had within {self.seconds:g} seconds; "
            f"another process or thread is writing, or hangs while it does: "
            f"try again, give a longer lock_timeout=, or end the one that hangs"
        )


class StorageUnavailableError(StorageError):
    """The store cannot be reached or written now.

    ``place`` is the file or the address, ``reason`` what the system said. What the store held is
    unchanged, unless ``reason`` says otherwise.
    """

    def __init__(self, place: str, reason: str) -> None:
        super().__init__(place, reason)
        self.place = place
        self.reason = reason

    def __str__(self) -> str:
        return f"store {self.place!r} is not available: {self.reason}"
