"""The table of operations, and the class whose methods they are."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any, Self, cast

from plugreg.api import extended, packages, plugins, settings
from plugreg.api.models import EXTENDED
from plugreg.api.openapi import make_document
from plugreg.api.operations import Service


class PluginAPI(Service):
    """The operations of the plugin API on a registry, as methods.

    Each attribute below is a row of the table and, on an object, a method. Its first argument is
    the actor; the parameters of path and query follow by name, and ``body=``, a mapping or its
    model. It returns the model of the answer, a list of them, or None, and raises an APIError if
    it is refused. The actor is checked first, then the parameters, the plugin or setting, and
    the body. A subclass may have rows of its own, or remove a row by naming it None.

    Args:
        registry: The registry that the operations read and change.
        model_url: Returns the address where objects of a model (``app.model``) are listed,
            or None. An exception counts as None.
        settings_url: Returns the page of the host's interface for a plugin, or None. An
            exception counts as None.
        native_values: Whether values of settings are JSON's own on the wire (booleans, numbers,
            arrays, objects) instead of strings.
        bare_list_without_limit: Whether a list that was requested without a limit is a plain
            array.
        public_assets: Whether files of plugins are served without asking for the actor.
        trusted_origins: Origins of other sites whose pages may make changes, as
            ``https://shop.example``. ``*`` trusts all.
        probe: Whether a plugin is loaded in a child process before it is activated. One that would
            end the host's process is not activated then.
        extended: Whether plugins and settings have more fields, and the operations of
            `ExtendedPluginAPI` are there.

    Raises:
        ValueError: If no browser would send an origin.
    """

    def __new__(cls, *_: Any, **options: Any) -> Self:
        """Return an object whose class has the operations that *extended* asks for."""
        is_extended = bool(options.get("extended")) and not issubclass(cls, ExtendedPluginAPI)
        made: Any = cls
        if is_extended:
            made = _extended(made)
        return cast("Self", object.__new__(made))

    @property
    def service(self) -> Service:
        """The registry behind the operations and the options of the host: this object."""
        return self

    @classmethod
    def openapi(cls, *, prefix: str = "", server: str | None = None) -> dict[str, Any]:
        """Return the OpenAPI 3.0.3 document of the operations, as JSON data.

        With ``native_values`` or ``bare_list_without_limit`` the answers differ from it.

        Args:
            prefix: Put before each path.
            server: The address that the paths follow.
        """
        return make_document(cls.operations, prefix=prefix, server=server)

    plugins_list = plugins.list_plugins
    plugins_install_create = packages.install
    plugins_reload_create = plugins.reload
    plugins_settings_list_all = settings.list_all
    plugins_status_retrieve = plugins.status
    plugins_ui_features_list = plugins.ui_features
    plugins_destroy = plugins.delete
    plugins_retrieve = plugins.retrieve
    plugins_activate_partial_update, plugins_activate_update = plugins.activate
    plugins_admin_retrieve = plugins.admin
    plugins_metadata_retrieve = plugins.metadata
    plugins_metadata_partial_update, plugins_metadata_update = plugins.change_metadata
    plugins_settings_list = settings.list_settings
    plugins_settings_retrieve = settings.retrieve
    plugins_settings_partial_update, plugins_settings_update = settings.change
    plugins_uninstall_partial_update, plugins_uninstall_update = packages.uninstall
    plugins_user_settings_list = settings.list_user_settings
    plugins_user_settings_retrieve = settings.retrieve_user_setting
    plugins_user_settings_partial_update, plugins_user_settings_update = (
        settings.change_user_setting
    )


class ExtendedPluginAPI(PluginAPI):
    """The API with more fields and operations, as made by `PluginAPI` with ``extended=True``.

    Plugins have ``state``, ``reason``, ``wanted``, ``version``, ``requires``, ``required_by``,
    ``failures``, ``circuit``, ``isolated`` and ``processes``; settings have ``protected``,
    ``hidden``, ``locked``, ``layer``, ``default`` and ``schema``. A plugin whose slug is
    ``repairs``, ``processes``, ``audit`` or ``plan`` can be listed, and has no path of its own.
    """

    # The operations of the base whose answers have more fields.
    vars().update(
        {
            row.id: replace(row, answer=EXTENDED[row.answer])
            for row in PluginAPI.operations
            if row.answer in EXTENDED
        }
    )
    plugins_repairs_list = extended.repairs
    plugins_processes_list = extended.processes
    plugins_audit_list = extended.audit
    plugins_plan_create = extended.plan
    plugins_probe_create = extended.probe
    plugins_reset_create = extended.reset
    plugins_failures_list = extended.failures
    plugins_settings_schema_retrieve = extended.schema


@cache
def _extended(cls: Any) -> Any:
    """Return a class with the rows of *cls*, and with those of the extended API."""
    if cls is PluginAPI:
        return ExtendedPluginAPI
    # The choice of a host's own class takes precedence.
    return type(f"Extended{cls.__name__}", (cls, ExtendedPluginAPI), {})
