"""Plugin: what an author subclasses, and how its objects are bound to a registry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol, final

from plugreg._support.names import Slug, slugify
from plugreg.exceptions import PluginNotBoundError, PlugregError, SettingError

if TYPE_CHECKING:
    import logging


class PluginContext(Protocol):
    """The way of one plugin object to what is kept for it, and for no other plugin.

    It lives from the plugin's construction to its unloading. Every key is taken in any case.
    Reads write nothing; each write is one transaction of the store, and is on disk when the call
    returns.
    """

    @property
    def slug(self) -> Slug:
        """The plugin's identity."""

    @property
    def logger(self) -> logging.Logger:
        """The plugin's own logger."""

    def get_setting(self, key: str, backup_value: object = None) -> Any:
        """Return the native value of a setting: what is fixed, what is stored, or its default.

        ``backup_value`` is given where nothing is set and no default exists, ``""`` if that is
        None too. Raises KeyError if the plugin declares no such setting, SettingError if what was
        set cannot be had, such as a reference to a variable that is not there.
        """

    def set_setting(self, key: str, value: object) -> None:
        """Store a setting; None or ``""`` unsets it, ``{"$env": "NAME"}`` makes it a reference.

        Raises SettingError if the value is refused or the host fixes it, and KeyError as
        :meth:`get_setting` does.
        """

    def get_user_setting(self, key: str, user: int, backup_value: object = None) -> Any:
        """Return a user's value of a user setting, as :meth:`get_setting` does.

        There is no fall-back to the setting of the same name that holds for all users.
        """

    def set_user_setting(self, key: str, value: object, user: int) -> None:
        """Store a user's value of a user setting, as :meth:`set_setting` does."""

    def get_metadata(self) -> Mapping[str, Any]:
        """Return the metadata of the plugin, empty if none was stored."""

    def set_metadata(self, data: Mapping[str, Any], merge: bool = True) -> None:
        """Store metadata that JSON can hold.

        With ``merge`` the first level's keys are added to what is there, or replace it; without,
        ``data`` takes the place of everything. Raises SettingError for what cannot be stored, and
        for the value of a protected setting of the plugin.
        """


class Plugin:
    """The base class of plugins that have a name, settings or capabilities.

    Combine it with mixins in any order. No ``__init__`` is needed, and one that does not call
    ``super().__init__()`` does no harm. What a class does not state is taken from the plugin's
    distribution (behaviour.md, section 10). Settings and metadata can be reached once a registry
    has bound the object, which is after construction and before activation; till then
    PluginNotBoundError is raised.

    Members marked as final may not be overridden: such a class raises TypeError when it is made.
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

    # The class holds the default, so that it is there when no constructor of ours has run.
    _plugreg_context: PluginContext | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name in _FINAL:
            owner = next(each for each in cls.__mro__ if name in vars(each))
            if owner is not Plugin:
                raise TypeError(
                    f"Plugin {cls.__name__!r} cannot override final method {name!r} from Plugin; "
                    f"give the one in {owner.__name__!r} another name"
                )

    @property
    @final
    def slug(self) -> Slug:
        """The plugin's identity; before binding, what SLUG, NAME or the class's name give."""
        if self._plugreg_context is not None:
            return self._plugreg_context.slug
        return slugify(self.SLUG or self.NAME or type(self).__name__)

    @property
    @final
    def name(self) -> str:
        """NAME; where that is not stated the slug, before binding the class's name."""
        if self.NAME:
            return self.NAME
        return type(self).__name__ if self._plugreg_context is None else self.slug

    @property
    @final
    def title(self) -> str:
        """TITLE, else the name. The title that a distribution states is in the plugin's record."""
        return self.TITLE or self.name

    @property
    @final
    def logger(self) -> logging.Logger:
        """The plugin's own logger."""
        return _context_of(self).logger

    @final
    def get_setting(self, key: str, backup_value: object = None) -> Any:
        """Return a setting's native value; see :meth:`PluginContext.get_setting`."""
        return _context_of(self).get_setting(key, backup_value)

    @final
    def set_setting(self, key: str, value: object) -> None:
        """Store a setting; see :meth:`PluginContext.set_setting`."""
        _context_of(self).set_setting(key, value)

    @final
    def get_user_setting(self, key: str, user: int, backup_value: object = None) -> Any:
        """Return a user's native value; see :meth:`PluginContext.get_user_setting`."""
        return _context_of(self).get_user_setting(key, user, backup_value)

    @final
    def set_user_setting(self, key: str, value: object, user: int) -> None:
        """Store a user's value; see :meth:`PluginContext.set_user_setting`."""
        _context_of(self).set_user_setting(key, value, user)

    @final
    def get_metadata(self) -> Mapping[str, Any]:
        """Return the plugin's metadata; see :meth:`PluginContext.get_metadata`."""
        return _context_of(self).get_metadata()

    @final
    def set_metadata(self, data: Mapping[str, Any], merge: bool = True) -> None:
        """Store metadata; see :meth:`PluginContext.set_metadata`."""
        _context_of(self).set_metadata(data, merge)

    @final
    def check_settings(self) -> tuple[bool, tuple[str, ...]]:
        """Tell whether every required setting has a value or a default, and which have not.

        The missing keys are in upper case, in the order declared. User settings are not looked at.
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
        """Return the address of the script for the admin panel, None where there is none."""
        if not self.ADMIN_SOURCE:
            return None
        return f"/static/plugins/{self.slug}/{self.ADMIN_SOURCE}"

    def get_admin_context(self) -> Any:
        """Return what is handed to that script: anything that JSON can hold."""
        return None


_FINAL: Final = tuple(
    name
    for name, member in vars(Plugin).items()
    if getattr(getattr(member, "fget", member), "__final__", False)
)


def bind(plugin: Plugin, context: PluginContext) -> None:
    """Give a plugin object the context of its registry.

    The same context may be given again. Raises PlugregError if the object has another one, and
    changes nothing then.
    """
    # One setdefault on the object's own dict: two registries at once cannot both have it, and no
    # __setattr__ of the plugin's is run.
    held = vars(plugin).setdefault("_plugreg_context", context)
    if held is not context:
        raise PlugregError(
            f"plugin object of class {type(plugin).__name__!r} is already bound to another "
            f"registry, as {held.slug!r}; give each registry an object of its own"
        )


def unbind(plugin: Plugin, context: PluginContext) -> None:
    """Take the context away again. An object that has another one, or none, stays as it is."""
    if vars(plugin).get("_plugreg_context") is context:
        del vars(plugin)["_plugreg_context"]


def _is_missing(context: PluginContext, key: str) -> bool:
    from plugreg.settings.definition import as_text

    try:
        return as_text(context.get_setting(key)) == ""
    except SettingError:
        # A reference leads nowhere, or the default fails.
        return True


def _context_of(plugin: Plugin) -> PluginContext:
    context = plugin._plugreg_context
    if context is None:
        raise PluginNotBoundError(type(plugin).__name__)
    return context
