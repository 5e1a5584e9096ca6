"""How Sphinx builds this documentation: ``make docs`` writes it to ``build/docs``.

The build asks no network. What the code knows (operations, options, hooks, errors) is read from
the code, by the functions of ``tables.py``.
"""

from __future__ import annotations

import re
import sys
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS))

import tables  # noqa: E402 - it lies beside this file

project = "plugreg"
author = "The plugreg developers"
project_copyright = author
version = release = installed_version("plugreg")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "plugreg.sphinxext",
]
html_theme = "furo"
html_title = f"plugreg {release}"
# Nothing is loaded from anywhere else, and the search runs in the browser.
html_theme_options: dict[str, Any] = {"top_of_page_buttons": []}
html_copy_source = False
html_show_sphinx = False
exclude_patterns = ["examples"]

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4
myst_links_external_new_tab = False

copybutton_prompt_text = "$ "
copybutton_only_copy_prompt_lines = True

default_role = "py:obj"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True

nitpicky = True
nitpick_ignore_regex = [
    # Backticks in docstrings also mark names of machinery, which has no page.
    (r"py:(obj|data|meth)", r"[\w.]+"),
    # Signatures name types of machinery and aliases, which users do not create.
    (r"py:class", r"plugreg\..*|[A-Z]\w*"),
    # Types in brackets that are split at their commas.
    (r"py:class", r"\w+\[\w+"),
    # Libraries whose inventories are on the network, which a build does not ask.
    (
        r"py:.*",
        r"(pluggy|pydantic|sqlalchemy|starlette|fastapi|flask|django|apscheduler|opentelemetry"
        r"|docutils|click|_?pytest)\b.*",
    ),
]
# An attribute named "type" is as near to the builtin as another attribute.
suppress_warnings = ["ref.python"]
linkcheck_timeout = 10
linkcheck_anchors = False

# What furo's pages lack: names of landmarks, and the keyboard's way into code that is too wide.
ACCESSIBLE = {
    '<aside class="sidebar-drawer">': '<aside class="sidebar-drawer" aria-label="Pages">',
    '<aside class="toc-drawer': '<aside aria-label="On this page" class="toc-drawer',
    "<pre>": '<pre tabindex="0">',
}
COLON = "\N{RATIO}"
LIBRARY = "https://docs.python.org/3/library"


def add_reference(_: Sphinx, __: object) -> None:
    """Write the stub of each public module, from which autodoc makes its page."""
    folder = DOCS / "reference" / "api"
    folder.mkdir(exist_ok=True)
    pages = {f"{name}.md": tables.module_page(name) for name in tables.public_modules()}
    for file in folder.glob("plugreg*.md"):
        if file.name not in pages:
            file.unlink()
    for name, page in pages.items():
        file = folder / name
        if not file.exists() or file.read_text(encoding="utf-8") != page:
            file.write_text(page, encoding="utf-8")


def expand(_: Sphinx, name: str, source: list[str]) -> None:
    """Put the tables of the code where a page asks for them, with ``<!-- table: name -->``."""
    source[0] = tables.expand(name, source[0])


def find_tables(
    app: Sphinx, env: BuildEnvironment, _: object, __: object, ___: object
) -> list[str]:
    """Return the pages with tables, whose contents change when the code does."""
    pages = {name: Path(env.doc2path(name)).read_text(encoding="utf-8") for name in env.found_docs}
    return ["reference/errors", *(name for name, text in pages.items() if "<!-- table: " in text)]


def hide_colons(_: Sphinx, what: str, __: str, ___: object, ____: object, lines: list[str]) -> None:
    """Keep napoleon from reading "Plugins: each one" of an attribute as type and description."""
    if what in {"attribute", "data", "property"}:
        lines[:] = [line.replace(": ", f"{COLON} ") for line in lines]


def show_colons(
    _: Sphinx, __: str, ___: str, ____: object, _____: object, lines: list[str]
) -> None:
    """Undo `hide_colons`, after napoleon."""
    lines[:] = [line.replace(COLON, ":") for line in lines]


def resolve(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.Element
) -> nodes.Element | None:
    """Resolve names in docstrings without their module, and names of the standard library.

    Names of classes are unique in plugreg, so that the last part of a name is enough.
    """
    target = node.get("reftarget", "")
    if node.get("refdomain") != "py":
        return None
    last = target.rpartition(".")[2]
    known: dict[str, Any] = env.domaindata["py"]["objects"]
    found = sorted((key for key in known if key.rpartition(".")[2] == last), key=len)
    # A method is meant where its class is named, else the shortest name.
    pair = ".".join(target.split(".")[-2:])
    exact = [key for key in found if key.endswith(f".{pair}")] or found
    if exact and (target == last or target.startswith("plugreg") or exact != found):
        entry = known[exact[0]]
        uri = app.builder.get_relative_uri(node["refdoc"], entry.docname)
        return nodes.reference("", "", content, refuri=f"{uri}#{entry.node_id}", internal=True)
    if url := tables.library_url(target):
        return nodes.reference("", "", content, refuri=f"{LIBRARY}/{url}", internal=False)
    return None


def finish(app: Sphinx, error: Exception | None) -> None:
    """Write each page as Markdown too, ``llms.txt`` that lists them, and the last touch of HTML."""
    if error is not None or app.builder.name != "html":
        return
    out = Path(app.outdir)
    lines = ["# plugreg", "", f"> {tables.summary()}", ""]
    for name in sorted(app.env.found_docs):
        # What autodoc makes of docstrings has no Markdown.
        if not name.startswith("reference/api/"):
            text = Path(app.env.doc2path(name)).read_text(encoding="utf-8")
            text = tables.expand(name, text, for_sphinx=False)
            (out / f"{name}.md").write_text(text, encoding="utf-8")
            said = first_sentence(app.env.get_doctree(name))
            lines.append(f"- [{app.env.titles[name].astext()}]({name}.md): {said}")
    (out / "llms.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for file in out.rglob("*.html"):
        page = file.read_text(encoding="utf-8")
        if str(DOCS.parent) in page:
            raise ValueError(f"{file} names the folder it was built in")
        for original, accessible in ACCESSIBLE.items():
            page = page.replace(original, accessible)
        file.write_text(page, encoding="utf-8")


def first_sentence(page: nodes.document) -> str:
    """Return the first sentence of a page."""
    paragraph = next(iter(page.findall(nodes.paragraph)), nodes.paragraph())
    return re.split(r"(?<=[.:])\s", " ".join(paragraph.astext().split()))[0]


def setup(app: Sphinx) -> None:
    """Connect the functions above with the build."""
    app.connect("config-inited", add_reference)
    app.connect("env-get-outdated", find_tables)
    app.connect("source-read", expand)
    app.connect("missing-reference", resolve)
    app.connect("autodoc-process-docstring", hide_colons, priority=400)
    app.connect("autodoc-process-docstring", show_colons, priority=600)
    app.connect("build-finished", finish)
