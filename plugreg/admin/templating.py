"""Templates: plugreg's own, and the host's in their place, in the language of the visit."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from plugreg.admin.languages import catalogue
from plugreg.admin.looks import look_of
from plugreg.admin.options import AdminPage
from plugreg.exceptions import MissingExtraError

try:
    from jinja2 import (
        BaseLoader,
        ChoiceLoader,
        Environment,
        FileSystemLoader,
        StrictUndefined,
        TemplateNotFound,
    )
except ImportError as error:
    raise MissingExtraError.of(error, "the page for operators", "jinja2", "admin") from error

_FOLDER: Final = Path(__file__).parent
_PROPERTY: Final = re.compile(r"[a-z][a-z0-9-]*")
_VALUE: Final = re.compile(r"[^;{}<>@\\]+")


class Templates:
    """Renders templates. Immutable; serves many threads.

    Args:
        options: The options of the page.

    Raises:
        ValueError: If there is no such layout, or no such folder.
    """

    def __init__(self, options: AdminPage) -> None:
        given = options.templates
        folders = [given] if isinstance(given, (str, os.PathLike)) else [*given]
        for folder in folders:
            if not Path(folder).is_dir():
                raise ValueError(f"templates: {str(folder)!r} is no folder")
        own = FileSystemLoader(_FOLDER / "templates")
        loaders: list[BaseLoader] = [FileSystemLoader(folder) for folder in folders]
        self._loader = ChoiceLoader([*loaders, own])
        self._options = options
        self._environment = lru_cache(maxsize=None)(self._make)
        try:
            self._environment("en").get_template(options.layout)
        except TemplateNotFound:
            raise ValueError(
                f"layout: there is no template {options.layout!r}; "
                f"name a file in one of the folders of templates="
            ) from None

    def render(self, name: str, language: str, values: Mapping[str, Any]) -> str:
        """Return the rendered template.

        Args:
            name: Its name.
            language: The language of the page.
            values: Its variables.
        """
        return self._environment(language).get_template(name).render(values)

    def _make(self, language: str) -> Environment:
        environment = Environment(
            loader=self._loader,
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=["jinja2.ext.i18n"],
        )
        words = catalogue(language)
        environment.install_gettext_translations(words, newstyle=True)  # type: ignore[attr-defined]
        environment.globals.update(
            look=look_of, options=self._options, layout=self._options.layout, language=language
        )
        environment.filters.update(moment=_moment, seconds=_seconds, size=_size)
        return environment


def theme_css(theme: Mapping[str, str] | str | os.PathLike[str]) -> bytes:
    """Return the style sheet of a host's theme.

    Args:
        theme: Values of custom properties, by name without the dashes, or a file.

    Raises:
        ValueError: If a name or a value could be anything but that, or there is no such file.
    """
    if isinstance(theme, (str, os.PathLike)):
        try:
            return Path(theme).read_bytes()
        except OSError as error:
            raise ValueError(f"theme: {str(theme)!r} cannot be read: {error.strerror}") from None
    for name, value in theme.items():
        if not _PROPERTY.fullmatch(name) or not _VALUE.fullmatch(value):
            raise ValueError(
                f"theme: {name!r}: {value!r} is no custom property; write {{'accent': '#0a6'}}"
            )
    lines = "".join(f"--{name}:{value};" for name, value in theme.items())
    return f":root{{{lines}}}".encode()


def _moment(when: datetime) -> str:
    """Return a time for people, to the second; the machine's form is its ``isoformat``."""
    return f"{when.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _seconds(seconds: float) -> str:
    return f"{seconds * 1000:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


def _size(number: float) -> str:
    for unit in ("B", "kB", "MB"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} GB"
