"""The capability to validate and to generate values of the host.

The host chooses the names of the methods, ``validate_…`` and ``generate_…``, and calls them.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NoReturn

from plugreg.exceptions import PlugregError
from plugreg.mixins._contract import callable_fault
from plugreg.mixins._spec import MixinSpec

_PREFIXES: Final = ("validate_", "generate_")


class ValidationFault(PlugregError, ValueError):  # noqa: N818 - a finding
    """A plugin refuses a value.

    Args:
        message: A sentence fit for users, or a mapping from field names to such sentences.
    """

    def __init__(self, message: str | Mapping[str, Any]) -> None:
        super().__init__(message)
        self.message = message


class ValidationMixin:
    """For plugins that validate or generate; it declares no such method itself."""

    def raise_error(self, message: str | Mapping[str, Any]) -> NoReturn:
        """Refuse the value that is validated.

        Args:
            message: A sentence fit for users, or a mapping from field names to such sentences.

        Raises:
            ValidationFault: Always.
        """
        raise ValidationFault(message)


def ask_validators(plugins: Iterable[object], method: str, *args: Any, **kwargs: Any) -> bool:
    """Call the validators of plugins in order until a validator raises or returns True.

    Exceptions propagate, because validators refuse by raising; the host decides which of them
    are faults of the plugin.

    Args:
        plugins: Plugin objects; those without *method* are left out.
        method: Name of the validating method.
        *args: Positional arguments of the method.
        **kwargs: Keyword arguments of the method.

    Returns:
        Whether a validator returned True.
    """
    return any(answer is True for answer in _answers(plugins, method, args, kwargs))


def ask_generators(plugins: Iterable[object], method: str, *args: Any, **kwargs: Any) -> Any:
    """Return the first value that a plugin generates. Exceptions pass through.

    Args:
        plugins: Plugin objects; those without *method* are left out.
        method: Name of the generating method.
        *args: Positional arguments of the method.
        **kwargs: Keyword arguments of the method.

    Returns:
        The first result that is not None, or None.
    """
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
    names = {name for base in type(plugin).__mro__ for name in vars(base)} | set(vars(plugin))
    for name in sorted(name for name in names if name.startswith(_PREFIXES)):
        fault = callable_fault(inspect.getattr_static(plugin, name))
        if fault is not None:
            yield f"{name} {fault}"


SPEC = MixinSpec(key="validation", human_name="Validation", cls=ValidationMixin, check=_check)
