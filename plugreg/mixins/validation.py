"""The capability to have a say in what is valid, and to make up values.

What there is to validate or to generate is the host's domain: it chooses the names
``validate_…`` and ``generate_…`` and asks for them.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NoReturn

from plugreg.exceptions import PlugregError
from plugreg.mixins._spec import MixinSpec, callable_fault

_PREFIXES: Final = ("validate_", "generate_")


class ValidationFault(PlugregError, ValueError):  # noqa: N818 - what was found, not what failed
    """A plugin finds something invalid.

    ``message`` is a sentence that is fit to be shown, or a mapping of field names to such.
    """

    def __init__(self, message: str | Mapping[str, Any]) -> None:
        super().__init__(message)
        self.message = message


class ValidationMixin:
    """For plugins that validate or generate; it declares no such method itself."""

    def raise_error(self, message: str | Mapping[str, Any]) -> NoReturn:
        """Refuse what is validated: raises ValidationFault."""
        raise ValidationFault(message)


def ask_validators(plugins: Iterable[object], method: str, *args: Any, **kwargs: Any) -> bool:
    """Ask each plugin that has ``method``, in order, until one raises or returns True.

    Returns whether one returned True. What one raises passes through: to refuse is what a
    validator is for, and which exceptions are faults instead is the host's to decide.
    """
    return any(answer is True for answer in _answers(plugins, method, args, kwargs))


def ask_generators(plugins: Iterable[object], method: str, *args: Any, **kwargs: Any) -> Any:
    """Return the first answer that is not None, in order, or None; errors pass through."""
    answers = _answers(plugins, method, args, kwargs)
    return next((answer for answer in answers if answer is not None), None)


def _answers(
    plugins: Iterable[object], method: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Iterator[Any]:
    for plugin in plugins:
        function = getattr(plugin, method, None)
        if function is not None:
            yield function(*args, **kwargs)


def _check(plugin: ValidationMixin) -> Iterator[str]:
    names = {name for each in type(plugin).__mro__ for name in vars(each)} | set(vars(plugin))
    for name in sorted(each for each in names if each.startswith(_PREFIXES)):
        fault = callable_fault(inspect.getattr_static(plugin, name))
        if fault is not None:
            yield f"{name} {fault}"


SPEC = MixinSpec(key="validation", human_name="Validation", cls=ValidationMixin, check=_check)
