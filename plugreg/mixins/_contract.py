"""Whether a plugin keeps the contract of a capability that it has; none of its code runs."""

from __future__ import annotations

import inspect
from functools import cached_property
from types import FunctionType, MethodType
from typing import Any

from plugreg.mixins._spec import MixinSpec, declared_methods


def contract_faults(spec: MixinSpec, plugin: object) -> tuple[str, ...]:
    """Return the faults of a plugin that has the capability, as sentences.

    Every public method that ``spec.cls`` declares must be callable on the plugin and take the
    declared arguments: by position those without a default, so that their names are free; by
    name the others. Where ``*args`` is declared, it must take more than that. This runs no code
    of the plugin. The row's own ``check`` may run some; its exceptions pass through.

    Args:
        spec: The capability.
        plugin: The plugin object.
    """
    faults = []
    for name, declared in declared_methods(spec.cls).items():
        found = inspect.getattr_static(plugin, name, None)
        if found is declared:
            continue
        expected = _signature_of(declared, is_bound=True)
        fault = callable_fault(found)
        if fault is None and not _accepts(plugin, name, found, expected):
            fault = f"must accept the arguments {expected}"
        if fault is not None:
            faults.append(f"{name} {fault}")
    if spec.check is not None:
        faults.extend(spec.check(plugin))
    return tuple(faults)


def callable_fault(found: object) -> str | None:
    """Return why a statically found attribute is no method, or None.

    Args:
        found: Result of ``inspect.getattr_static``.
    """
    # Other descriptors, such as partialmethod, may return a method: only a call would show it.
    is_descriptor = hasattr(type(found), "__get__")
    is_value = isinstance(found, (property, cached_property))
    if callable(found) or (is_descriptor and not is_value):
        return None
    return f"must be a method, not a {type(found).__name__!r} object"


def _accepts(plugin: object, name: str, found: object, declared: inspect.Signature) -> bool:
    """Return whether the method *found* can be called in each way that is declared."""
    function = found.__func__ if isinstance(found, (staticmethod, classmethod)) else found
    if not isinstance(function, FunctionType):
        return True
    # Only a function of the class is bound; a function stored on the object gets no self.
    is_bound = inspect.getattr_static(type(plugin), name, None) is found
    arguments, keywords = _sample_call(declared)
    try:
        _signature_of(found, is_bound=is_bound).bind(*arguments, **keywords)
    except (TypeError, ValueError):
        return False
    return True


def _signature_of(method: Any, *, is_bound: bool) -> inspect.Signature:
    """Return the arguments of a caller. Raises ValueError without ``self``."""
    function = method.__func__ if isinstance(method, (staticmethod, classmethod)) else method
    takes_self = is_bound and not isinstance(method, staticmethod)
    signature = inspect.signature(MethodType(function, object()) if takes_self else function)
    parameters = signature.parameters.values()
    return inspect.Signature([item.replace(annotation=item.empty) for item in parameters])


def _sample_call(declared: inspect.Signature) -> tuple[list[None], dict[str, None]]:
    """Return a call that uses all that the declared signature promises."""
    arguments: list[None] = []
    keywords: dict[str, None] = {}
    parameters = declared.parameters.values()
    has_more = any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters)
    for parameter in parameters:
        kind = parameter.kind
        if kind is parameter.VAR_KEYWORD:
            # Alone, it is room for later additions; beside *args, callers do use it.
            if has_more:
                keywords["_any_keyword"] = None
        elif has_more and kind is not parameter.KEYWORD_ONLY:
            arguments.append(None)
        elif kind is parameter.KEYWORD_ONLY or parameter.default is not parameter.empty:
            keywords[parameter.name] = None
        else:
            arguments.append(None)
    return arguments, keywords
