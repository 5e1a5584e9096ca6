"""The objects of the plugin API, with the names and shapes that its clients know.

The same classes describe bodies and answers. A body sets the fields that are not ``readOnly``;
those and unknown fields are ignored. Docstrings of models and descriptions of fields appear in
the OpenAPI document.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from copy import copy
from datetime import datetime
from types import MappingProxyType
from typing import Annotated, Any, Final, Self

from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializeAsAny,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    WrapValidator,
    create_model,
)
from pydantic_core import PydanticCustomError

from plugreg._support.slugs import has_control_characters
from plugreg._support.strings import CONTROL_CHARACTERS


def _string(value: object) -> object:
    """Read a number as its string, so that forms and JSON mean the same."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        value = _format_number(value)
    if value is not None and not isinstance(value, str):
        raise _NOT_A_STRING
    if value and has_control_characters(value):
        raise PydanticCustomError("control_characters", CONTROL_CHARACTERS)
    return value


def _value(value: object, _: ValidatorFunctionWrapHandler, info: ValidationInfo) -> object:
    """Read the value of a setting: null, a string, or a boolean or number as its string.

    With a true context, that is with native values, every value of JSON is accepted as it is.
    """
    # The characters of a string are checked with the setting.
    if isinstance(value, (int, float)):
        string = str(value) if isinstance(value, bool) else _format_number(value)
        return value if info.context else string
    if value is None or isinstance(value, (str, list, dict) if info.context else str):
        return value
    raise _NOT_A_STRING


def _format_number(value: int | float) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        raise _NOT_A_STRING
    try:
        return str(value)
    except ValueError:
        # Python refuses to write out integers of thousands of digits.
        raise PydanticCustomError(
            "too_long", "Ensure this value has at most 2000 characters."
        ) from None


_NOT_A_STRING: Final = PydanticCustomError("string", "Not a valid string.")

String = Annotated[str, BeforeValidator(_string)]
SettingValue = Annotated[str | None, WrapValidator(_value), SerializeAsAny()]

Keys = Annotated[list[str], BeforeValidator(list)]
"""The keys of a mapping."""

PageLink = Annotated[tuple[int, int] | str, WithJsonSchema({"type": "string", "format": "uri"})]
"""Link to another page: (limit, offset) in Python, an address over HTTP."""


def _read_only(**extra: Any) -> Any:
    return Field(json_schema_extra={"readOnly": True}, **extra)


def _absent() -> None:
    """Default factory of optional fields, since the document shows no default for a factory."""


class Model(BaseModel):
    """Base of all models. Objects are frozen; answers omit fields that were not set."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    @classmethod
    def of(cls, record: object) -> Self:
        """Return the model whose fields are attributes of a record.

        Args:
            record: The record.
        """
        return cls.model_validate(record, from_attributes=True)

    def to_json(self) -> dict[str, Any]:
        """Return the fields that were set, as JSON data."""
        return self.model_dump(mode="json", exclude_unset=True, by_alias=True)


def make_patched(model: type[Model]) -> type[Model]:
    """Return the model of a change: the same fields, none of them required.

    Args:
        model: The model of the whole.
    """
    fields: dict[str, Any] = {}
    for name, declared in model.model_fields.items():
        field = copy(declared)
        if field.is_required():
            field.default_factory = _absent
        fields[name] = (field.annotation, field)
    name = model.__name__
    doc = f"A change, as {name}. Absent fields have their default, or stay unchanged."
    return create_model(
        f"Patched{name}", __base__=Model, __module__=__name__, __doc__=doc, **fields
    )


class PluginConfig(Model):
    """A known plugin. ``active`` is the desired state."""

    pk: int = _read_only()
    key: str = _read_only()
    name: str | None = Field(default_factory=_absent, max_length=255)
    package_name: str | None = Field(default_factory=_absent, max_length=255)
    active: bool = Field(default_factory=bool)
    meta: dict[str, Any] = _read_only()
    mixins: dict[str, Any] = _read_only()
    is_builtin: bool = _read_only()
    is_sample: bool = _read_only()
    is_installed: bool = _read_only()
    is_package: bool = _read_only()
    is_mandatory: bool = _read_only()


class PluginPage(Model):
    """A page of a list."""

    count: int
    next: PageLink | None = Field(default_factory=_absent)
    previous: PageLink | None = Field(default_factory=_absent)


class PaginatedPluginConfigList(PluginPage):
    """A page of plugins."""

    results: list[PluginConfig]


class PluginActivate(Model):
    """Whether a plugin is wanted active, or is active."""

    active: bool = Field(default=True, description="Whether the plugin is wanted active")


class PluginPlanRequest(Model):
    """A distribution whose installation is to be planned."""

    packagename: String = Field(
        default_factory=str, description="The distribution, as a requirement of PEP 508"
    )
    url: String = Field(default_factory=str, description="Its source: an index or a repository")
    version: String = Field(default_factory=str, description="Its version; empty for the newest")


class PluginConfigInstall(PluginPlanRequest):
    """A distribution to install."""

    confirm: bool = Field(description="Confirmation of the installation")


class PluginUninstall(Model):
    """Whether the stored data of the plugin are deleted as well."""

    delete_config: bool = Field(
        default=True, description="Whether desired state, settings and metadata are deleted as well"
    )


class PluginReload(Model):
    """Extent of a reload."""

    full_reload: bool = Field(default=False, description="Import modules again")
    force_reload: bool = Field(default=False, description="Create every plugin again")
    collect_plugins: bool = Field(default=False, description="Look for new plugins first")


class PluginRegistryError(Model):
    """A failure of a plugin."""

    stage: str
    name: str
    message: str


class PluginRegistryStatus(Model):
    """Status of the registry of the process that answers."""

    active_plugins: int = _read_only()
    registry_errors: list[PluginRegistryError]


class PluginAdminDetail(Model):
    """The script of a plugin's admin panel, and its context."""

    source: str | None = Field(description="Address of the script")
    context: Any = Field(description="Argument of the script", json_schema_extra={"nullable": True})


class PluginUIFeature(Model):
    """A UI feature of a plugin."""

    plugin_name: str
    feature_type: str
    key: str
    title: str = Field(default_factory=str)
    description: str = Field(default_factory=str)
    icon: str = Field(default_factory=str)
    source: str = Field(default_factory=str)
    options: dict[str, Any] = Field(default_factory=dict)
    context: dict[str, Any] = Field(default_factory=dict)


class Metadata(Model):
    """Data of a plugin for programs; plugreg never reads them."""

    metadata: Any


class PluginSetting(Model):
    """A setting of a plugin and its value. ``value`` is a string; ``***`` is masked."""

    pk: int = _read_only()
    key: str = _read_only()
    value: SettingValue
    name: str = _read_only()
    description: str = _read_only()
    type: str = _read_only()
    units: str = _read_only()
    choices: list[Any] = _read_only()
    model_name: str | None = _read_only(default_factory=_absent)
    model_filters: dict[str, Any] = _read_only()
    api_url: str | None = _read_only(default_factory=_absent)
    typ: str = _read_only()
    required: bool = _read_only()
    plugin: str = _read_only()


class PluginUserSetting(PluginSetting):
    """A setting with a value for each user."""

    user: int = _read_only(description="The user")


class PaginatedPluginSettingList(PluginPage):
    """A page of the settings of all plugins."""

    results: list[SerializeAsAny[PluginSetting]]


# -- the extended API ------------------------------------------------------------------------


class PluginServing(Model):
    """In how many of the live processes a plugin serves."""

    serving: int
    live: int


class ExtendedPluginConfig(PluginConfig):
    """A known plugin, with its state.

    ``failures`` counts those of all processes; ``requires`` is known of wanted plugins only.
    """

    state: str = _read_only()
    reason: str = _read_only()
    wanted: bool = _read_only()
    version: str | None = _read_only(default_factory=_absent)
    requires: list[str] = _read_only()
    required_by: list[str] = _read_only()
    failures: int = _read_only()
    circuit: str = _read_only()
    isolated: bool = _read_only()
    processes: PluginServing = _read_only()


class PaginatedExtendedPluginConfigList(PluginPage):
    """A page of plugins, with their states."""

    results: list[ExtendedPluginConfig]


class ExtendedPluginSetting(PluginSetting):
    """A setting with the data for a form. The default of a protected setting is null."""

    protected: bool = _read_only()
    hidden: bool = _read_only()
    locked: bool = _read_only()
    layer: str = _read_only()
    default: str | None = _read_only(default_factory=_absent)
    schema_: dict[str, Any] = _read_only(alias="schema")


class ExtendedPluginUserSetting(ExtendedPluginSetting):
    """A setting with a value for each user, with the data for a form."""

    user: int = _read_only(description="The user")


class PaginatedExtendedPluginSettingList(PluginPage):
    """A page of the settings of all plugins, with the data for forms."""

    results: list[SerializeAsAny[ExtendedPluginSetting]]


EXTENDED: Final[Mapping[type[Model] | None, type[Model]]] = MappingProxyType(
    {
        PluginConfig: ExtendedPluginConfig,
        PaginatedPluginConfigList: PaginatedExtendedPluginConfigList,
        PluginSetting: ExtendedPluginSetting,
        PluginUserSetting: ExtendedPluginUserSetting,
        PaginatedPluginSettingList: PaginatedExtendedPluginSettingList,
    }
)
"""The models of answers that have more fields in the extended API."""


class PluginRepairAction(Model):
    """Something that can be done about a repair."""

    name: str
    label: str
    command: str | None
    url: str | None


class PluginRepair(Model):
    """Something that is wrong with plugins."""

    code: str
    severity: str
    slug: str | None
    title: str
    text: str
    actions: list[PluginRepairAction]


class PluginProcess(Model):
    """A process that shares the storage, by its last heartbeat."""

    name: str
    pid: int
    host: str
    generation: int
    active: list[str]
    errors: int
    seen: datetime
    since: datetime
    narrowed: bool


class PluginProcessFailure(Model):
    """A failure of a plugin in a process."""

    stage: str
    name: str = Field(validation_alias=AliasChoices("name", "slug"))
    message: str
    exception_type: str | None
    traceback: str
    first_seen: datetime
    last_seen: datetime
    count: int
    process: str
    pid: int
    host: str
    is_running: bool


class PluginChange(Model):
    """A distribution that an installation would add, change or remove."""

    name: str
    kind: str
    before: str | None
    after: str | None
    source: str | None
    sha256: str | None
    size: int | None
    plugins: list[str]


class PluginAuditEntry(Model):
    """An attempt to change installed distributions."""

    when: datetime
    actor: str | None
    action: str
    requirement: str
    distribution: str | None
    outcome: str
    reasons: list[str]
    seconds: float
    changes: list[PluginChange]


class PluginRefusal(Model):
    """A reason that forbids a plan."""

    rule: str
    reason: str


class PluginPlan(Model):
    """The changes that an installation would make."""

    requirement: str
    allowed: bool
    changes: list[PluginChange]
    refusals: list[PluginRefusal]
    plugins: list[str] | None
    scripts: list[str]


class PluginProbe(Model):
    """The contents of a plugin, or how it ended the child process that loaded it."""

    slug: str
    version: str | None
    at: datetime
    outcome: str
    detail: str
    stdout: str
    stderr: str
    seconds: float
    memory: int | None
    mixins: dict[str, str]
    settings: Keys
    user_settings: Keys
    hooks: list[str]
    warnings: list[str]


class PluginSchema(Model):
    """The JSON Schema (2020-12) of a plugin's settings; locked settings are read-only."""

    model_config = ConfigDict(frozen=True, extra="allow")
