"""The life of a plugin, tried in this process: switched on and off, called, misconfigured."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, redirect_stderr, redirect_stdout
from functools import partial
from types import MappingProxyType
from typing import Any, Final

from plugreg.contract.codes import finding
from plugreg.contract.values import Finding
from plugreg.exceptions import (
    AssetNotFoundError,
    MissingExtraError,
    PlugregError,
    SettingError,
    StorageUnavailableError,
)
from plugreg.hooks.signatures import HookSignature, signatures
from plugreg.mixins.settings import SettingsMixin
from plugreg.mixins.ui import FEATURE_GETTERS
from plugreg.records import PluginFailure, PluginState, Stage
from plugreg.settings.declaration import parse_definitions
from plugreg.settings.definition import SettingDefinition
from plugreg.storage import MemoryStorage
from plugreg.testing.before import OldSettings
from plugreg.testing.host import PluginHost
from plugreg.testing.specs import declared_errors, strategy_of

MakeHost = Callable[..., PluginHost]
"""Makes a host with the plugin, from further keywords of `PluginHost` and ``options``."""

CYCLES: Final = 3
EXAMPLES: Final = 20
"""How many calls of each hook are tried."""

CANARY: Final = "canary-7f3a9e1c"
"""The value of protected settings while it is watched where it comes out."""

_STAGES: Final = MappingProxyType(
    {Stage.IMPORT: "K301", Stage.INIT: "K401", Stage.ACTIVATE: "K402"}
)
_SECRETS: Final = re.compile(
    r"(passwords?|passwd|secrets?|token|api_?keys?|private_?key)(_|$)", re.I
)


def live(make_host: MakeHost, *, name: str, with_isolation: bool = True) -> tuple[Finding, ...]:
    """Try the life of a plugin, and return its faults.

    Args:
        make_host: Makes a host with the plugin alone.
        name: Name of the plugin in the findings, such as ``module:Class``.
        with_isolation: Whether it is tried in a process of its own, too.
    """
    found: list[Finding] = []
    host = make_host(residue=True)
    try:
        record = host.registry.get(host.slug)
        if record.plugin is None:
            found += [_failure_to_load(failure, name) for failure in _failures(host)]
            return tuple(dict.fromkeys(found))
        found += _settings(record.plugin, name)
        found += _cycles(host, name)
        found += _calls(host, name)
        found += _capabilities(host, name)
    finally:
        left = host.close()
    marker = "after the plugin was switched off, "
    found += [
        finding("K403", name, fault.removeprefix(marker))
        for fault in left
        if fault.startswith(marker)
    ]
    for attempt in (_misconfigured, _refusing_store, _secrets):
        found += attempt(make_host, name)
    if with_isolation:
        found += _isolated(make_host, name)
    return tuple(dict.fromkeys(found))


def _failures(host: PluginHost) -> tuple[PluginFailure, ...]:
    return tuple(failure for failure in host.registry.errors if failure.slug == host.slug)


def _failure_to_load(failure: PluginFailure, name: str) -> Finding:
    is_plugin = "is no plugin" not in failure.message
    code = _STAGES.get(failure.stage, "K400") if is_plugin else "K400"
    if code == "K402" and failure.message.startswith("mixin 'settings'"):
        code = "K201"
    # What pluggy refuses was raised in its code; the plugin's line is not known.
    is_refused = (failure.exception_type or "").startswith("pluggy.")
    return finding(code, name if is_refused else failure.place or name, failure.message)


# -- settings ------------------------------------------------------------------------------------


def _settings(plugin: Any, name: str) -> Iterator[Finding]:
    version = getattr(plugin, "SETTINGS_VERSION", 1)
    for attribute in ("SETTINGS", "USER_SETTINGS"):
        definitions, faults = parse_definitions(getattr(plugin, attribute, None), attribute)
        for fault in faults:
            yield finding("K201", name, fault)
        for key, definition in definitions.items():
            yield from _setting(f"{name} {attribute}[{key!r}]", key, definition)
    migrate = getattr(type(plugin), "migrate_settings", None)
    if type(version) is int and version > 1 and migrate is SettingsMixin.migrate_settings:
        message = f"SETTINGS_VERSION is {version}, and migrate_settings is not there"
        yield finding("K205", name, message)


def _setting(where: str, key: str, definition: SettingDefinition) -> Iterator[Finding]:
    is_typed = definition.type is not None and definition.type is not str
    if is_typed and not definition.has_default and not definition.required:
        yield finding("K202", where, "it has a type, no default, and is not required")
    is_number = definition.type in (bool, int, float)
    if not definition.protected and not is_number and _SECRETS.search(key):
        yield finding("K204", where, "its name is that of a secret, and it is not protected")
    if not str(definition.name).strip() or str(definition.name) == key:
        yield finding("K207", where, "it has no name for people")


def _definitions(host: PluginHost) -> Mapping[str, SettingDefinition]:
    plugin = host.registry.get(host.slug).plugin
    return parse_definitions(getattr(plugin, "SETTINGS", None), "SETTINGS")[0]


def _misconfigured(make_host: MakeHost, name: str) -> Iterator[Finding]:
    """Try values that do not fit any setting."""
    with closing(make_host()) as host:
        keys = [key for key, found in _definitions(host).items() if not found.protected]
        version = getattr(host.plugin, "SETTINGS_VERSION", 1)
    if not keys or type(version) is not int:
        return
    wrong = OldSettings(version=version, values=dict.fromkeys(keys, "\N{SNOWMAN} no such value"))
    with closing(make_host(stored=wrong)) as host:
        record = host.registry.get(host.slug)
        if record.state is not PluginState.ACTIVE:
            reason = next((failure.message for failure in _failures(host)), record.reason)
            yield finding("K206", name, f"it does not come into service: {reason}")


# -- life ----------------------------------------------------------------------------------------


def _cycles(host: PluginHost, name: str) -> Iterator[Finding]:
    slug = host.slug
    for cycle in range(CYCLES):
        yield from _new(host, "K404", name, partial(host.registry.deactivate, slug))
        before = len(host.failures)
        host.registry.activate(slug)
        if host.registry.get(slug).plugin is None:
            reason = "; ".join(failure.message for failure in host.failures[before:])
            message = f"activation {cycle + 2} fails: {reason}"
            yield finding("K405", name, message)
            return


# -- calls ---------------------------------------------------------------------------------------


def _calls(host: PluginHost, name: str) -> Iterator[Finding]:
    if host.registry.get(host.slug).plugin is None:
        return
    explained = host.registry.dispatch.explain
    for signature in signatures(host.registry.manager):
        if any(position.slug == host.slug for position in explained(signature.name)):
            yield from _hook(host, signature, name)


def _hook(host: PluginHost, signature: HookSignature, name: str) -> Iterator[Finding]:
    declared = {*declared_errors(signature.text)}
    result = _adapter(signature.result)
    last: dict[str, Any] = {}

    def act(arguments: dict[str, Any]) -> None:
        for outcome in host.registry.dispatch.outcomes(signature.name, **arguments):
            fault = _judge(outcome, declared, result)
            if fault is not None:
                last.update(arguments=arguments, fault=fault)
                raise AssertionError(fault)

    with redirect_stdout(io.StringIO()):
        try:
            _try(signature, EXAMPLES, act)
        except AssertionError:
            shown = ", ".join(f"{key}={value!r}" for key, value in last["arguments"].items())
            code, message = last["fault"]
            yield finding(code, f"{name} {signature.name}", f"{signature.name}({shown}) {message}")


def _try(signature: HookSignature, count: int, act: Callable[[dict[str, Any]], None]) -> None:
    """Act with so many different arguments of a hook, and with the simplest for which it fails."""
    from hypothesis import HealthCheck, Phase, given, settings

    if signature.historic:
        return  # Plugins that come later would get these calls, too.
    try:
        strategy = strategy_of(signature)
    except Exception:  # noqa: BLE001 - hypothesis raises many; such a hook is not tried.
        return
    options = settings(
        max_examples=count,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    options(given(strategy)(act))()


def _judge(outcome: Any, declared: set[str], result: Any) -> tuple[str, str] | None:
    """Return the code and the words of the fault of an outcome."""
    error = outcome.error
    if error is not None:
        if declared & {cls.__name__ for cls in type(error).__mro__}:
            return None
        if isinstance(error, TypeError) and "is async" in str(error):
            return None  # The contract has a finding for that.
        return "K501", f"raises {type(error).__name__}: {error}"
    if result is not None and outcome.value is not None:
        from pydantic import ValidationError

        try:
            result.validate_python(outcome.value, strict=True)
        except ValidationError as fault:
            first = fault.errors(include_url=False)[0]["msg"]
            return "K502", f"returns {outcome.value!r}: {first.lower()}"
    return None


def _adapter(annotation: Any) -> Any:
    """Return a validator of results of a type, None if pydantic has none."""
    if annotation is Any or isinstance(annotation, str):
        return None
    from pydantic import PydanticUserError, TypeAdapter
    from pydantic.errors import PydanticSchemaGenerationError

    try:
        return TypeAdapter(annotation)
    except (PydanticUserError, PydanticSchemaGenerationError, TypeError, NameError):
        return None


# -- capabilities --------------------------------------------------------------------------------


def _capabilities(host: PluginHost, name: str) -> Iterator[Finding]:
    registry = host.registry
    if registry.get(host.slug).plugin is None:
        return
    for task in registry.schedules.tasks():
        outcome = registry.schedules.run(task.name)
        if outcome.error is not None:
            message = f"it raises {type(outcome.error).__name__}: {outcome.error}"
            yield finding("K503", f"{name} task {task.task.name!r}", message)
    yield from _new(host, "K504", name, lambda: registry.events.emit("plugreg.check", check=True))
    for feature in FEATURE_GETTERS:
        yield from _new(host, "K505", name, partial(registry.ui_features, feature, context={}))
    yield from _assets(host, name)


def _new(host: PluginHost, code: str, name: str, act: Callable[[], object]) -> Iterator[Finding]:
    """Do something, and yield the failures that it brings."""
    before = len(host.failures)
    act()
    for failure in host.failures[before:]:
        yield finding(code, failure.place or name, failure.message)


def _assets(host: PluginHost, name: str) -> Iterator[Finding]:
    root = f"/static/plugins/{host.slug}/"
    sources = [host.registry.admin(host.slug).source]
    for feature in FEATURE_GETTERS:
        sources += [shown.source for shown in host.registry.ui_features(feature, context={})]
    for source in filter(None, sources):
        path = source.partition("?")[0].partition(":")[0]
        if not path.startswith(root):
            continue
        try:
            host.registry.assets(host.slug, path.removeprefix(root))
        except AssetNotFoundError:
            message = f"it names {source!r}, and there is no file static/{path.removeprefix(root)}"
            yield finding("K006", name, message)


# -- faults from outside -------------------------------------------------------------------------


class RefusingStorage(MemoryStorage):
    """A store that refuses every write from the moment on at which ``refuses`` is set."""

    refuses = False

    def transaction(self) -> Any:
        """Begin a transaction, or refuse it."""
        if self.refuses:
            raise StorageUnavailableError("the store", "it refuses writes, as a check wants it")
        return super().transaction()


def _refusing_store(make_host: MakeHost, name: str) -> Iterator[Finding]:
    storage = RefusingStorage()
    with closing(make_host(options={"storage": storage})) as host:
        if host.registry.get(host.slug).plugin is None:
            return
        before = {*_calls(host, name)}
        storage.refuses = True
        try:
            for seen in _calls(host, name):
                if seen not in before and "StorageUnavailableError" not in seen.message:
                    yield finding("K601", seen.where, seen.message)
        finally:
            storage.refuses = False


def _secrets(make_host: MakeHost, name: str) -> Iterator[Finding]:
    with closing(make_host()) as host:
        keys = [key for key, found in _definitions(host).items() if found.protected]
    if not keys:
        return
    try:
        with _watched() as seen, closing(make_host(settings=dict.fromkeys(keys, CANARY))) as host:
            for signature in signatures(host.registry.manager):
                for value in _results(host, signature):
                    if CANARY in repr(value):
                        yield finding("K602", f"{name} {signature.name}", "in its result")
    except (SettingError, KeyError):
        return  # The secret must have another form.
    if CANARY in seen.getvalue():
        yield finding("K602", name, "in what it logs or prints")


def _results(host: PluginHost, signature: HookSignature) -> list[Any]:
    results: list[Any] = []

    def act(arguments: dict[str, Any]) -> None:
        outcomes = host.registry.dispatch.outcomes(signature.name, **arguments)
        results.extend(outcome.value for outcome in outcomes)

    _try(signature, 3, act)
    return results


@contextmanager
def _watched() -> Iterator[io.StringIO]:
    """Collect log records and output meanwhile."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    # A host may have the loggers of plugins say less than all others.
    loggers = logging.getLogger(), logging.getLogger("plugreg.plugin")
    levels = [logger.level for logger in loggers]
    loggers[0].addHandler(handler)
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
    try:
        with redirect_stdout(stream), redirect_stderr(stream):
            yield stream
    finally:
        loggers[0].removeHandler(handler)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _isolated(make_host: MakeHost, name: str) -> Iterator[Finding]:
    try:
        host = make_host(isolate=True)
    except (ImportError, MissingExtraError):
        return
    except (PlugregError, TypeError, ValueError) as error:
        yield finding("K701", name, str(error))
        return
    with closing(host):
        if host.registry.get(host.slug).state is not PluginState.ACTIVE:
            reason = "; ".join(failure.message for failure in _failures(host))
            yield finding("K701", name, reason)
