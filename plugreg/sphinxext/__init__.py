"""Document a host's hooks, capabilities and plugins with Sphinx.

Add ``"plugreg.sphinxext"`` to the ``extensions`` of a host's ``conf.py``, and write::

    .. plugreg:: shop.app:make_registry
       :show: hooks, capabilities, plugins

The target is a registry, or a function without required parameters that returns one. It is opened
in safe mode: plugins are listed from their metadata, and none of them is imported. Each hook has
the anchor ``hook-<name>``, each capability ``capability-<key>``, each plugin ``plugin-<slug>``.
"""

from __future__ import annotations

import inspect
import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from operator import attrgetter
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from plugreg.exceptions import MissingExtraError
from plugreg.hooks.signatures import signatures
from plugreg.registry import PluginRegistry

try:
    from docutils import nodes
    from docutils.parsers.rst import directives
    from sphinx.util.docutils import SphinxDirective
except ImportError as error:
    raise MissingExtraError.of(error, __name__, "sphinx") from error

if TYPE_CHECKING:
    from sphinx.application import Sphinx

PARTS = ("hooks", "capabilities", "plugins")
"""What the directive can show."""


class Entry(NamedTuple):
    """One documented thing of a host.

    Attributes:
        anchor: Its id in the page.
        term: Its name, as code.
        paragraphs: What is known of it.
    """

    anchor: str
    term: str
    paragraphs: tuple[str, ...]


def open_registry(target: str) -> PluginRegistry:
    """Return the registry that *target* names, loaded in safe mode.

    Args:
        target: ``module:attribute`` of a registry, or of a function that returns one.

    Raises:
        ValueError: If *target* is not of this form.
        TypeError: If it gives something else than a registry.
        ImportError: If the module cannot be imported.
    """
    module, _, attribute = target.partition(":")
    if not module or not attribute:
        raise ValueError(f"{target!r} names no registry; write it as 'shop.app:make_registry'")
    with _safe_mode():
        found = attrgetter(attribute)(import_module(module))
        registry = found if isinstance(found, PluginRegistry) else found()
        if not isinstance(registry, PluginRegistry):
            kind = type(registry).__name__
            raise TypeError(f"{target!r} gave a {kind!r} object; a PluginRegistry was expected")
        registry.load()
    return registry


@contextmanager
def _safe_mode() -> Iterator[None]:
    """Have registries open in safe mode, without the log record that tells an operator of it."""
    logger = logging.getLogger("plugreg")
    disabled, before = logger.disabled, os.environ.get("PLUGREG_SAFE_MODE")
    logger.disabled, os.environ["PLUGREG_SAFE_MODE"] = True, "1"
    try:
        yield
    finally:
        logger.disabled = disabled
        del os.environ["PLUGREG_SAFE_MODE"]
        if before is not None:
            os.environ["PLUGREG_SAFE_MODE"] = before


def describe(registry: PluginRegistry, part: str) -> list[Entry]:
    """Return the entries of one part of a host's documentation.

    Args:
        registry: The loaded registry.
        part: One of `PARTS`.
    """
    if part == "hooks":
        return list(_hooks(registry))
    return list(_capabilities(registry) if part == "capabilities" else _plugins(registry))


def _hooks(registry: PluginRegistry) -> Iterator[Entry]:
    for hook in signatures(registry.manager):
        first = "The first result that is not None counts." if hook.firstresult else ""
        late = "Plugins that are activated later are called as well." if hook.historic else ""
        texts = (*_paragraphs(hook.function), first, late)
        term = f"{hook.name}{_signature(hook.function)}"
        yield Entry(f"hook-{hook.name}", term, tuple(filter(None, texts)))


def _capabilities(registry: PluginRegistry) -> Iterator[Entry]:
    for row in registry.options.mixins:
        methods = [name for name in vars(row.cls) if not name.startswith("_")]
        provided = f"Plugins may define {', '.join(methods)}." if methods else ""
        texts = (row.human_name, *_paragraphs(row.cls), provided)
        yield Entry(f"capability-{row.key}", row.cls.__name__, tuple(filter(None, texts)))


def _plugins(registry: PluginRegistry) -> Iterator[Entry]:
    for slug, record in sorted(registry.plugins.items()):
        term = f"{slug} {record.version}" if record.version else slug
        title = record.title if record.title != slug else None
        facts = ("by", record.author), ("licence", record.license), ("see", record.website)
        about = ", ".join(f"{name} {value}" for name, value in facts if value)
        yield Entry(f"plugin-{slug}", term, tuple(filter(None, (title, record.description, about))))


def _signature(function: Any) -> str:
    signature = inspect.signature(function)
    parameters = [value for name, value in signature.parameters.items() if name != "self"]
    return str(signature.replace(parameters=parameters)).replace("'", "")


def _paragraphs(described: Any) -> tuple[str, ...]:
    doc = inspect.getdoc(described) or ""
    return tuple(" ".join(part.split()) for part in doc.split("\n\n") if part.strip())


class HostDirective(SphinxDirective):
    """Show hooks, capabilities and plugins of a host: ``.. plugreg:: shop.app:make_registry``."""

    required_arguments = 1
    option_spec: ClassVar[dict[str, Any]] = {"show": directives.unchanged_required}

    def run(self) -> list[nodes.Node]:
        """Return the lists, one for each part that has entries."""
        shown = self.options.get("show", ", ".join(PARTS))
        parts = [part.strip() for part in shown.split(",") if part.strip()]
        if unknown := [part for part in parts if part not in PARTS]:
            raise self.error(f"plugreg: unknown part {unknown[0]!r}; write some of {PARTS}")
        try:
            registry = open_registry(self.arguments[0])
        except (ImportError, AttributeError, TypeError, ValueError) as error:
            raise self.error(f"plugreg: {error}") from error
        with registry:
            found = [(part, describe(registry, part)) for part in parts]
        return [
            node
            for part, entries in found
            if entries
            for node in (nodes.rubric(text=part.capitalize()), _list(entries))
        ]


def _list(entries: Iterable[Entry]) -> nodes.definition_list:
    items = []
    for entry in entries:
        term = nodes.term("", "", nodes.literal(text=entry.term), ids=[entry.anchor])
        body = nodes.definition("", *map(_paragraph, entry.paragraphs))
        items.append(nodes.definition_list_item("", term, body))
    return nodes.definition_list("", *items)


def _paragraph(text: str) -> nodes.paragraph:
    # Literals are the only mark of reST that summaries of hooks have.
    parts = [
        nodes.literal(text=part) if number % 2 else nodes.Text(part)
        for number, part in enumerate(text.split("``"))
    ]
    return nodes.paragraph("", "", *parts)


def setup(app: Sphinx) -> dict[str, Any]:
    """Add the directive ``plugreg`` to Sphinx.

    Args:
        app: The application of Sphinx.

    Returns:
        Facts on the extension: it may be used by builds that read and write in parallel.
    """
    app.add_directive("plugreg", HostDirective)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
