"""Values with named fields: frozen dataclasses and named tuples without their price at import.

A frozen dataclass with slots compiles six methods and makes its class twice, ``typing.NamedTuple``
compiles each annotation and a constructor. That takes as long as importing a module, and a start
needs dozens of them. The classes here share methods that read the fields. The functions of
``dataclasses`` for objects work: ``fields``, ``replace``, ``asdict``, ``is_dataclass``.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, Field, FrozenInstanceError, dataclass, field
from itertools import count
from operator import attrgetter
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Final,
    NoReturn,
    Self,
    TypeVar,
    dataclass_transform,
)

from plugreg._support import lazy

__all__ = ["Frozen", "FrozenType", "NamedTuple", "arguments", "replace"]

if TYPE_CHECKING:
    T = TypeVar("T", bound="Frozen")

_MANY: Final = 32
"""Number of objects of a class after which compiling a constructor pays off."""

_set = object.__setattr__


def replace(value: T, /, **changes: Any) -> T:
    """Return a copy of a value with other contents of some fields.

    Args:
        value: The value.
        changes: The fields that differ.
    """
    return value.__replace__(**changes)


def arguments(value: Frozen) -> dict[str, Any]:
    """Return the fields that are arguments of the class, in their order.

    Args:
        value: The value.
    """
    return {name: getattr(value, name) for name in value._shape.accepted}


class _Shape:
    """The fields of a class in order, with their values in the class body."""

    def __init__(self, annotations: Mapping[str, str], given: Mapping[str, Any]) -> None:
        self.annotations = annotations
        self.given = given
        self.made = 0
        self.dataclass: Any = None

    @lazy
    def defaults(self) -> dict[str, Any]:
        """The default values of fields."""
        values = {
            name: value.default if type(value) is Field else value
            for name, value in self.given.items()
        }
        return {name: value for name, value in values.items() if value is not MISSING}

    @lazy
    def factories(self) -> dict[str, Callable[[], Any]]:
        """The functions that make a new default value for each object."""
        fields = {name: value for name, value in self.given.items() if type(value) is Field}
        return {
            name: field.default_factory
            for name, field in fields.items()
            if field.default_factory is not MISSING
        }

    @lazy
    def accepted(self) -> dict[str, None]:
        """The arguments of the class, in their order."""
        return dict.fromkeys(self.names("init"))

    @lazy
    def compared(self) -> Callable[[Any], Any]:
        """Function that returns the values that are compared."""
        return self._getter("compare")

    @lazy
    def hashed(self) -> Callable[[Any], Any]:
        """Function that returns the values that are hashed."""
        return self._getter("hash")

    def names(self, purpose: str) -> tuple[str, ...]:
        """Return the fields that serve a purpose: ``init``, ``repr``, ``compare`` or ``hash``."""
        found = []
        for name in self.annotations:
            given: Any = self.given.get(name)
            serves = getattr(given, purpose) if isinstance(given, Field) else True
            # The hash uses the compared fields, unless a field states otherwise.
            if serves or (serves is None and given.compare):
                found.append(name)
        return tuple(found)

    def _getter(self, purpose: str) -> Callable[[Any], Any]:
        """Return a function that returns the values of these fields."""
        names = self.names(purpose)
        return attrgetter(*names) if names else _no_values


def _no_values(_: object) -> tuple[()]:
    return ()


class _OfDataclass:
    """An attribute that a class shares with a dataclass of the same fields."""

    def __init__(self, read: Callable[[Any], Any]) -> None:
        self._read = read

    def __get__(self, instance: object, owner: FrozenType) -> Any:
        return self._read(owner.as_dataclass())


def _signature(cls: Any) -> Any:
    import inspect

    return inspect.signature(cls)


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(field,))
class FrozenType(type):
    """Creates the subclasses of `Frozen`: annotations become slots, and their values defaults.

    The options in the head of such a class are those of ``dataclass``. With ``frozen=False`` its
    objects can be filled, and become a frozen class's if that has the same bases and fields.
    """

    _shape: _Shape
    _options: Mapping[str, bool]
    __post_init__: Callable[[Any], None]

    def __new__(
        cls,
        name: str,
        bases: tuple[type, ...],
        namespace: dict[str, Any],
        *,
        kw_only: bool = True,
        eq: bool = True,
        frozen: bool = True,
    ) -> FrozenType:
        annotations = {
            key: annotation
            for key, annotation in namespace.get("__annotations__", {}).items()
            if "ClassVar" not in str(annotation)
        }
        given = {key: namespace.pop(key) for key in annotations if key in namespace}
        namespace["__slots__"] = tuple(annotations)
        for base in bases:
            if isinstance(base, FrozenType):
                annotations = {**base._shape.annotations, **annotations}
                given = {**base._shape.given, **given}
        namespace["_shape"] = shape = _Shape(annotations, given)
        namespace["_options"] = {"kw_only": kw_only, "eq": eq}
        namespace["__match_args__"] = () if kw_only else shape.names("init")
        # Each class has its own entry, which a compiled constructor may replace.
        namespace.setdefault("__init__", _construct)
        if not eq:
            namespace |= {"__eq__": object.__eq__, "__hash__": object.__hash__}
        if not frozen:
            namespace |= {"__setattr__": object.__setattr__, "__delattr__": object.__delattr__}
        return super().__new__(cls, name, bases, namespace)

    def as_dataclass(cls) -> Any:
        """Return a dataclass with the same fields and the same ``__post_init__``."""
        shape = cls._shape
        if shape.dataclass is None:
            namespace = {
                **shape.given,
                "__annotations__": dict(shape.annotations),
                "__module__": cls.__module__,
                "__qualname__": cls.__qualname__,
            }
            if cls.__post_init__ is not Frozen.__post_init__:
                namespace["__post_init__"] = cls.__post_init__
            plain = type(cls.__name__, (), namespace)
            shape.dataclass = dataclass(frozen=True, slots=True, **cls._options)(plain)
        return shape.dataclass


def _construct(self: Frozen, /, *args: Any, **named: Any) -> None:
    cls = type(self)
    shape = cls._shape
    values = {**shape.defaults, **named}
    for name, make in shape.factories.items():
        if name not in named:
            values[name] = make()
    shape.made += 1
    are_right = len(values) == len(shape.annotations) and named.keys() <= shape.accepted.keys()
    if are_right and not args and shape.made < _MANY:
        for name, value in values.items():
            _set(self, name, value)
        self.__post_init__()
        return
    # If arguments are wrong, this constructor raises TypeError and names them.
    construct = _compiled(cls)
    if shape.made >= _MANY:
        type.__setattr__(cls, "__init__", construct)
    construct(self, *args, **named)


def _compiled(cls: FrozenType) -> Callable[..., None]:
    """Compile the constructor that a dataclass of the same fields has."""
    shape = cls._shape
    parameters, body = ["self"], ["pass"]
    if cls._options["kw_only"] and shape.accepted:
        parameters.append("*")
    names: dict[str, Any] = {}
    for number, name in enumerate(shape.annotations):
        value, default, make = name, f"_default_{number}", shape.factories.get(name)
        names[f"_set_{number}"] = getattr(cls, name).__set__
        if make is not None:
            names[default] = make
            value = f"{default}() if {name} is {default} else {name}"
        elif name in shape.defaults:
            names[default] = shape.defaults[name]
        if name in shape.accepted:
            parameters.append(f"{name}={default}" if default in names else name)
        elif default in names:
            value = f"{default}()" if make is not None else default
        else:
            continue
        body.append(f"_set_{number}(self, {value})")
    if cls.__post_init__ is not Frozen.__post_init__:
        body.append("self.__post_init__()")
    # Only names of fields, which plugreg has chosen, are in the source.
    source = f"def __init__({', '.join(parameters)}):\n" + "".join(f"    {line}\n" for line in body)
    exec(compile(source, f"<{__name__}>", "exec"), names)  # noqa: S102
    construct: Callable[..., None] = names["__init__"]
    construct.__qualname__ = f"{cls.__qualname__}.__init__"
    return construct


class Frozen(metaclass=FrozenType):
    """Base of immutable values, whose fields are the annotations of the class.

    Two objects are equal if they have the same class and equal fields. They can be pickled, copied
    and, unless a field cannot, hashed. Arguments are given by name.
    """

    _shape: ClassVar[_Shape]
    __dataclass_fields__ = _OfDataclass(lambda cls: cls.__dataclass_fields__)
    __dataclass_params__ = _OfDataclass(lambda cls: cls.__dataclass_params__)
    __signature__ = _OfDataclass(_signature)

    def __post_init__(self) -> None:
        """Check or complete the fields, where a class does that."""

    def __repr__(self) -> str:
        fields = [f"{name}={getattr(self, name)!r}" for name in self._shape.names("repr")]
        return f"{type(self).__qualname__}({', '.join(fields)})"

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        values = self._shape.compared
        return bool(values(self) == values(other))

    def __hash__(self) -> int:
        return hash(self._shape.hashed(self))

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise FrozenInstanceError(f"cannot assign to field {name!r}")

    def __delattr__(self, name: str) -> NoReturn:
        raise FrozenInstanceError(f"cannot delete field {name!r}")

    def __getstate__(self) -> list[Any]:
        return [getattr(self, name) for name in self._shape.annotations]

    def __setstate__(self, state: list[Any]) -> None:
        for name, value in zip(self._shape.annotations, state, strict=True):
            _set(self, name, value)

    def __replace__(self, **changes: Any) -> Self:
        return type(self)(**arguments(self) | changes)


# -- named tuples ----------------------------------------------------------------------------

if TYPE_CHECKING:
    from typing import NamedTuple
else:

    class _NamedTupleType(type):
        """Creates the subclasses of `NamedTuple`: annotations are fields of the tuple."""

        def __new__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> type:
            names = tuple(namespace.get("__annotations__", ()))
            namespace["_field_defaults"] = {n: namespace[n] for n in names if n in namespace}
            namespace["_made"] = count()
            for place, field in enumerate(names):
                # As in collections.
                namespace[field] = collections._tuplegetter(place, f"Field number {place}")
            namespace |= {"_fields": names, "__match_args__": names, "__slots__": ()}
            return super().__new__(cls, name, bases, namespace)

    class NamedTuple(tuple, metaclass=_NamedTupleType):
        """Base of named tuples."""

        def __new__(cls, /, *values: Any, **named: Any) -> Self:
            names = cls._fields
            if next(cls._made) >= _MANY:
                same = collections.namedtuple(
                    cls.__name__, names, defaults=cls._field_defaults.values()
                )
                cls.__new__ = staticmethod(same.__new__)
                return cls(*values, **named)
            if named or len(values) != len(names):
                fields = cls._field_defaults | dict(zip(names, values, strict=False)) | named
                is_doubled = not named.keys().isdisjoint(names[: len(values)])
                if len(values) > len(names) or is_doubled or fields.keys() != set(names):
                    raise TypeError(f"{cls.__name__} takes the arguments {', '.join(names)}")
                values = [fields[name] for name in names]
            return tuple.__new__(cls, values)

        @classmethod
        def _make(cls, values: Iterable[Any]) -> Self:
            return cls(*values)

        def _replace(self, /, **changes: Any) -> Self:
            return type(self)(**self._asdict() | changes)

        __replace__ = _replace

        def _asdict(self) -> dict[str, Any]:
            return dict(zip(self._fields, self, strict=True))

        def __getnewargs__(self) -> tuple[Any, ...]:
            return tuple(self)

        def __repr__(self) -> str:
            fields = [f"{name}={value!r}" for name, value in self._asdict().items()]
            return f"{type(self).__name__}({', '.join(fields)})"
