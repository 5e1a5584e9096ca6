"""Forms from settings: making a field for each setting, and reading submitted values."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal

from plugreg._support.frozen import Frozen, replace

FieldKind = Literal["checkbox", "select", "number", "text", "textarea", "lines", "boxes", "json"]
"""How a field is shown: ``lines`` has an item in each line, ``boxes`` a box for each item."""

LONG: Final = 80
"""Length from which a string is edited in several lines."""

_FORMATS: Final = ("date", "time", "email", "uri")


class Field(Frozen):
    """A setting as a form shows it. The value of a protected setting is never in it.

    Attributes:
        setting: The setting, as the extended API shows it.
        kind: How it is shown.
        value: String to show, as it is or as it was sent.
        shown: String of the stored value, with which the form detects changes.
        choices: Pairs of value and label.
        items: Items of a list.
        attributes: Attributes of the input, such as ``min``.
        errors: Errors of the submitted value.
    """

    setting: Any
    kind: FieldKind
    value: str
    shown: str
    choices: tuple[tuple[str, str], ...] = ()
    items: tuple[str, ...] = ()
    attributes: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    errors: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Key of the setting, which is the name of its field."""
        return str(self.setting.key)


def make_field(setting: Any) -> Field:
    """Return the field of a setting.

    Args:
        setting: The setting, as the extended API shows it.
    """
    schema = _plain(setting.schema_)
    choices = tuple(
        (str(c["value"]), str(c["display_name"] or c["value"])) for c in setting.choices
    )
    text = "" if setting.value is None else str(setting.value)
    kind = _kind(schema, choices, text, is_protected=setting.protected)
    shown = "" if setting.protected else text
    return Field(
        setting=setting,
        kind=kind,
        value=shown,
        shown=shown,
        choices=_boxes(schema) if kind == "boxes" else choices,
        items=_items(shown) if kind in ("lines", "boxes") else (),
        attributes=_attributes(schema, kind, is_protected=setting.protected),
    )


def changes_of(fields: Iterable[Field], sent: Mapping[str, str]) -> dict[str, str]:
    """Return the values that a form changes, by key, as strings of the API.

    A field that was not changed is left out, so that a change that another operator has made
    meanwhile stays. An empty field of a protected setting changes nothing.

    Args:
        fields: The fields of the form.
        sent: The submitted values.
    """
    changed = {}
    for field in fields:
        if field.setting.locked or not _was_sent(field, sent):
            continue
        value = _value(field, sent)
        before = sent.get(f"was:{field.key}", field.shown)
        if value != before and not (field.setting.protected and not value):
            changed[field.key] = value
    return changed


def with_sent(field: Field, sent: Mapping[str, str], errors: Sequence[str]) -> Field:
    """Return a field with its submitted value and its errors.

    Args:
        field: The field with the stored value.
        sent: The submitted values.
        errors: Errors of the value.
    """
    if field.setting.locked or field.setting.protected or not _was_sent(field, sent):
        return replace(field, errors=tuple(errors))
    value = _value(field, sent)
    items = tuple(sent.get(field.key, "").splitlines()) if field.kind == "lines" else _items(value)
    shown = sent.get(f"was:{field.key}", field.shown)
    # A number field would not show an invalid number.
    attributes = {"type": "text"} if field.kind == "number" else field.attributes
    return replace(
        field, value=value, items=items, shown=shown, attributes=attributes, errors=tuple(errors)
    )


def _was_sent(field: Field, sent: Mapping[str, str]) -> bool:
    return field.key in sent or f"was:{field.key}" in sent


def _value(field: Field, sent: Mapping[str, str]) -> str:
    value = sent.get(field.key, "")
    if field.kind == "checkbox":
        return "True" if value else "False"
    if field.kind == "boxes":
        chosen = [item for item, _ in field.choices if f"{field.key}:{item}" in sent]
        return json.dumps(chosen, ensure_ascii=False)
    if field.kind == "lines":
        lines = [line.strip() for line in value.splitlines() if line.strip()]
        return json.dumps(lines, ensure_ascii=False)
    # Browsers end lines with CR LF.
    return value.replace("\r\n", "\n")


# -- the kinds --------------------------------------------------------------------------------


def _plain(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the schema of the only type beside null, if a value may be absent."""
    branches = [branch for branch in schema.get("anyOf", ()) if branch.get("type") != "null"]
    return {**schema, **branches[0]} if len(branches) == 1 else schema


def _kind(
    schema: Mapping[str, Any], choices: Sequence[Any], text: str, *, is_protected: bool
) -> FieldKind:
    if is_protected:
        return "text"
    if choices:
        return "select"
    kind = schema.get("type")
    if kind == "boolean":
        return "checkbox"
    if kind in ("integer", "number"):
        return "number"
    if kind == "array":
        items = schema.get("items") or {}
        if items.get("type") == "string":
            return "boxes" if items.get("enum") else "lines"
        return "json"
    if kind in (None, "object") and schema.get("type") != "string":
        return "json" if kind == "object" or "$ref" in schema else "text"
    return "textarea" if "\n" in text or len(text) > LONG else "text"


def _boxes(schema: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple((item, item) for item in schema["items"]["enum"])


def _items(text: str) -> tuple[str, ...]:
    try:
        found = json.loads(text) if text else []
    except ValueError:
        return ()
    return tuple(map(str, found)) if isinstance(found, list) else ()


def _attributes(
    schema: Mapping[str, Any], kind: FieldKind, *, is_protected: bool
) -> dict[str, Any]:
    if is_protected:
        return {"type": "password", "autocomplete": "new-password"}
    if kind == "number":
        step = 1 if schema.get("type") == "integer" else schema.get("multipleOf", "any")
        found = {"type": "number", "min": schema.get("minimum"), "max": schema.get("maximum")}
        return {name: value for name, value in {**found, "step": step}.items() if value is not None}
    if kind in ("text", "textarea"):
        given = schema.get("format")
        format_of = {"uri": "url"}.get(str(given), given) if given in _FORMATS else None
        found = {"type": format_of or "text", "maxlength": schema.get("maxLength")}
        if kind == "textarea":
            del found["type"]
        return {name: value for name, value in found.items() if value is not None}
    return {}
