"""The objects of the plugin API, named and shaped as its clients know them (behaviour.md, 2 to 12).

The same classes describe bodies and answers. Of a body only the fields count that are not
``readOnly``; others, and fields that are not known, are ignored (section 1.3). The docstrings of
models, and the descriptions of fields, are what clients read in the OpenAPI document.
"""

from __future__ import annotations

import math
from copy import copy
from typing import Annotated, Any, Final

from pydantic import (
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

from plugreg._support.names import has_control_characters
from plugreg._support.strings import CONTROL_CHARACTERS

_TRUE: Final = frozenset({"true", "t", "yes", "y", "on", "1"})
_FALSE: Final = frozenset({"false", "f", "no", "n", "off", "0"})


def _boolean(value: object) -> bool:
    """Read a boolean as section 1.3 says: JSON's own, 0 and 1, and words in any case."""
    if isinstance(value, (bool, int, float)) and value in (0, 1):
        return bool(value)
    word = value.lower() if isinstance(value, str) else ""
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    if value is None:
        raise _NULL
    raise PydanticCustomError("boolean", "Must be a valid boolean.")


def _string(value: object) -> object:
    """Read a text; numbers are taken as such, for forms and JSON are to mean the same."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        value = _text_of_number(value)
    if value is None:
        raise _NULL
    if not isinstance(value, str):
        raise _NOT_A_STRING
    if has_control_characters(value):
        raise PydanticCustomError("control_characters", CONTROL_CHARACTERS)
    return value


def _value(value: object, _: ValidatorFunctionWrapHandler, info: ValidationInfo) -> object:
    """Read the value of a setting: null, a text, or a boolean or number, which become text.

    Where native values are wanted, everything that JSON has is taken as it is.
    """
    # The characters of a text are judged with the setting, which knows where they stand.
    if isinstance(value, (int, float)):
        text = str(value) if isinstance(value, bool) else _text_of_number(value)
        return value if info.context == NATIVE else text
    if value is None or isinstance(value, str):
        return value
    if info.context == NATIVE and isinstance(value, (list, dict)):
        return value
    raise _NOT_A_STRING


def _text_of_number(value: int | float) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        raise _NOT_A_STRING
    try:
        return str(value)
    except ValueError:
        # Python refuses to write out integers of thousands of digits.
        raise PydanticCustomError(
            "too_long", "Ensure this value has at most 2000 characters."
        ) from None


_NULL: Final = PydanticCustomError("null", "This field may not be null.")
_NOT_A_STRING: Final = PydanticCustomError("string", "Not a valid string.")

Boolean = Annotated[bool, BeforeValidator(_boolean)]
String = Annotated[str, BeforeValidator(_string)]
SettingValue = Annotated[str | None, WrapValidator(_value)]

NATIVE: Final = "native"
"""The context of a validation that takes values of settings as they are in JSON."""

PageLink = Annotated[tuple[int, int] | str, WithJsonSchema({"type": "string", "format": "uri"})]
"""Where another page is: (limit, offset) in Python, an address over HTTP."""


def _read_only(**extra: Any) -> Any:
    return Field(json_schema_extra={"readOnly": True}, **extra)


def _absent() -> None:
    """Be the default of fields that may be left out: the document shows none for a factory."""


class Model(BaseModel):
    """The base of all. Objects are frozen; what was not given is left out of the answer."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    def to_json(self) -> dict[str, Any]:
        """Return what JSON can hold of it, without the fields that were not given."""
        return self.model_dump(mode="json", exclude_unset=True)


def _patched(model: type[Model]) -> type[Model]:
    """Return the model of a change: the same fields, none of them required."""
    fields: dict[str, Any] = {}
    for name, declared in model.model_fields.items():
        field = copy(declared)
        if field.is_required():
            field.default_factory = _absent
        fields[name] = (field.annotation, field)
    patched = create_model(
        f"Patched{model.__name__}", __base__=Model, __module__=__name__, **fields
    )
    patched.__doc__ = (
        f"A change, as {model.__name__}. What is left out has its default, or stays as it is."
    )
    return patched


# -- plugins (sections 2, 3, 6, 9, 12, 13) -----------------------------------------------------


class PluginConfig(Model):
    """A plugin that is known. ``active`` is the wish."""

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


class PaginatedPluginConfigList(Model):
    """One page of plugins."""

    count: int
    next: PageLink | None = Field(default_factory=_absent)
    previous: PageLink | None = Field(default_factory=_absent)
    results: list[PluginConfig]


class PluginActivate(Model):
    """Whether a plugin is to be on, or is."""

    active: Boolean = Field(default=True, description="Whether the plugin is to be on")


PatchedPluginActivate = _patched(PluginActivate)


class PluginConfigInstall(Model):
    """What to install."""

    packagename: String = Field(
        default_factory=str, description="The distribution, as a requirement of PEP 508"
    )
    url: String = Field(
        default_factory=str, description="Where it comes from: an index or a repository"
    )
    version: String = Field(default_factory=str, description="Its version; empty for the newest")
    confirm: Boolean = Field(description="That this is really meant")


class PluginUninstall(Model):
    """Whether what is stored of the plugin goes with it."""

    delete_config: Boolean = Field(
        default=True, description="Whether wish, settings and metadata are deleted too"
    )


PatchedPluginUninstall = _patched(PluginUninstall)


class PluginReload(Model):
    """How much is made anew."""

    full_reload: Boolean = Field(default=False, description="Import modules anew")
    force_reload: Boolean = Field(default=False, description="Make every plugin anew")
    collect_plugins: Boolean = Field(default=False, description="Look for new plugins first")


class PluginRegistryError(Model):
    """What went wrong with one plugin."""

    stage: str
    name: str
    message: str


class PluginRegistryStatus(Model):
    """How the registry of the process that answers is doing."""

    active_plugins: int = _read_only()
    registry_errors: list[PluginRegistryError]


class PluginAdminDetail(Model):
    """The script of a plugin's admin panel, and what is handed to it."""

    source: str | None = Field(description="Address of the script")
    context: Any = Field(
        description="What the script is given", json_schema_extra={"nullable": True}
    )


class PluginUIFeature(Model):
    """Something that a plugin shows."""

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
    """What is stored of a plugin for programs; plugreg never reads it."""

    metadata: Any


PatchedMetadata = _patched(Metadata)


# -- settings (sections 4, 5) -------------------------------------------------------------------


class PluginSetting(Model):
    """A setting of a plugin and its value. ``value`` is text, or ``***``."""

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
    """A setting that has one value for each user."""

    user: int = _read_only(description="Whose value it is")


PatchedPluginSetting = _patched(PluginSetting)
PatchedPluginUserSetting = _patched(PluginUserSetting)


class PaginatedPluginSettingList(Model):
    """One page of the settings of all plugins."""

    count: int
    next: PageLink | None = Field(default_factory=_absent)
    previous: PageLink | None = Field(default_factory=_absent)
    results: list[SerializeAsAny[PluginSetting]]
