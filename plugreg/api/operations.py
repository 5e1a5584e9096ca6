"""What an operation is, and the way of a call through it: actor, parameters, object, body."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any, Final, Generic, Protocol, TypeVar, overload

from pydantic import BaseModel, ValidationError, create_model

from plugreg._support.guard import Guard, safe_str
from plugreg._support.names import has_control_characters
from plugreg.api.access import Access, Actor
from plugreg.api.errors import (
    APIError,
    ConflictError,
    InvalidError,
    NotFoundError,
    UnavailableError,
    named,
)
from plugreg.api.models import NATIVE, Model
from plugreg.api.service import Service
from plugreg.exceptions import (
    PluginNotFoundError,
    PlugregError,
    RegistryBusyError,
    RegistryNotReady,
    StorageError,
)
from plugreg.records import PluginRecord
from plugreg.settings.types import without_plugins

T = TypeVar("T")


class HasService(Protocol):
    """What holds the table: a class whose objects have a service."""

    @property
    def service(self) -> Service:
        """The registry behind the operations, and what the host says."""


_NUMBER: Final = re.compile(r"[0-9]{1,19}")
_LARGEST: Final = 10**19 - 1
_BOOLEANS: Final[Mapping[str, bool]] = MappingProxyType(
    {"true": True, "1": True, "false": False, "0": False}
)


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter in the query: its name, the type of its value, and what it is for.

    ``minimum`` is the least number allowed.
    """

    name: str
    type: type[bool | int | str]
    description: str = ""
    minimum: int = 0

    def read(self, given: object) -> bool | int | str | None:
        """Return the value of what was given, which is text over HTTP and may be native in Python.

        None and an empty text say as little as leaving the parameter out. Raises InvalidError.
        """
        given = as_data(given)
        if given is None or given == "":
            return None
        if type(given) is self.type and not isinstance(given, str):
            value: bool | int | str | None = given
        elif not isinstance(given, (str, int)):
            value = None
        elif self.type is bool:
            value = _BOOLEANS.get(str(given).lower()) if _can_be_written(given) else None
        elif self.type is int:
            value = int(given) if isinstance(given, str) and _NUMBER.fullmatch(given) else None
        else:
            is_text = isinstance(given, str) and not has_control_characters(given)
            value = given if is_text else None
        if value is None or (type(value) is int and not self.minimum <= value <= _LARGEST):
            raise InvalidError({self.name: [self._expected]})
        return value

    @property
    def _expected(self) -> str:
        if self.type is bool:
            return "Must be a valid boolean: true, false, 1 or 0."
        if self.type is int:
            return f"Must be a whole number, {self.minimum} or more."
        return "Must be text without control characters."


@dataclass(frozen=True, kw_only=True)
class Operation(Generic[T]):
    """One row of the table of operations.

    ``id`` is the name of the attribute that holds the row. ``path`` has its parameters in braces.
    ``access`` is the rule, ``status`` the status code of success. ``query`` are the parameters,
    and where ``any_query`` is True all others are taken too. ``body`` and ``answer`` are models or
    None, ``many`` says that a list of ``answer`` is given, ``body_required`` that a body must be
    sent. ``in_turn`` says that it takes its turn with loads and reloads, and is refused with 409
    if that takes too long. ``handler`` is given the :class:`Call` and gives the answer.
    """

    method: str
    path: str
    access: Access
    summary: str
    handler: Callable[[Call], T]
    answer: type[Model] | None
    many: bool = False
    status: int = 200
    query: tuple[Parameter, ...] = ()
    any_query: bool = False
    body: type[Model] | None = None
    body_required: bool = False
    in_turn: bool = False
    id: str = ""

    def __set_name__(self, owner: type, name: str) -> None:
        object.__setattr__(self, "id", name)

    @overload
    def __get__(self, api: None, owner: type) -> Operation[T]: ...
    @overload
    def __get__(self, api: HasService, owner: type) -> BoundOperation[T]: ...
    def __get__(self, api: HasService | None, owner: type) -> Operation[T] | BoundOperation[T]:
        return self if api is None else BoundOperation(self, api.service)

    @cached_property
    def path_parameters(self) -> tuple[str, ...]:
        """The names in braces, in the order of the path."""
        return tuple(re.findall(r"{(\w+)}", self.path))

    @cached_property
    def input(self) -> type[BaseModel]:
        """The fields of ``body`` that a caller may write."""
        assert self.body is not None
        fields: dict[str, Any] = {
            name: (field.annotation, field)
            for name, field in self.body.model_fields.items()
            if not (isinstance(extra := field.json_schema_extra, dict) and extra.get("readOnly"))
        }
        with without_plugins():
            return create_model(f"{self.body.__name__}Input", **fields)


@dataclass(frozen=True, slots=True)
class BoundOperation(Generic[T]):
    """An operation of one PluginAPI, to be called."""

    operation: Operation[T]
    service: Service

    def __call__(self, actor: Actor | None = None, *, body: Any = None, **parameters: Any) -> T:
        """Carry the operation out for ``actor`` and return its answer.

        Path and query parameters are given by name, the body as a mapping or as its model. Raises
        an APIError for what is refused, in this order: the actor, the parameters, the plugin or
        setting, the body. Raises TypeError for a parameter that the operation does not have.
        """
        operation = self.operation
        known = {*operation.path_parameters, *(each.name for each in operation.query)}
        unknown = set() if operation.any_query else parameters.keys() - known
        missing = [each for each in operation.path_parameters if each not in parameters]
        if unknown or missing:
            fault = f"got {sorted(unknown)}" if unknown else f"lacks {missing}"
            raise TypeError(f"{operation.id}() {fault}; its parameters are {sorted(known)}")
        # A body that can be called is as wrong as any other that is no mapping.
        return self.run(actor, parameters, lambda: body)

    def run(
        self, actor: Actor | None, parameters: Mapping[str, Any], body: Any, *, form: bool = False
    ) -> T:
        """Carry it out; ``form`` says that the body was sent as a form.

        ``body`` may be a function that gives it, called no earlier than its turn comes.
        """
        operation = self.operation
        try:
            actor = operation.access.check(actor)
            query = {each.name: each.read(parameters.get(each.name)) for each in operation.query}
            answer = operation.handler(
                Call(
                    service=self.service,
                    operation=operation,
                    actor=actor,
                    parameters=parameters,
                    query=query,
                    body=body,
                    form=form,
                )
            )
        except APIError:
            raise
        except PlugregError as error:
            if isinstance(error, StorageError):
                # The client is not shown the cause, and an operator needs it.
                self.service.note_failure(error, operation.id)
            raise refusal_of(error) from None
        self.service.note_success(operation.id, is_change=operation.method != "GET")
        return answer


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """One call of an operation by an actor who may.

    ``parameters`` are those of path and query as they came, ``query`` the values of the declared
    ones, None where not given. ``body`` is not looked at before :meth:`fields` is asked for.
    """

    service: Service
    operation: Operation[Any]
    actor: Actor
    parameters: Mapping[str, Any]
    query: Mapping[str, Any]
    body: Any
    form: bool

    @property
    def slug(self) -> str:
        """The plugin in the path, as it was given, and so of any length."""
        return safe_str(self.parameters["plugin"])

    def plugin(self) -> PluginRecord:
        """Return the record of the plugin in the path. Raises NotFoundError."""
        try:
            return self.service.registry.get(self.slug)
        except PluginNotFoundError as error:
            raise refusal_of(error) from None

    def fields(self) -> Mapping[str, Any]:
        """Return the fields of the body that were given, read; defaults count as given.

        Raises InvalidError with all that is wrong, by field.
        """
        given = self.body() if callable(self.body) else self.body
        body = {} if given is None else as_data(given)
        if not isinstance(body, dict):
            # The class may have a metaclass of its own, which would be asked for its name.
            kind = safe_str(type.__dict__["__name__"].__get__(type(given)))
            raise InvalidError(
                {"non_field_errors": [f"Invalid data. Expected a dictionary, but got {kind}."]}
            )
        fields = self.operation.input.model_fields
        # Other keys than texts may be compared with a name in any way.
        named_in = {name: value for name, value in body.items() if type(name) is str}
        given = {name: as_data(named_in[name]) for name in fields if name in named_in}
        if self.form:
            # A form does not send a box that was not ticked.
            given = {
                **{n: False for n, f in fields.items() if f.annotation is bool and f.is_required()},
                **given,
            }
        try:
            context = NATIVE if self.service.native_values else None
            read = self.operation.input.model_validate(given, context=context)
        except ValidationError as error:
            raise InvalidError(_sentences(error)) from None
        return {
            name: getattr(read, name)
            for name, field in fields.items()
            if name in given or field.default_factory is None
        }


def as_data(given: object) -> object:
    """Return what a caller in Python gave as plain data, whose methods do what they say.

    That is a text, number, boolean, list or dict, or None; a model is a dict of the fields that it
    was given. What is neither of these, or fails, is an object that is equal to nothing. What is
    inside lists and dicts stays as it is.
    """
    kind = type(given)
    if given is None or kind in (bool, int, float, str, list, dict):
        return given
    with Guard():
        # The methods of the built-in types are called, not those of the object.
        for plain, copied in _COPIED.items():
            if issubclass(kind, plain):
                return copied(given)
    return object()


def _fields_set(model: BaseModel) -> dict[str, Any]:
    return {name: value for name, value in model if name in model.model_fields_set}


_COPIED: Final[Mapping[type, Callable[[Any], object]]] = MappingProxyType(
    {
        str: str.__str__,
        int: int.__int__,
        float: float.__float__,
        list: list.copy,
        BaseModel: _fields_set,
        Mapping: dict,
    }
)


def _can_be_written(given: object) -> bool:
    # Python refuses to write out an integer of thousands of digits.
    return isinstance(given, str) or given in (0, 1)


def _sentences(error: ValidationError) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for each in error.errors(include_input=False, include_url=False, include_context=False):
        field = str(each["loc"][0]) if each["loc"] else "non_field_errors"
        sentence = "This field is required." if each["type"] == "missing" else each["msg"]
        found.setdefault(field, []).append(sentence)
    return found


def refusal_of(error: PlugregError) -> APIError:
    """Return what to raise for an error of plugreg's own that no handler has expected."""
    if isinstance(error, PluginNotFoundError):
        # It was there when the operation began.
        return NotFoundError(f"Plugin '{named(error.slug)}' not found")
    if isinstance(error, RegistryBusyError):
        return ConflictError("Plugin registry is currently loading")
    if isinstance(error, RegistryNotReady):
        return UnavailableError("Plugin registry is not loaded")
    if isinstance(error, StorageError):
        # Its own words name files and hosts, which are no business of a client's.
        return UnavailableError("Plugin storage is not available")
    # What is left speaks of what was asked for, in words for people.
    return InvalidError({"non_field_errors": [str(error)]})
