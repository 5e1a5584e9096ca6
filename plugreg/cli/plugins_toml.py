"""``plugins.toml``: desired state, versions and settings of plugins, as a file describes them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NoReturn

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from plugreg._support.frozen import NamedTuple
from plugreg.cli.faults import usage

SCHEMA: Final = 1


class Described(NamedTuple):
    """The entry of a plugin in a file.

    Attributes:
        slug: The plugin.
        active: Whether it is wanted, None where the file does not say.
        requirement: Its distribution, as PEP 508 has it, None where the file does not say.
        settings: Values by user (None for the plugin itself), then by upper-case key.
    """

    slug: str
    active: bool | None
    requirement: str | None
    settings: Mapping[int | None, Mapping[str, Any]]


def _with_upper_keys(values: dict[str, Any]) -> dict[str, Any]:
    found = {key.upper(): value for key, value in values.items()}
    if len(found) < len(values):
        raise ValueError("a key stands here twice, in upper and lower case")
    return found


_Values = Annotated[dict[str, Any], AfterValidator(_with_upper_keys)]


class _Plugin(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    active: bool | None = None
    requirement: str | None = None
    settings: _Values = {}
    user_settings: dict[int, _Values] = {}


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    version: Literal[1] = Field(alias="schema")
    plugins: dict[str, _Plugin] = Field(min_length=1)


def read_file(path: str) -> tuple[Described, ...]:
    """Return the plugins that a file describes.

    Args:
        path: The file.

    Raises:
        CommandError: If there is no such file, it is empty, or it is not as plugreg writes it. A
            file that cannot be understood never means that there are no plugins.
    """
    import tomllib

    try:
        data = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        # JSON has neither dates nor infinite numbers.
        file = _File.model_validate_json(json.dumps(data, allow_nan=False, default=_refuse))
    except ValidationError as error:
        first = error.errors()[0]
        reason = f"{path!r}: {'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise usage(reason, "repair it; nothing was changed") from None
    except (OSError, ValueError, TypeError) as error:
        reason = f"{path!r} cannot be read: {error}"
        raise usage(reason, "repair it; nothing was changed") from error
    return tuple(
        Described(slug, plugin.active, plugin.requirement, _by_user(plugin))
        for slug, plugin in file.plugins.items()
    )


def _refuse(value: object) -> NoReturn:
    raise ValueError(f"{value} is no JSON value; write a string")


def _by_user(plugin: _Plugin) -> dict[int | None, dict[str, Any]]:
    found = [(None, plugin.settings), *plugin.user_settings.items()]
    return {user: values for user, values in found if values}


def write_text(plugins: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the contents of a file.

    Args:
        plugins: Tables by slug, as `read_file` reads them.
    """
    import tomli_w

    return tomli_w.dumps({"schema": SCHEMA, "plugins": plugins})
