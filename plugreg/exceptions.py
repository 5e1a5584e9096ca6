"""The errors that plugreg raises.

Each error keeps its arguments as fields and formats its message from them. So it can be pickled,
and sent to a client, without parsing a string. This module imports no other module of plugreg.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache, cached_property
from typing import Any, Self, dataclass_transform


class PlugregError(Exception):
    """Base of all errors that plugreg raises on purpose."""

    @property
    def page(self) -> str:
        """Address of the error's entry, with its cause and remedy, in the documentation."""
        own = next(cls for cls in type(self).__mro__ if cls.__module__.startswith("plugreg"))
        return f"reference/errors.html#{own.__name__.lower()}"

    @cached_property
    def __notes__(self) -> list[str]:  # type: ignore[override]
        # Made when a traceback is shown, or a note is added (PEP 678), and never for most errors.
        return [f"see {self.page} in plugreg's documentation"]


@dataclass_transform(eq_default=False)
class FormattedError(PlugregError):
    """Base of errors that keep their arguments as fields and format their message from them.

    A subclass annotates its fields, which are the parameters in this order; a value that is
    assigned to a field is its default. ``template`` is the message, as `str.format` takes it; a
    line break in it is a blank, and a tuple is shown as the list of its items.
    """

    template = ""

    def __init__(self, *values: Any, **named: Any) -> None:
        kind: type = type(self)
        names, defaults = _parameters(kind)
        fields = defaults | dict(zip(names, values, strict=False)) | named
        are_doubled = not named.keys().isdisjoint(names[: len(values)])
        if len(values) > len(names) or are_doubled or fields.keys() != set(names):
            raise TypeError(f"{kind.__name__} takes the arguments {', '.join(names)}")
        super().__init__(*(fields[name] for name in names))
        vars(self).update(fields)

    def __str__(self) -> str:
        shown = {
            name: ", ".join(map(repr, value)) if isinstance(value, tuple) else value
            for name, value in vars(self).items()
        }
        return " ".join(self.template.split()).format_map(shown)

    @property
    def fields(self) -> dict[str, Any]:
        """The fields by their names, in the order of the arguments."""
        kind: type = type(self)
        names, _ = _parameters(kind)
        return {name: getattr(self, name) for name in names}


@cache
def _parameters(cls: type[Any]) -> tuple[tuple[str, ...], dict[str, Any]]:
    """Return the names and the defaults of the fields; a class with a constructor adds none."""
    names: tuple[str, ...] = ()
    defaults: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        if issubclass(base, FormattedError) and "__init__" not in vars(base):
            own = tuple(base.__annotations__)
            names += own
            defaults |= {name: vars(base)[name] for name in own if name in vars(base)}
    return names, defaults


class PluginNotFoundError(FormattedError, LookupError):
    """No plugin has this slug, or its distribution is gone.

    Args:
        slug: The slug that was asked for.
        hint: Addition to the message: a similar slug, or a remedy.
    """

    slug: str
    hint: str = ""

    def __str__(self) -> str:
        hint = self.hint or "; registry.plugins has all known plugins"
        return f"plugin {self.slug!r} is not known here{hint}"


class PluginNotActiveError(FormattedError):
    """The request needs an active plugin, and this plugin is not active.

    Args:
        slug: The plugin.
        state: The name of its state.
    """

    slug: str
    state: str
    template = """plugin {slug!r} is {state}, but must be active for this;
    activate it, or look at its errors"""


class PluginBlockedError(FormattedError):
    """The host forbids this plugin (``blocked=`` or ``allowed=``); nothing was stored.

    Args:
        slug: The plugin.
        reason: The end of a sentence about it: "is blocked by the host".
    """

    slug: str
    reason: str
    template = "plugin {slug!r} {reason}; change the host's blocked= or allowed= first"


class PluginMandatoryError(FormattedError):
    """A mandatory plugin cannot be deactivated, uninstalled or deleted; nothing was changed.

    Args:
        slug: The plugin.
    """

    slug: str
    template = """plugin {slug!r} is mandatory and stays active;
    remove it from the host's mandatory= to change that"""


class PluginRequiredError(FormattedError):
    """Active plugins depend on the plugin to deactivate; nothing was changed.

    Args:
        slug: The plugin.
        needed_by: The slugs of the plugins that depend on it, directly or through others.
    """

    slug: str
    needed_by: tuple[str, ...]
    template = """plugin {slug!r} is needed by {needed_by};
    deactivate them first, or pass cascade=True"""


class PluginSlugError(FormattedError, ValueError):
    """A slug cannot be used for this: it is taken, empty, reserved, or of another kind.

    Args:
        slug: The slug.
        reason: Why it cannot be used, and the remedy.
    """

    slug: str
    reason: str
    template = "plugin slug {slug!r} cannot be used for this: {reason}"


class PluginActiveError(FormattedError):
    """The rows of an active plugin cannot be deleted; nothing was changed.

    Args:
        slug: The plugin.
    """

    slug: str
    template = "plugin {slug!r} is stored as active and cannot be deleted; deactivate it first"


class PluginNotBoundError(FormattedError):
    """A plugin object read its settings before a registry had bound it.

    Args:
        plugin: The name of the object's class.
    """

    plugin: str
    template = """plugin object of class {plugin!r} is not bound to a registry;
    use settings in plugreg_activated() or later, not in the constructor"""


class MissingExtraError(FormattedError, ImportError):
    """A part of plugreg needs a package that is not installed, or cannot be imported.

    Args:
        what: Part of plugreg, in words.
        package: The package that it needs.
        extra: The extra of plugreg that installs the package.
        reason: Why an installed package cannot be imported, empty if it is not installed.
    """

    what: str
    package: str
    extra: str
    reason: str = ""

    @classmethod
    def of(
        cls, error: ImportError, what: str, package: str, extra: str = "", module: str = ""
    ) -> Self:
        """Return the error for an import that failed.

        Args:
            error: The exception that the import raised.
            what: Part of plugreg that needs the package.
            package: The name of the package.
            extra: The extra of plugreg that installs it. Defaults to the name of the package.
            module: The top-level module of the package. Defaults to its name.

        Returns:
            The error, whose ``reason`` is that of *error* where the package is installed.
        """
        from importlib.util import find_spec

        # An installed package may lack its own dependencies, or have another version.
        is_installed = find_spec(module or package) is not None
        return cls(what, package, extra or package, str(error) if is_installed else "")

    def __str__(self) -> str:
        need = f"{self.what} needs {self.package!r}"
        if self.reason:
            return (
                f"{need}, which is installed and cannot be imported ({self.reason}); repair it: "
                f"pip install --upgrade 'plugreg[{self.extra}]'"
            )
        return f"{need}; install it: pip install 'plugreg[{self.extra}]'"


class PluginFaultError(FormattedError):
    """A failure record as an exception, as the group of ``load(strict=True)`` has it.

    Args:
        stage: The stage of the record.
        slug: Its plugin.
        message: Its message.
    """

    stage: str
    slug: str
    message: str
    template = "{stage}: {slug}: {message}"


class PluginTimeoutError(FormattedError, TimeoutError):
    """A plugin exceeded the time limit of the call.

    Args:
        slug: The plugin.
        seconds: The limit.
    """

    slug: str
    seconds: float
    template = """plugin {slug!r} took longer than {seconds:g} seconds;
    make it faster, or give more time with call_timeout= or bind(timeout=), or an isolated plugin
    with Isolated(timeout=)"""


class PluginDiedError(FormattedError):
    """The process of an isolated plugin ended, or was ended, during a call.

    The next call starts a new process.

    Args:
        slug: The plugin.
        exitcode: Exit code of the process, None if a signal has ended it.
        signal: Number of the signal, None if the process has ended by itself.
        stderr: The end of what the process wrote to stderr.
        reason: Why it was ended, an empty string if it ended by itself.
    """

    slug: str
    exitcode: int | None = None
    signal: int | None = None
    stderr: str = ""
    reason: str = ""

    def __str__(self) -> str:
        how = f"exit code {self.exitcode}"
        if self.signal is not None:
            how = f"signal {self.signal}"
        cause = f": {self.reason}" if self.reason else ""
        return (
            f"the process of plugin {self.slug!r} ended with {how}{cause}; "
            f"the next call starts another one"
        )


class PluginRaisedError(FormattedError):
    """An isolated plugin raised an exception of a class that the host does not have.

    Args:
        slug: The plugin.
        exception_type: Name of the exception's class, with its module.
        message: Class and message of the exception.
    """

    slug: str
    exception_type: str
    message: str
    template = "plugin {slug!r} raised {message}"


class ValueNotSentError(FormattedError, TypeError):
    """A value cannot be sent between the host and an isolated plugin; nothing was called.

    Args:
        hook: The hook, or ``mixin.method``.
        argument: Name of the argument, or ``"result"``.
        type: Name of the value's class.
        reason: The expectation, and the remedy.
    """

    hook: str
    argument: str
    type: str
    reason: str
    template = """{argument!r} of {hook!r} cannot be sent as {type!r}: {reason}"""


class IsolationError(FormattedError):
    """A plugin, or a part of it, cannot be isolated.

    Args:
        slug: The plugin.
        reason: Why, and the remedy.
    """

    slug: str
    reason: str
    template = "plugin {slug!r} cannot be isolated: {reason}"


class PluginBusyError(FormattedError):
    """A plugin was not called, because an abandoned call of it has not returned yet.

    Args:
        slug: The plugin.
    """

    slug: str
    template = """plugin {slug!r} is still busy with a call that was abandoned after its time limit;
    it is called again as soon as that call has returned"""


class AssetNotFoundError(FormattedError, LookupError):
    """An active plugin has no such asset, or it cannot be read.

    Args:
        slug: The plugin.
        path: The path of the asset, relative to the folder ``static``.
    """

    slug: str
    path: str
    template = """plugin {slug!r} has no asset {path!r};
    assets are plain files below the folder 'static' of its package"""


class UnknownHookError(FormattedError, LookupError):
    """Neither a specification nor an implementation has this hook name.

    Args:
        hook: The name that was asked for.
        hint: Addition to the message: a similar name.
    """

    hook: str
    hint: str = ""

    def __str__(self) -> str:
        hint = self.hint or "; correct the name, or pass its specification as hookspecs="
        return f"hook {self.hook!r} is not known here{hint}"


class CircuitOpenError(FormattedError):
    """A plugin was not called, because it failed too often recently.

    Outcomes have it as their error; it is never raised to a host. ``is_refusal`` distinguishes
    plugreg's own error from an error that a plugin raised.

    Args:
        slug: The plugin.
    """

    is_refusal = False
    slug: str
    template = """plugin {slug!r} is not called, as its circuit is open after repeated faults;
    wait for its trial call, or close it with registry.reset({slug!r})"""


class NotReadyYet(PlugregError):  # noqa: N818 - the message of a plugin, which is not at fault
    """For a plugin to raise while it is loaded, if something that it needs is not ready yet.

    A process that watches or keeps up tries the plugin again.

    Args:
        reason: A sentence.
        retry_after: Seconds until the next try.

    Raises:
        ValueError: If *retry_after* is not a finite number above 0.
    """

    def __init__(self, reason: str = "it is not ready yet", retry_after: float = 30.0) -> None:
        if not 0 < retry_after < float("inf"):
            raise ValueError(f"retry_after={retry_after!r} is no number of seconds over 0")
        super().__init__(reason, retry_after)
        self.reason = reason
        self.retry_after = retry_after

    def __str__(self) -> str:
        return f"{self.reason}; it is tried again after {self.retry_after:g} seconds"


class RegistryNotReady(FormattedError):  # noqa: N818 - the public name, without the suffix
    """The registry was read before ``load()``, or used after ``close()``.

    Args:
        what: The state of the registry.
        remedy: The remedy for the caller.
    """

    what: str = "not loaded yet"
    remedy: str = "call registry.load() first"
    template = "the registry is {what}; {remedy}"


class RegistryBusyError(FormattedError):
    """A change waited longer than ``reload_wait`` seconds for the change before it.

    Args:
        seconds: How long it waited.
    """

    seconds: float
    template = """the registry is still carrying out another change after {seconds:g} seconds;
    try again, or look for a plugin that hangs while it is loaded"""


class SettingError(FormattedError, ValueError):
    """A setting's value or definition is refused; nothing was changed.

    Args:
        field: The setting's key.
        reason: A sentence that is fit to be shown to users.
    """

    field: str
    reason: str
    template = "setting {field!r}: {reason}"


class InstallError(PlugregError):
    """A distribution was not installed, or not uninstalled.

    ``report`` is a :class:`plugreg.install.InstallReport` or
    :class:`plugreg.install.UninstallReport` on the environment, None where it was not touched. If
    the environment was changed and only the registry could not use it, its ``success`` is True.
    :mod:`plugreg.install.exceptions` has a class for each cause.

    Args:
        reasons: Sentences on the cause.
    """

    def __init__(self, reasons: Iterable[str]) -> None:
        self.reasons = tuple(reasons)
        self.report: Any = None
        super().__init__(self.reasons)

    def __str__(self) -> str:
        return "; ".join(self.reasons)


class RequirementError(FormattedError, ValueError):
    """The requirement to install is refused; nothing was changed.

    Args:
        field: ``packagename``, ``url``, ``version`` or ``actor``.
        reason: The expectation, and the remedy.
    """

    field: str
    reason: str
    template = "requirement, {field}: {reason}"


class StorageError(PlugregError):
    """A storage was misused, or could not carry out the request.

    Its contents are unchanged, unless the message says otherwise.
    """


class EncryptionError(FormattedError, StorageError):
    """None of the keys decrypts a stored value, or the value is damaged.

    Args:
        what: The value in words, never its string.
        keys: How many keys were tried.
    """

    what: str = "a stored value"
    keys: int = 0
    template = """{what} cannot be decrypted: no key opens it ({keys} tried);
    add the key that it was encrypted with after the first one, or set the value again"""


class CommitUnknownError(FormattedError, StorageError):
    """The connection broke during a commit, so that the change may or may not have been made.

    Nothing was tried again, because a change that was made would be made twice.

    Args:
        place: The address of the store.
        revision: The revision of the store after the commit.
        committed: Whether the change was made, as read afterwards; None if that is unknown.
    """

    place: str
    revision: int
    committed: bool | None = None

    def __str__(self) -> str:
        advice = {
            None: "whether the change was made is not known; compare the store's revision and "
            "contents with the intended ones before doing it again",
            True: "a look at it showed that the change was made; do not do it again",
            False: "a look at it showed that the change was not made; do it again",
        }[self.committed]
        return f"store {self.place!r} broke off while commit {self.revision} was made: {advice}"


class StorageURLError(FormattedError, StorageError, ValueError):
    """A string is not the URL of a store that plugreg can open.

    Args:
        url: The string without its password.
        reason: The fault, and a correct URL.
    """

    url: str
    reason: str
    template = "storage URL {url!r} cannot be opened: {reason}"


class StorageCorruptError(FormattedError, StorageError):
    """A file or address is not a store that plugreg wrote completely. It was left untouched.

    Args:
        path: The file or the address.
        reason: The fault.
    """

    path: str
    reason: str
    template = """store {path!r} is damaged: {reason}; it was left as it is:
    restore it from a copy, or move it away to start with an empty store"""


class RecordCorruptError(StorageCorruptError):
    """A row of a store is not as plugreg wrote it. It stays unchanged, and other rows serve.

    Args:
        table: The table of the row.
        key: Its key.
        reason: The fault.
    """

    template = """record {key!r} of table {table!r} is damaged: {reason}; it was left
    as it is: restore it from a copy of the store, or delete it"""

    def __init__(self, table: str, key: str, reason: str) -> None:
        super().__init__(f"{table}/{key}", reason)
        self.args = (table, key, reason)
        self.table = table
        self.key = key


class StorageFormatError(FormattedError, StorageError):
    """A newer plugreg wrote this store, which is not damaged. It was left untouched.

    It is never set aside.

    Args:
        path: The file or the address.
        found: The format of the store.
        known: The newest format that this plugreg reads.
    """

    path: str
    found: int
    known: int
    template = """store {path!r} has format {found}, from a newer plugreg than this one,
    which knows format {known}; it was left as it is: update plugreg"""


class StorageLockedError(FormattedError, StorageError):
    """The lock of a store could not be acquired in time; nothing was changed.

    Args:
        lock: The lock's file or address.
        seconds: The timeout.
    """

    lock: str
    seconds: float
    template = """lock {lock!r} could not be acquired within {seconds:g} seconds;
    another process or thread is writing, or hangs while it does:
    try again, give a longer lock_timeout=, or end the one that hangs"""


class StorageUnavailableError(FormattedError, StorageError):
    """The store cannot be reached or written now.

    Its contents are unchanged, unless *reason* says otherwise.

    Args:
        place: The file or the address.
        reason: The message of the system.
    """

    place: str
    reason: str
    template = "store {place!r} is not available: {reason}"
