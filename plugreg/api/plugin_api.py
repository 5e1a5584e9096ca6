"""The table of operations, and the object whose methods they are."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, ClassVar

from plugreg.api import packages, plugins, settings
from plugreg.api.access import OWN, READ, STAFF, SUPERUSER
from plugreg.api.models import (
    Metadata,
    PaginatedPluginConfigList,
    PaginatedPluginSettingList,
    PatchedMetadata,
    PatchedPluginActivate,
    PatchedPluginSetting,
    PatchedPluginUninstall,
    PatchedPluginUserSetting,
    PluginActivate,
    PluginAdminDetail,
    PluginConfig,
    PluginConfigInstall,
    PluginRegistryStatus,
    PluginReload,
    PluginSetting,
    PluginUIFeature,
    PluginUninstall,
    PluginUserSetting,
)
from plugreg.api.openapi import document
from plugreg.api.operations import Operation, Parameter
from plugreg.api.paging import PAGING
from plugreg.api.service import Service
from plugreg.records import PluginRecord
from plugreg.registry import PluginRegistry


class PluginAPI:
    """The operations of the plugin API on one registry, as methods (behaviour.md, section 2).

    Each attribute below is a row of the table and, on an object, a method: the actor first, the
    parameters of path and query by name, the body as ``body=``, a mapping or its model. It gives
    the model of the answer, a list of them, or None. What is refused raises an APIError; the
    order is the actor, the parameters, the plugin or setting, the body. A subclass may have rows
    of its own, or take one away by naming it None.

    ``model_url``, ``settings_url``, ``native_values``, ``bare_list_without_limit``,
    ``public_assets`` and ``trusted_origins`` are those of :class:`plugreg.api.Service`.
    """

    operations: ClassVar[tuple[Operation[Any], ...]]
    """The rows, in the order of the paths; those that a subclass adds come last."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.operations = _rows_of(cls)

    def __init__(
        self,
        registry: PluginRegistry,
        *,
        model_url: Callable[[str], str | None] | None = None,
        settings_url: Callable[[PluginRecord], str | None] | None = None,
        native_values: bool = False,
        bare_list_without_limit: bool = False,
        public_assets: bool = False,
        trusted_origins: Collection[str] = (),
    ) -> None:
        self.service = Service(
            registry=registry,
            model_url=model_url,
            settings_url=settings_url,
            native_values=native_values,
            bare_list_without_limit=bare_list_without_limit,
            public_assets=public_assets,
            trusted_origins=trusted_origins,
        )

    @classmethod
    def openapi(cls, *, prefix: str = "", server: str | None = None) -> dict[str, Any]:
        """Return the OpenAPI 3.0.3 document of the operations, as what JSON can hold.

        ``prefix`` is put before each path, ``server`` is the address that the paths follow. With
        ``native_values`` or ``bare_list_without_limit`` the answers are other ones than it says.
        """
        return document(cls.operations, prefix=prefix, server=server)

    plugins_list = Operation(
        method="GET",
        path="/api/plugins/",
        access=READ,
        summary="List the plugins that are known",
        handler=plugins.list_plugins,
        answer=PaginatedPluginConfigList,
        query=(
            Parameter("active", bool, "Whether the plugin is wished active"),
            Parameter("builtin", bool, "Whether the host brings it"),
            Parameter("installed", bool, "Whether it is there"),
            Parameter("mandatory", bool, "Whether it must be active"),
            Parameter("mixin", str, "Mixin keys, parted by commas; the plugin must have all"),
            Parameter("ordering", str, "key, name or active, with - in front for descending"),
            Parameter("sample", bool, "Whether it is a sample"),
            Parameter("search", str, "Words that must all be in key or name"),
            *PAGING,
        ),
    )
    plugins_install_create = Operation(
        method="POST",
        path="/api/plugins/install/",
        access=SUPERUSER,
        summary="Install the distribution of a plugin",
        handler=packages.install,
        answer=PluginConfigInstall,
        status=201,
        body=PluginConfigInstall,
        body_required=True,
        in_turn=True,
    )
    plugins_reload_create = Operation(
        method="POST",
        path="/api/plugins/reload/",
        access=SUPERUSER,
        summary="Reload the registry",
        handler=plugins.reload,
        answer=PluginReload,
        status=201,
        body=PluginReload,
        in_turn=True,
    )
    plugins_settings_list_all = Operation(
        method="GET",
        path="/api/plugins/settings/",
        access=STAFF,
        summary="List the settings of all plugins",
        handler=settings.list_all,
        answer=PaginatedPluginSettingList,
        query=(
            Parameter("plugin__active", bool, "Whether the plugin is wished active"),
            Parameter("plugin__key", str, "The key of the plugin"),
            *PAGING,
        ),
    )
    plugins_status_retrieve = Operation(
        method="GET",
        path="/api/plugins/status/",
        access=SUPERUSER,
        summary="Tell how many plugins are active, and what went wrong",
        handler=plugins.status,
        answer=PluginRegistryStatus,
    )
    plugins_ui_features_list = Operation(
        method="GET",
        path="/api/plugins/ui/features/{feature}/",
        access=READ,
        summary="List what plugins show; other parameters are handed to them",
        handler=plugins.ui_features,
        answer=PluginUIFeature,
        many=True,
        any_query=True,
    )
    plugins_destroy = Operation(
        method="DELETE",
        path="/api/plugins/{plugin}/",
        access=SUPERUSER,
        summary="Forget a plugin that is not active",
        handler=plugins.delete,
        answer=None,
        status=204,
        in_turn=True,
    )
    plugins_retrieve = Operation(
        method="GET",
        path="/api/plugins/{plugin}/",
        access=READ,
        summary="Show one plugin",
        handler=plugins.retrieve,
        answer=PluginConfig,
    )
    plugins_activate_partial_update = Operation(
        method="PATCH",
        path="/api/plugins/{plugin}/activate/",
        access=SUPERUSER,
        summary="Switch a plugin on or off",
        handler=plugins.activate,
        answer=PluginActivate,
        body=PatchedPluginActivate,
        in_turn=True,
    )
    plugins_activate_update = Operation(
        method="PUT",
        path="/api/plugins/{plugin}/activate/",
        access=SUPERUSER,
        summary="Switch a plugin on or off",
        handler=plugins.activate,
        answer=PluginActivate,
        body=PluginActivate,
        in_turn=True,
    )
    plugins_admin_retrieve = Operation(
        method="GET",
        path="/api/plugins/{plugin}/admin/",
        access=STAFF,
        summary="Show what a plugin adds to the admin pages",
        handler=plugins.admin,
        answer=PluginAdminDetail,
    )
    plugins_metadata_retrieve = Operation(
        method="GET",
        path="/api/plugins/{plugin}/metadata/",
        access=STAFF,
        summary="Show the metadata of a plugin",
        handler=plugins.metadata,
        answer=Metadata,
    )
    plugins_metadata_partial_update = Operation(
        method="PATCH",
        path="/api/plugins/{plugin}/metadata/",
        access=STAFF,
        summary="Merge into the metadata of a plugin, at the first level",
        handler=plugins.merge_metadata,
        answer=Metadata,
        body=PatchedMetadata,
    )
    plugins_metadata_update = Operation(
        method="PUT",
        path="/api/plugins/{plugin}/metadata/",
        access=STAFF,
        summary="Replace the metadata of a plugin",
        handler=plugins.replace_metadata,
        answer=Metadata,
        body=Metadata,
        body_required=True,
    )
    plugins_settings_list = Operation(
        method="GET",
        path="/api/plugins/{plugin}/settings/",
        access=READ,
        summary="List the settings of an active plugin",
        handler=settings.list_settings,
        answer=PluginSetting,
        many=True,
    )
    plugins_settings_retrieve = Operation(
        method="GET",
        path="/api/plugins/{plugin}/settings/{key}/",
        access=READ,
        summary="Show a setting of an active plugin",
        handler=settings.retrieve,
        answer=PluginSetting,
    )
    plugins_settings_partial_update = Operation(
        method="PATCH",
        path="/api/plugins/{plugin}/settings/{key}/",
        access=STAFF,
        summary="Change a setting of an active plugin",
        handler=settings.change,
        answer=PluginSetting,
        body=PatchedPluginSetting,
    )
    plugins_settings_update = Operation(
        method="PUT",
        path="/api/plugins/{plugin}/settings/{key}/",
        access=STAFF,
        summary="Set a setting of an active plugin",
        handler=settings.change,
        answer=PluginSetting,
        body=PluginSetting,
        body_required=True,
    )
    plugins_uninstall_partial_update = Operation(
        method="PATCH",
        path="/api/plugins/{plugin}/uninstall/",
        access=SUPERUSER,
        summary="Uninstall the distribution of a plugin",
        handler=packages.uninstall,
        answer=PluginUninstall,
        body=PatchedPluginUninstall,
        in_turn=True,
    )
    plugins_uninstall_update = Operation(
        method="PUT",
        path="/api/plugins/{plugin}/uninstall/",
        access=SUPERUSER,
        summary="Uninstall the distribution of a plugin",
        handler=packages.uninstall,
        answer=PluginUninstall,
        body=PluginUninstall,
        in_turn=True,
    )
    plugins_user_settings_list = Operation(
        method="GET",
        path="/api/plugins/{plugin}/user-settings/",
        access=OWN,
        summary="List one's own settings with an active plugin",
        handler=settings.list_user_settings,
        answer=PluginUserSetting,
        many=True,
    )
    plugins_user_settings_retrieve = Operation(
        method="GET",
        path="/api/plugins/{plugin}/user-settings/{key}/",
        access=OWN,
        summary="Show one of one's own settings",
        handler=settings.retrieve_user_setting,
        answer=PluginUserSetting,
    )
    plugins_user_settings_partial_update = Operation(
        method="PATCH",
        path="/api/plugins/{plugin}/user-settings/{key}/",
        access=OWN,
        summary="Change one of one's own settings",
        handler=settings.change_user_setting,
        answer=PluginUserSetting,
        body=PatchedPluginUserSetting,
    )
    plugins_user_settings_update = Operation(
        method="PUT",
        path="/api/plugins/{plugin}/user-settings/{key}/",
        access=OWN,
        summary="Set one of one's own settings",
        handler=settings.change_user_setting,
        answer=PluginUserSetting,
        body=PluginUserSetting,
        body_required=True,
    )


def _rows_of(api: type[PluginAPI]) -> tuple[Operation[Any], ...]:
    """Return the rows that a class has, inherited ones first, where it has not replaced them."""
    named: dict[str, Any] = {}
    for each in reversed(api.__mro__):
        named |= vars(each)
    return tuple(row for row in named.values() if isinstance(row, Operation))


PluginAPI.operations = _rows_of(PluginAPI)
