"""Operations on plugins: lists, states, metadata, what they show, and the registry itself."""

from __future__ import annotations

from typing import Any, Final

from plugreg._lifecycle.catalogue import Selection
from plugreg._support.guard import safe_str
from plugreg.api.access import Grade
from plugreg.api.bodies import read_json
from plugreg.api.errors import ConflictError, InvalidError
from plugreg.api.models import (
    Metadata,
    PaginatedPluginConfigList,
    PluginActivate,
    PluginAdminDetail,
    PluginConfig,
    PluginRegistryError,
    PluginRegistryStatus,
    PluginReload,
    PluginUIFeature,
)
from plugreg.api.operations import Call, as_data
from plugreg.api.paging import page_of
from plugreg.exceptions import (
    PluginActiveError,
    PluginBlockedError,
    PluginMandatoryError,
    PluginNotFoundError,
    PluginRequiredError,
    PluginSlugError,
    SettingError,
)
from plugreg.records import KnownPlugin, PluginRecord, PluginState
from plugreg.selection import ORDERINGS, Filters

_META: Final = (
    "slug",
    "human_name",
    "description",
    "author",
    "pub_date",
    "version",
    "website",
    "license",
    "package_path",
    "settings_url",
)


def list_plugins(call: Call) -> PaginatedPluginConfigList:
    """Return one page of the plugins that pass the filters (sections 1.4, 2.1)."""
    query = call.query
    selection = call.service.registry.catalogue.select(
        Filters(
            active=query["active"],
            builtin=query["builtin"],
            sample=query["sample"],
            installed=query["installed"],
            mandatory=query["mandatory"],
            mixins=frozenset(_listed(query["mixin"])),
        ),
        search=query["search"] or "",
        ordering=_ordering(query["ordering"]),
    )
    page = page_of(call, selection)
    # All rows go through one validation, since one for each would take longer than the search.
    return PaginatedPluginConfigList.model_validate(
        {
            "count": page.count,
            "next": page.next,
            "previous": page.previous,
            "results": _rows(call, page.rows),
        }
    )


def retrieve(call: Call) -> PluginConfig:
    """Return one plugin (section 2.8)."""
    return PluginConfig(**_plugin_config(call, call.plugin()))


def activate(call: Call) -> PluginActivate:
    """Store the wish that a plugin is on, or off, and carry it out (sections 2.9, 7)."""
    record = call.plugin()
    wanted: bool = call.fields()["active"]
    registry = call.service.registry
    try:
        record = (registry.activate if wanted else registry.deactivate)(record.slug)
    except PluginNotFoundError:
        raise _refused("Plugin is not installed") from None
    except PluginMandatoryError:
        raise _refused("INVE-E10: Mandatory plugin cannot be deactivated") from None
    except PluginRequiredError as error:
        names = ", ".join(f"'{each}'" for each in error.needed_by)
        raise _refused(f"Plugin is needed by {names}; deactivate them first") from None
    except PluginBlockedError as error:
        raise _refused(f"Plugin {error.reason}") from None
    except PluginSlugError as error:
        raise _refused(f"Plugin cannot be deactivated: {error.reason}") from None
    if wanted and not record.wanted and not record.pk:
        raise _refused("Plugin was registered by hand, and only its host can switch it on")
    # A later wish may have come meanwhile, and is the one that is stored.
    return PluginActivate(active=record.wanted)


def delete(call: Call) -> None:
    """Forget everything that is stored of a plugin that is off (section 2.7)."""
    record = call.plugin()
    try:
        call.service.registry.delete(record.slug)
    except PluginMandatoryError:
        raise _undeletable("mandatory") from None
    except PluginActiveError:
        raise _undeletable("currently active") from None
    except PluginSlugError:
        by_hand = "currently active" if record.active else "registered by hand"
        raise _undeletable(by_hand) from None


def admin(call: Call) -> PluginAdminDetail:
    """Return script and context of a plugin's admin panel, both null unless it is active (13)."""
    details = call.service.registry.admin(call.plugin().slug)
    return PluginAdminDetail(source=details.source, context=details.context)


def metadata(call: Call) -> Metadata:
    """Return what is stored of a plugin for programs, as it was written (section 6)."""
    return _metadata(call, call.plugin())


def merge_metadata(call: Call) -> Metadata:
    """Replace keys at the first level, keep the others (section 6)."""
    record = call.plugin()
    fields = call.fields()
    if "metadata" in fields:
        return _set_metadata(call, record, fields["metadata"], merge=True)
    return _metadata(call, record)


def replace_metadata(call: Call) -> Metadata:
    """Replace everything (section 6)."""
    record = call.plugin()
    return _set_metadata(call, record, call.fields()["metadata"], merge=False)


def reload(call: Call) -> PluginReload:
    """Reload the registry and echo what was asked for (sections 2.3, 9.6)."""
    fields = call.fields()
    # An operator who reloads means all processes.
    call.service.registry.shared.reload_everywhere(
        full=fields["full_reload"],
        force=fields["force_reload"],
        collect=fields["collect_plugins"],
    )
    return PluginReload(**fields)


def status(call: Call) -> PluginRegistryStatus:
    """Return how the registry of this process is doing (sections 2.5, 9.5)."""
    found = call.service.registry.status()
    return PluginRegistryStatus(
        active_plugins=found["active_plugins"],
        registry_errors=[PluginRegistryError(**each) for each in found["registry_errors"]],
    )


def ui_features(call: Call) -> list[PluginUIFeature]:
    """Return what active plugins show of one type to this actor (section 12)."""
    context = {name: value for name, value in call.parameters.items() if name != "feature"}
    if isinstance(given := as_data(context.get("context")), dict):
        # In Python the parameters of the page may be given as one mapping.
        del context["context"]
        context = {**given, **context}
    found = call.service.registry.ui_features(
        safe_str(call.parameters["feature"]), context=context, actor=call.actor
    )
    texts = ("title", "description", "icon", "source")
    return [
        PluginUIFeature(
            plugin_name=each.plugin_name,
            feature_type=each.feature_type,
            key=each.key,
            options=dict(each.options),
            context=dict(each.context),
            **{name: getattr(each, name) for name in texts if getattr(each, name) is not None},
        )
        for each in found
    ]


# -- the parts --------------------------------------------------------------------------------


def _rows(call: Call, selection: Selection) -> list[dict[str, Any]]:
    # Records cost more than lines of the snapshot, which say all of most plugins that are off.
    return [
        _plugin_config(call, selection[at] if _says_more(call, known) else known)
        for at, known in enumerate(selection.plugins)
    ]


def _says_more(call: Call, known: KnownPlugin) -> bool:
    """Tell whether the record of a plugin has more to show than its line in the snapshot."""
    learnt = call.service.registry.catalogue.report_of
    return known.state is PluginState.ACTIVE or learnt(known) is not None


def _plugin_config(call: Call, plugin: KnownPlugin | PluginRecord) -> dict[str, Any]:
    """Return the fields of a plugin's PluginConfig (section 3)."""
    record = plugin if isinstance(plugin, PluginRecord) else None
    return {
        "pk": plugin.pk,
        "key": plugin.slug,
        "name": plugin.name,
        "package_name": plugin.distribution,
        "active": plugin.wanted,
        "meta": _meta(call, record)
        if record is not None and record.active
        else dict.fromkeys(_META),
        "mixins": {} if record is None else _mixins(record),
        "is_builtin": plugin.is_builtin,
        "is_sample": plugin.is_sample,
        "is_installed": plugin.is_installed,
        "is_package": plugin.is_package,
        "is_mandatory": plugin.is_mandatory,
    }


def _mixins(record: PluginRecord) -> dict[str, dict[str, str]]:
    return {key: {"key": key, "human_name": name} for key, name in record.mixins.items()}


def _meta(call: Call, record: PluginRecord) -> dict[str, str | None]:
    published = record.published
    meta = {
        "slug": record.slug,
        "human_name": record.title,
        "description": record.description or record.name,
        "author": record.author or "No author found",
        "pub_date": None if published is None else str(published),
        "version": record.version,
        "website": record.website,
        "license": record.license,
        "package_path": _package_path(call, record),
        "settings_url": call.service.url_of_settings(record),
    }
    scrubbed: dict[str, str | None] = call.service.registry.config.scrubbed(record.slug, meta)
    return scrubbed


def _package_path(call: Call, record: PluginRecord) -> str | None:
    """Return the module of a plugin, or its file: from its source's folder on, but for superusers.

    Where a server keeps its files is no business of every reader.
    """
    if record.path is None:
        return record.module
    if call.actor.grade is Grade.SUPERUSER:
        return str(record.path)
    package = record.path.name == "__init__.py"
    return "/".join(record.path.parts[-3 if package else -2 :])


def _listed(text: str | None) -> list[str]:
    """Return the names in a text that parts them by commas, in lower case."""
    names = (each.strip().lower() for each in (text or "").split(","))
    return [each for each in names if each]


def _ordering(text: str | None) -> list[str]:
    names = _listed(text)
    wrong = [each for each in names if each.removeprefix("-") not in ORDERINGS]
    if wrong:
        allowed = ", ".join(f"{each}, -{each}" for each in ORDERINGS)
        raise InvalidError({"ordering": [f"Cannot order by '{wrong[0]}'; allowed are {allowed}."]})
    return names


def _metadata(call: Call, record: PluginRecord) -> Metadata:
    config = call.service.registry.config
    # A copy with the value masked would be stored so by whoever writes back what was read.
    fault = config.metadata_fault(record.slug)
    if fault is not None:
        raise ConflictError(fault)
    return Metadata(metadata=config.metadata(record.slug))


def _set_metadata(call: Call, record: PluginRecord, data: Any, *, merge: bool) -> Metadata:
    if call.form and isinstance(data, str):
        # A form has nothing but texts, so an object is sent as its JSON.
        try:
            data = read_json(data)
        except ValueError:
            raise InvalidError({"metadata": ["Value must be valid JSON."]}) from None
    if data is None:
        raise InvalidError({"metadata": ["This field may not be null."]})
    try:
        config = call.service.registry.config
        return Metadata(metadata=config.set_metadata(record.slug, data, merge))
    except SettingError as error:
        raise InvalidError({"metadata": [error.reason]}) from None


def _refused(sentence: str) -> InvalidError:
    return InvalidError({"non_field_errors": [sentence]})


def _undeletable(reason: str) -> InvalidError:
    return InvalidError({"detail": [f"Plugin cannot be deleted as it is {reason}"]})
