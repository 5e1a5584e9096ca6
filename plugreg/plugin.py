"""The base class of plugins, and how plugin objects are bound to a registry."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Protocol, final

from plugreg._support import exceptions
from plugreg._support.slugs import Slug, slugify

if TYPE_CHECKING:
    import logging


class PluginContext(Protocol):
    """Settings, metadata and logger of a plugin object.

    A context lives from the plugin's construction to its unloading, and reaches no other plugin.
    Keys may be given in any case. Reads write nothing; each write is a transaction of the store,
    and durable when the call returns.
    """

    @property
    def slug(self) -> Slug:
        """The plugin's identity."""

    @property
    def logger(self) -> logging.Logger:
        """The plugin's own logger."""

    def get_setting(self, key: str, backup_value: object = None) -> Any:
        """Return the value of a setting: fixed by the host, stored, or the default.

        Args:
            key: Key of a setting that the plugin declares.
            backup_value: Returned where nothing is set and there is no default. None means ``""``,
                or None for a typed setting.

        Raises:
            KeyError: If the plugin declares no such setting.
            SettingError: If the value cannot be read, such as a reference to a missing variable.
        """

    def set_setting(self, key: str, value: object) -> None:
        """Store the value of a setting.

        Args:
            key: Key of a setting that the plugin declares.
            value: The value. None or ``""`` removes it, ``{"$env": "NAME"}`` is a reference.

        Raises:
            KeyError: If the plugin declares no such setting.
            SettingError: If the value is refused, or the host fixes the setting.
            StorageError: If the value cannot be stored. Nothing has changed then.
        """

    def get_user_setting(self, key: str, user: int, backup_value: object = None) -> Any:
        """Return a user's value of a user setting, as `get_setting` does.

        Args:
            key: Key of a user setting that the plugin declares.
            user: Number of the user.
            backup_value: As for `get_setting`. The setting of the same name for all users is no
                default.
        """

    def set_user_setting(self, key: str, value: object, user: int) -> None:
        """Store a user's value of a user setting, as `set_setting` does."""

    def get_metadata(self) -> Mapping[str, Any]:
        """Return the metadata of the plugin, empty if none is stored."""

    def set_metadata(self, data: Mapping[str, Any], merge: bool = True) -> None:
        """Store metadata of the plugin.

        Args:
            data: Values that JSON can hold.
            merge: Whether other keys of the first level stay.

        Raises:
            SettingError: If *data* cannot be stored, or holds the value of a protected setting of
                the plugin.
            StorageError: If it cannot be stored now. Nothing has changed then.
        """


class Plugin:
    """Base class of plugins that have a name, settings or capabilities.

    Combine it with mixins in any order. No ``__init__`` is needed, and an ``__init__`` that does
    not call ``super().__init__()`` does no harm. Attributes that a class does not state are taken
    from the plugin's distribution; a string as ``name`` counts as NAME. A registry binds the object
    after its construction and before its activation; settings and metadata raise
    PluginNotBoundError until then. A class that overrides a final member raises TypeError when it
    is created.
    """

    NAME: str | None = None
    SLUG: str | None = None
    TITLE: str | None = None
    DESCRIPTION: str | None = None
    AUTHOR: str | None = None
    PUBLISH_DATE: str | None = None
    VERSION: str | None = None
    WEBSITE: str | None = None
    LICENSE: str | None = None
    MIN_VERSION: str | None = None
    MAX_VERSION: str | None = None
    ADMIN_SOURCE: str | None = None

    # The class holds the default, which is there although no constructor of plugreg has run.
    _plugreg_context: PluginContext | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name, member in _FINAL.items():
            owner = next(base for base in cls.__mro__ if name in vars(base))
            found = vars(owner)[name]
            if found is member:
                continue
            if name == "name" and type(found) is str:
                # Other plugin systems have their plugins state it so; the property stays.
                if "NAME" not in vars(cls):
                    cls.NAME = found
                type.__setattr__(cls, "name", member)
            else:
                raise TypeError(
                    f"Plugin {cls.__name__!r} cannot override final method {name!r} from Plugin; "
                    f"give the one in {owner.__name__!r} another name"
                )

    @property
    @final
    def slug(self) -> Slug:
        """Identity of the plugin; before binding, that of SLUG, NAME or the class's name."""
        if self._plugreg_context is not None:
            return self._plugreg_context.slug
        return slugify(self.SLUG or self.NAME or type(self).__name__)

    @property
    @final
    def name(self) -> str:
        """NAME, else the slug, or the class's name before binding."""
        if self.NAME:
            return self.NAME
        return type(self).__name__ if self._plugreg_context is None else self.slug

    @property
    @final
    def title(self) -> str:
        """TITLE, else the name. The plugin's record has the title that its distribution states."""
        return self.TITLE or self.name

    @property
    @final
    def logger(self) -> logging.Logger:
        """The plugin's own logger."""
        return _context_of(self).logger

    @final
    def get_setting(self, key: str, backup_value: object = None) -> Any:
        """Return the value of a setting; see `PluginContext.get_setting`."""
        return _context_of(self).get_setting(key, backup_value)

    @final
    def set_setting(self, key: str, value: object) -> None:
        """Store the value of a setting; see `PluginContext.set_setting`."""
        _context_of(self).set_setting(key, value)

    @final
    def get_user_setting(self, key: str, user: int, backup_value: object = None) -> Any:
        """Return a user's value; see `PluginContext.get_user_setting`."""
        return _context_of(self).get_user_setting(key, user, backup_value)

    @final
    def set_user_setting(self, key: str, value: object, user: int) -> None:
        """Store a user's value; see `PluginContext.set_user_setting`."""
        _context_of(self).set_user_setting(key, value, user)

    @final
    def get_metadata(self) -> Mapping[str, Any]:
        """Return the plugin's metadata; see `PluginContext.get_metadata`."""
        return _context_of(self).get_metadata()

    @final
    def set_metadata(self, data: Mapping[str, Any], merge: bool = True) -> None:
        """Store metadata; see `PluginContext.set_metadata`."""
        _context_of(self).set_metadata(data, merge)

    @final
    def check_settings(self) -> tuple[bool, tuple[str, ...]]:
        """Return whether every required setting has a value or a default.

        Returns:
            Whether none is missing, and the missing keys in upper case, in the order declared.
            User settings do not count.
        """
        from plugreg.settings.declaration import parse_definitions

        context = _context_of(self)
        definitions, _ = parse_definitions(getattr(self, "SETTINGS", None), "SETTINGS")
        missing = tuple(
            key
            for key, definition in definitions.items()
            if definition.required and _is_missing(context, key)
        )
        return not missing, missing

    def get_admin_source(self) -> str | None:
        """Return the address of the script of the admin panel, None without a panel."""
        if not self.ADMIN_SOURCE:
            return None
        return f"/static/plugins/{self.slug}/{self.ADMIN_SOURCE}"

    def get_admin_context(self) -> Any:
        """Return the argument of that script: any value that JSON can hold."""
        return None


_FINAL: Final = MappingProxyType(
    {
        name: member
        for name, member in vars(Plugin).items()
        if getattr(getattr(member, "fget", member), "__final__", False)
    }
)


def bind(plugin: Plugin, context: PluginContext) -> None:
    """Bind a plugin object to the context of its registry.

    Binding it to the same context again changes nothing.

    Raises:
        PlugregError: If the object is bound to another context. Nothing has changed then.
    """
    # A single setdefault on the object's own dict: two registries at once cannot both bind it, and
    # the plugin's __setattr__ does not run.
    bound = vars(plugin).setdefault("_plugreg_context", context)
    if bound is not context:
        raise exceptions.PlugregError(
            f"plugin object of class {type(plugin).__name__!r} is already bound to another "
            f"registry, as {bound.slug!r}; give each registry an object of its own"
        )


def unbind(plugin: Plugin, context: PluginContext) -> None:
    """Remove a context from a plugin object, unless it is bound to another context."""
    if vars(plugin).get("_plugreg_context") is context:
        del vars(plugin)["_plugreg_context"]


def _is_missing(context: PluginContext, key: str) -> bool:
    from plugreg.settings.definition import as_text

    try:
        return as_text(context.get_setting(key)) == ""
    except exceptions.SettingError:
        # The reference has no target, or the default fails.
        return True


def _context_of(plugin: Plugin) -> PluginContext:
    context = plugin._plugreg_context
    if context is None:
        raise exceptions.PluginNotBoundError(type(plugin).__name__)
    return context
