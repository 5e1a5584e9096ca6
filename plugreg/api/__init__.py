"""The plugin API: every operation as a method, and as a row of a table for adapters."""

from plugreg.settings.types import without_plugins

with without_plugins():
    # The models are built while these modules are imported.
    from plugreg.api.access import Access, Actor, Grade
    from plugreg.api.errors import (
        APIError,
        ConflictError,
        CrossSiteError,
        InvalidError,
        LengthRequiredError,
        MethodNotAllowedError,
        NotAuthenticatedError,
        NotFoundError,
        PermissionDeniedError,
        TooLargeError,
        UnavailableError,
        UnsupportedMediaTypeError,
    )
    from plugreg.api.operations import Operation, Parameter, Service
    from plugreg.api.plugin_api import ExtendedPluginAPI, PluginAPI

__all__ = [
    "APIError",
    "Access",
    "Actor",
    "ConflictError",
    "CrossSiteError",
    "ExtendedPluginAPI",
    "Grade",
    "InvalidError",
    "LengthRequiredError",
    "MethodNotAllowedError",
    "NotAuthenticatedError",
    "NotFoundError",
    "Operation",
    "Parameter",
    "PermissionDeniedError",
    "PluginAPI",
    "Service",
    "TooLargeError",
    "UnavailableError",
    "UnsupportedMediaTypeError",
]
