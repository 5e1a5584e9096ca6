"""Named tuples that are made without compiling anything.

``typing.NamedTuple`` compiles each annotation, and a constructor for each class: as long as
importing a module takes, and a start needs dozens of them. Otherwise the classes are the same.
"""

from __future__ import annotations

import collections
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Self

__all__ = ["NamedTuple"]

if TYPE_CHECKING:
    from typing import NamedTuple
else:

    class _NamedTupleType(type):
        """Makes the classes below `NamedTuple`: what they annotate is a place of the tuple."""

        def __new__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> type:
            names = tuple(namespace.get("__annotations__", ()))
            namespace["_field_defaults"] = {n: namespace[n] for n in names if n in namespace}
            for place, field in enumerate(names):
                # What collections uses itself.
                namespace[field] = collections._tuplegetter(place, f"Field number {place}")
            namespace |= {"_fields": names, "__match_args__": names, "__slots__": ()}
            return super().__new__(cls, name, bases, namespace)

    class NamedTuple(tuple, metaclass=_NamedTupleType):
        """Base of named tuples."""

        def __new__(cls, /, *values: Any, **named: Any) -> Self:
            names = cls._fields
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
