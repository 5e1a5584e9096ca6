"""Operations: the service behind them, a row of the table, and its call."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any, ClassVar, Final, Generic, NamedTuple, TypeAlias, TypeVar, cast, overload

from pydantic import BaseModel, ValidationError, create_model
from pydantic.fields import FieldInfo

from plugreg import exceptions
from plugreg._support.guard import Guard, plain, safe_str
from plugreg._support.outages import Outage
from plugreg._support.slugs import has_control_characters
from plugreg.api import errors
from plugreg.api.access import Access, Actor
from plugreg.api.models import Model, make_patched
from plugreg.install.exceptions import InstallBusyError
from plugreg.records import PluginRecord
from plugreg.registry import PluginRegistry
from plugreg.settings.types import without_plugins

T = TypeVar("T")
M = TypeVar("M", bound=Model)
Rows = TypeVar("Rows", bound=Sequence[Any])

_logger = logging.getLogger("plugreg")
_ORIGIN: Final = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#\s@A-Z]+")
_NUMBER: Final = re.compile(r"[0-9]{1,19}")
_LARGEST: Final = 10**19 - 1
_BOOLEANS: Final[Mapping[object, bool]] = MappingProxyType(
    {"true": True, "1": True, 1: True, "false": False, "0": False, 0: False}
)


@dataclass(frozen=True, eq=False, repr=False)
class Service:
    """The registry behind the operations, and the options of the host.

    Serves many threads; the options never change. `PluginAPI` describes each of them.

    Raises:
        ValueError: If no browser would send an origin.
    """

    operations: ClassVar[tuple[Operation[Any], ...]] = ()
    """The rows of the class, in the order of the paths; rows of a subclass come last."""

    registry: PluginRegistry
    _: KW_ONLY
    model_url: Callable[[str], str | None] | None = None
    settings_url: Callable[[PluginRecord], str | None] | None = None
    native_values: bool = False
    bare_list_without_limit: bool = False
    public_assets: bool = False
    trusted_origins: Collection[str] = ()
    probe: bool = True
    extended: bool = False
    outage: Outage = field(
        default_factory=lambda: Outage(
            "an operation was answered with 503, because the storage failed",
            "an operation that the storage had failed was carried out again",
        ),
        init=False,
    )
    damage: set[tuple[str, str]] = field(default_factory=set, init=False)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        attributes: dict[str, Any] = {}
        for base in reversed(cls.__mro__):
            attributes |= vars(base)
        cls.operations = tuple(row for row in attributes.values() if isinstance(row, Operation))

    def __post_init__(self) -> None:
        for origin in self.trusted_origins:
            if origin != "*" and not _ORIGIN.fullmatch(origin):
                raise ValueError(
                    f"trusted_origins: {origin!r} is not an origin; "
                    f"write scheme, host and port, as 'https://shop.example', or '*'"
                )

    def note_failure(self, error: exceptions.StorageError, operation: str) -> None:
        """Log the cause of a 503, once for each outage and damaged record.

        Args:
            error: The failure of the storage.
            operation: The id of the operation.
        """
        if not isinstance(error, exceptions.RecordCorruptError):
            self.outage.failed(error, operation)
        elif (error.table, error.key) not in self.damage:
            # The storage works: a damaged record neither begins nor ends an outage.
            self.damage.add((error.table, error.key))
            _logger.warning("an operation was answered with 503: %s", error)

    @staticmethod
    def url_of(option: Callable[[T], str | None] | None, subject: T | None) -> str | None:
        """Return the address that an option of the host has for a subject, or None.

        Args:
            option: The function, or None. An exception that it raises counts as no address.
            subject: The subject. None has no address.
        """
        if option is not None and subject is not None:
            with Guard():
                url = option(subject)
                return None if url is None else plain(url)
        return None


class Parameter(NamedTuple):
    """Parameter of the query.

    Attributes:
        name: Its name.
        type: The type of its value.
        description: Its purpose, in the OpenAPI document.
        minimum: The least number allowed.
    """

    name: str
    type: type[bool | int | str]
    description: str = ""
    minimum: int = 0

    def read(self, given: object) -> bool | int | str | None:
        """Return the value of a parameter, None if it is absent, None or empty.

        Args:
            given: The string of the query, or in Python a value of the type.

        Raises:
            InvalidError: If it cannot be read as a value of the type.
        """
        if given is None or given == "":
            return None
        value: bool | int | str | None = None
        if self.type is bool:
            if isinstance(given, (str, int)):
                value = _BOOLEANS.get(given.lower() if isinstance(given, str) else given)
            fault = "Must be a valid boolean: true, false, 1 or 0."
        elif self.type is int:
            number = int(given) if isinstance(given, str) and _NUMBER.fullmatch(given) else given
            if type(number) is int and self.minimum <= number <= _LARGEST:
                value = number
            fault = f"Must be a whole number, {self.minimum} or more."
        else:
            if isinstance(given, str) and not has_control_characters(given):
                value = given
            fault = "Must be text without control characters."
        if value is None:
            raise errors.InvalidError({self.name: [fault]})
        return value


PAGING: Final = (
    Parameter("limit", int, "The most rows to return; all without it", minimum=1),
    Parameter("offset", int, "The number of rows to skip"),
)


@dataclass(frozen=True)
class Operation(Generic[T]):
    """Row of the table of operations, and a method of the objects of its class.

    Args:
        method: The HTTP method.
        path: The path, with its parameters in braces.
        access: The access rule.
        summary: Its purpose, in the OpenAPI document.
        handler: Carries a call out and returns the answer.
        answer: The model of the answer, None for an empty answer.
        many: Whether the answer is a list of *answer*.
        status: The status code of success.
        query: The parameters of the query.
        any_query: Whether other parameters are accepted as well.
        body: The model of the body, None for no body.
        body_required: Whether a body must be sent.
        in_turn: Whether the operation waits for loads and reloads. It is refused with 409 if
            that takes too long.
        id: The name of the attribute that holds the row; set by the class.
    """

    method: str
    path: str
    access: Access
    summary: str
    handler: Callable[[OperationCall], T]
    answer: type[Model] | None
    _: KW_ONLY
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
    def __get__(self, api: Service, owner: type) -> BoundOperation[T]: ...
    def __get__(self, api: Service | None, owner: type) -> Operation[T] | BoundOperation[T]:
        return self if api is None else BoundOperation(self, api)

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


Handler: TypeAlias = "Callable[[OperationCall], T]"


def operation(
    method: str, path: str, access: Access, answer: type[Model] | None, **options: Any
) -> Callable[[Handler[T]], Operation[T]]:
    """Return a decorator that makes a row of a handler.

    The first line of the handler's docstring is the summary.

    Args:
        method: The HTTP method.
        path: The path, with its parameters in braces.
        access: The access rule.
        answer: The model of the answer, None for an empty answer.
        **options: The other arguments of :class:`Operation`.
    """

    def make_row(handler: Handler[T]) -> Operation[T]:
        # Python drops docstrings on request (-OO).
        summary = (handler.__doc__ or handler.__name__).partition("\n")[0]
        return Operation(method, path, access, summary, handler, answer, **options)

    return make_row


def update_operation(
    path: str, access: Access, model: type[Model], **options: Any
) -> Callable[[Handler[T]], tuple[Operation[T], Operation[T]]]:
    """Return a decorator that makes the rows for PATCH and PUT of a handler.

    Args:
        path: The path, with its parameters in braces.
        access: The access rule.
        model: The model of the body of PUT and of the answers; PATCH requires none of its
            fields. PUT must have a body if a field has no default.
        **options: The other arguments of :class:`Operation`.
    """

    def make_rows(handler: Handler[T]) -> tuple[Operation[T], Operation[T]]:
        body = make_patched(model)
        patch = operation("PATCH", path, access, model, body=body, **options)(handler)
        is_required = any(field.is_required() for field in model.model_fields.values())
        return patch, replace(patch, method="PUT", body=model, body_required=is_required)

    return make_rows


@dataclass(frozen=True, slots=True)
class BoundOperation(Generic[T]):
    """An operation of a service, to be called."""

    operation: Operation[T]
    service: Service

    def __call__(self, actor: Actor | None = None, *, body: Any = None, **parameters: Any) -> T:
        """Carry the operation out and return its answer.

        Args:
            actor: The caller; None is anonymous.
            body: A mapping of fields, or the model of the body.
            **parameters: Parameters of path and query by name.

        Raises:
            APIError: If the call is refused. The actor is checked first, then the parameters,
                the plugin or setting, and the body.
            TypeError: If the operation lacks a parameter, or has no such parameter.
        """
        operation = self.operation
        known = {*operation.path_parameters, *(parameter.name for parameter in operation.query)}
        unknown = set() if operation.any_query else parameters.keys() - known
        missing = [name for name in operation.path_parameters if name not in parameters]
        if unknown or missing:
            fault = f"got {sorted(unknown)}" if unknown else f"lacks {missing}"
            raise TypeError(f"{operation.id}() {fault}; its parameters are {sorted(known)}")
        # A body that can be called is as wrong as any other that is no mapping.
        return self.run(actor, parameters, lambda: body)

    def run(
        self,
        actor: Actor | None,
        parameters: Mapping[str, Any],
        body: Callable[[], Any],
        *,
        form: bool = False,
    ) -> T:
        """Carry the operation out and return its answer.

        Args:
            actor: The caller; None is anonymous.
            parameters: Parameters of path and query.
            body: Returns the body. It is called after all other checks.
            form: Whether the body was sent as a form.

        Raises:
            APIError: If the call is refused.
        """
        operation = self.operation
        try:
            actor = operation.access.check(actor)
            query = {
                parameter.name: parameter.read(parameters.get(parameter.name))
                for parameter in operation.query
            }
            answer = operation.handler(
                OperationCall(self.service, operation, actor, parameters, query, body, form)
            )
        except exceptions.PlugregError as error:
            if isinstance(error, exceptions.StorageError):
                # The client is not shown the cause, and an operator needs it.
                self.service.note_failure(error, operation.id)
            raise refusal_of(error) from None
        outage = self.service.outage
        # A read ends the outage in which it failed; a change has needed the storage in any case.
        outage.succeeded(operation.id) if operation.method == "GET" else outage.end()
        return answer


@dataclass(frozen=True, slots=True)
class OperationCall:
    """A call of an operation by an actor that its access rule allows.

    Attributes:
        service: The registry and the options of the host.
        operation: The row of the table.
        actor: The caller.
        parameters: Parameters of path and query as they were sent.
        query: Values of the declared parameters, None for absent parameters.
        body: Returns the body; see :meth:`fields`.
        form: Whether the body was sent as a form.
    """

    service: Service
    operation: Operation[Any]
    actor: Actor
    parameters: Mapping[str, Any]
    query: Mapping[str, Any]
    body: Callable[[], Any]
    form: bool

    @property
    def slug(self) -> str:
        """The plugin in the path as it was sent, of any length."""
        return safe_str(self.parameters["plugin"])

    def plugin(self) -> PluginRecord:
        """Return the record of the plugin in the path.

        Raises:
            PluginNotFoundError: If there is no such plugin, which is answered with 404.
        """
        return self.service.registry.get(self.slug)

    def page(self, rows: Rows) -> tuple[Rows, dict[str, Any]]:
        """Return the rows of the page that limit and offset select; all rows without a limit.

        The operation must have the parameters of :data:`PAGING`.

        Args:
            rows: All rows.

        Returns:
            The rows, and the fields ``count``, ``next`` and ``previous`` of the answer.
        """
        total, limit, offset = len(rows), self.query["limit"], self.query["offset"] or 0
        if limit is None:
            return rows, {"count": total, "next": None, "previous": None}
        following = offset + limit
        links = {
            "next": (limit, following) if following < total else None,
            "previous": (limit, max(offset - limit, 0)) if offset > 0 else None,
        }
        return cast("Rows", rows[offset:following]), {"count": total, **links}

    def answer(
        self,
        model: type[M],  # noqa: ARG002 - it is there for the type that is returned
        fields: Mapping[str, Any],
    ) -> M:
        """Return the answer of the operation: a *model*, or its model with more fields.

        Args:
            model: The model of the operation where the API is not extended.
            fields: The fields. Those that the model does not have are left out.
        """
        assert self.operation.answer is not None
        kind: Any = self.operation.answer
        return cast("M", kind.model_validate(fields, context=self.service.native_values))

    def fields(self) -> Mapping[str, Any]:
        """Return the validated fields of the body that were sent, and the defaults.

        Raises:
            InvalidError: With every fault, by field.
        """
        sent = self.body()
        body = {} if sent is None else sent
        if isinstance(body, BaseModel):
            body = {name: value for name, value in body if name in body.model_fields_set}
        fields = self.operation.input.model_fields
        if self.form and isinstance(body, dict):
            # A form does not send a box that was not ticked.
            named = fields.items()
            boxes = [name for name, item in named if item.annotation is bool and item.is_required()]
            body = dict.fromkeys(boxes, False) | body
        try:
            read = self.operation.input.model_validate(body, context=self.service.native_values)
        except ValidationError as error:
            raise errors.InvalidError(_sentences_of(error, fields)) from None
        return {
            name: getattr(read, name)
            for name, field in fields.items()
            if name in read.model_fields_set or field.default_factory is None
        }


def _sentences_of(error: ValidationError, fields: Mapping[str, FieldInfo]) -> dict[str, list[str]]:
    sentences: dict[str, list[str]] = {}
    for fault in error.errors(include_url=False, include_context=False):
        field = str(fault["loc"][0]) if fault["loc"] else "non_field_errors"
        sentence = fault["msg"]
        if not fault["loc"]:
            kind = type(fault["input"]).__name__
            sentence = f"Invalid data. Expected a dictionary, but got {kind}."
        elif fault["type"] == "missing":
            sentence = "This field is required."
        elif fault["input"] is None:
            sentence = "This field may not be null."
        elif field in fields and fields[field].annotation is bool:
            sentence = "Must be a valid boolean."
        sentences.setdefault(field, []).append(sentence)
    return sentences


def refusal_of(error: exceptions.PlugregError) -> errors.APIError:
    """Return the refusal for an error of plugreg that no handler has caught.

    Args:
        error: The error. A refusal is returned as it is.
    """
    if isinstance(error, errors.APIError):
        return error
    if isinstance(error, exceptions.PluginNotFoundError):
        # It was there when the operation began.
        return errors.NotFoundError(f"Plugin '{errors.shorten_name(error.slug)}' not found")
    if isinstance(error, exceptions.RegistryBusyError):
        return errors.ConflictError("Plugin registry is currently loading")
    if isinstance(error, exceptions.RegistryNotReady):
        return errors.UnavailableError("Plugin registry is not loaded")
    if isinstance(error, exceptions.StorageError):
        # Its message names files and hosts, which clients must not see.
        return errors.UnavailableError("Plugin storage is not available")
    if isinstance(error, InstallBusyError):
        return errors.ConflictError("Another installation is running")
    # The message of any other error is about the request, in words for people.
    reasons = error.reasons if isinstance(error, exceptions.InstallError) else [str(error)]
    return errors.InvalidError({"non_field_errors": reasons})
