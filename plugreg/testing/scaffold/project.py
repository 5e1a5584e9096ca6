"""The files of a new plugin's project: templates, filled in from the host's contract."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from keyword import iskeyword
from pathlib import Path
from string import Template
from textwrap import indent
from typing import Annotated, Final, Literal

from pydantic import Field, TypeAdapter, ValidationError

from plugreg._support.frozen import Frozen
from plugreg._support.slugs import Slug, canonical, near, slug_fault, slugify
from plugreg.contract.file import first_fault
from plugreg.contract.values import ContractTerms
from plugreg.mixins import KEYS
from plugreg.testing.scaffold.code import (
    INDENT,
    Part,
    hook_part,
    imports,
    method,
    modules_in,
    wrapped,
)

RECORD: Final = ".plugreg-new.json"
"""The file that keeps the request and the generated files, for the next update."""

_TEMPLATES: Final = Path(__file__).with_name("templates")

_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")

_NAMED: Final = (
    "typing:Any",
    "typing:Literal",
    "collections.abc:Awaitable",
    "collections.abc:Callable",
    "collections.abc:Collection",
    "collections.abc:Iterable",
    "collections.abc:Iterator",
    "collections.abc:Mapping",
    "collections.abc:Sequence",
)
"""What generated classes import where they use it."""

_URLS: Final = "URLs are handed over as objects, which cannot be sent to another process."


class ProjectRecord(Frozen):
    """The request and the generated files of an earlier run.

    Attributes:
        format: Version of the format.
        name: Name of the distribution.
        app: Name of the host's registry.
        hooks: The implemented hooks.
        mixins: Keys of the mixins.
        files: Contents of the generated files by path.
    """

    format: Annotated[Literal[1], Field(alias="plugreg-new")]
    name: str
    app: str | None = None
    hooks: tuple[str, ...]
    mixins: tuple[str, ...]
    files: Mapping[str, str]


class NewPlugin(Frozen):
    """The request: a plugin of a name, with some hooks and mixins of its host.

    Attributes:
        name: Name of the distribution.
        contract: The contract of the host.
        app: Name of the host's registry, as the command line takes it.
        hooks: The hooks to implement.
        mixins: Keys of the mixins to derive from.
        testing: Module of the host with its own ``plugin_host`` and ``Conformance``, if any.
        is_host_installed: Whether the host has a distribution that the plugin can require.
        host_path: Folder of a host that is not installed, from the project.
    """

    name: str
    contract: ContractTerms
    app: str | None = None
    hooks: tuple[str, ...] = ()
    mixins: tuple[str, ...] = ()
    testing: str | None = None
    is_host_installed: bool = True
    host_path: str | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(
                f"{self.name!r} is no name of a distribution; use letters, digits, - and _"
            )
        fault = slug_fault(self.slug, self.name)
        if fault is not None:
            raise ValueError(fault)
        for kind, names, known in (
            ("hook", self.hooks, self.contract.hooks),
            ("mixin", self.mixins, self.contract.mixins),
        ):
            for name in names:
                if name not in known:
                    hint = near(name, known) or f"; there are: {', '.join(known)}"
                    raise ValueError(f"{self.contract.host} has no {kind} {name!r}{hint}")

    @property
    def slug(self) -> Slug:
        """The plugin's identity: its name without that of the host before it."""
        slug = slugify(canonical(self.name))
        return Slug(slug.removeprefix(f"{slugify(self.contract.host)}-") or slug)

    @property
    def module(self) -> str:
        """The package that holds the plugin."""
        name = re.sub(r"\W", "_", self.name.lower())
        return name if name.isidentifier() and not iskeyword(name) else f"plugin_{name}"

    @property
    def class_name(self) -> str:
        """Name of the class."""
        name = "".join(word[:1].upper() + word[1:] for word in re.split(r"[-_]+", self.slug))
        name = name if name[:1].isalpha() else f"Plugin{name}"
        # The same name must not be imported beside it.
        taken = {*self._specs, *(mixin.source for mixin in self.contract.mixins.values())}
        taken |= {*_NAMED, ":Conformance", ":Plugin", ":PluginHost"}
        is_taken = iskeyword(name) or name in map(_name_in, taken)
        return f"{name}Plugin" if is_taken else name

    @property
    def title(self) -> str:
        """Name of the plugin for people."""
        return re.sub(r"[-_]+", " ", self.slug).capitalize()

    def files(self) -> dict[str, str]:
        """Return the contents of all files by path, in a stable order."""
        parts = [self._mixin(key) for key in self.mixins]
        parts += [hook_part(name, self.contract.hooks[name]) for name in self.hooks]
        answers = {
            "name": self.name,
            "slug": self.slug,
            "title": self.title,
            "module": self.module,
            "class_name": self.class_name,
            "host": self.contract.host,
            "group": self.contract.group,
            "testing": self.testing,
            **self._project(parts),
            **self._code(parts),
            **self._tests(parts),
        }
        templates = {
            "pyproject.toml": "pyproject",
            "README.md": "readme",
            ".gitignore": "gitignore",
            ".github/workflows/ci.yml": "workflow",
            f"{self.module}/__init__.py": "plugin",
            f"tests/test_{self.slug.replace('-', '_')}.py": "tests",
            "tests/test_conformance.py": "conformance",
            **({} if self.testing is None else {"tests/conftest.py": "conftest"}),
        }
        files = {path: _fill(name, answers) for path, name in templates.items()}
        # A key without a value would say nothing.
        pyproject = re.sub(r'(?m)^\w+ = (?:""|\[\])\n', "", files["pyproject.toml"])
        return {**files, "pyproject.toml": pyproject, f"{self.module}/py.typed": ""}

    def record(self) -> str:
        """Return the contents of the file that an update reads."""
        record = {
            "plugreg-new": 1,
            "name": self.name,
            "app": self.app,
            "hooks": self.hooks,
            "mixins": self.mixins,
            "files": self.files(),
        }
        return json.dumps(record, indent=2, ensure_ascii=False) + "\n"

    @property
    def _specs(self) -> tuple[str, ...]:
        """The holders of the hooks' specifications."""
        return tuple(
            dict.fromkeys(hook.source for hook in self.contract.hooks.values() if hook.source)
        )

    @property
    def _bases(self) -> list[str]:
        """The classes of the mixins."""
        sources = [self.contract.mixins[key].source for key in self.mixins]
        return [re.sub(r"^plugreg\.mixins\.\w+", "plugreg.mixins", source) for source in sources]

    def _mixin(self, key: str) -> Part:
        if key in KEYS:
            text = _fill(f"mixins/{key}", {"slug": self.slug})
            attributes, methods, tests = re.split(r"(?m)^---$", text)
            exempt = (("K701", _URLS),) if key == "urls" else ()
            return Part(attributes.strip(), methods.strip(), tests.strip(), exempt)
        codes = [
            method(name, found)
            for name, found in self.contract.mixins[key].methods.items()
            if not any(argument.name.startswith("*") for argument in found.arguments)
        ]
        return Part("", "\n\n".join(code for code in codes if "NotImplemented" not in code), "")

    def _project(self, parts: Iterable[Part]) -> dict[str, str]:
        from packaging.version import Version

        exempt = dict(sorted(row for part in parts for row in part.exempt))
        dependencies = [f"plugreg>={Version(version('plugreg')).public}"]
        if not self.is_host_installed:
            exempt = {"K108": "The host is no distribution that could be required.", **exempt}
        elif self.contract.version is None:
            dependencies.append(self.contract.distribution)
        else:
            found = Version(self.contract.version)
            bounds = f">={found.public},<{found.major + 1}"
            dependencies.append(f"{self.contract.distribution}{bounds}")
        sources = (*self._specs, *self._bases)
        modules = {re.split(r"[.:]", source)[0] for source in sources} - {"plugreg"}
        modules = modules or {self.contract.distribution.replace("-", "_")}
        pairs = [name for module in sorted(modules) for name in (module, f"{module}.*")]
        return {
            "dependencies": json.dumps(dependencies),
            "app": json.dumps(self.app or ""),
            "path": json.dumps([self.host_path] if self.host_path else []),
            "exempt": "".join(f"{code} = {json.dumps(exempt[code])}\n" for code in exempt),
            "host_modules": json.dumps(pairs),
        }

    def _code(self, parts: Iterable[Part]) -> dict[str, str]:
        bases = [*map(_name_in, self._bases), "Plugin"]
        head = wrapped(f"class {self.class_name}(", bases, "):", width=100)
        attributes = [f'TITLE = "{self.title}"', *(part.attributes for part in parts)]
        methods = [part.methods for part in parts]
        body = "\n\n".join(filter(None, ["\n".join(filter(None, attributes)), *methods]))
        used = [name for name in _NAMED if re.search(rf"\b{_name_in(name)}\b", body)]
        own = ["plugreg:Plugin", *(["plugreg:hookimpl"] if self.hooks else [])]
        return {
            "plugin_imports": imports([*own, *used, *self._bases, *modules_in(body)]),
            "class_head": head,
            "class_body": indent(body, INDENT),
        }

    def _tests(self, parts: Iterable[Part]) -> dict[str, str]:
        specs = () if self.testing else self._specs
        tests = "".join(f"\n\n{part.tests}\n" for part in parts if part.tests)
        modules = ["collections.abc:Callable", "pytest", "plugreg.testing:PluginHost"]
        modules += ["asyncio"] if "asyncio." in tests else []
        names = [*map(_name_in, specs)]
        arguments = [*names, self.class_name]
        attributes: list[str] = []
        if self.testing is None:
            arguments.append(f'host="{self.contract.host}"')
            attributes.append(f'host = "{self.contract.host}"')
            if self.contract.version:
                attributes.append(f'host_version = "{self.contract.version}"')
            if names:
                attributes.append(f"hookspecs = ({', '.join(names)},)")
        conformance = f"{self.testing or 'plugreg.testing'}:Conformance"
        return {
            "tests": tests,
            "tests_imports": imports(
                [*modules, *specs, f"{self.module}:{self.class_name}"], self.module
            ),
            "make_host": indent(wrapped("return plugin_host(", arguments, ")"), INDENT),
            "conformance_imports": imports([conformance, *specs]),
            "conformance_host": indent("\n".join(attributes), INDENT),
        }


def _name_in(source: str) -> str:
    """Return the name of a class or module as code that has imported it."""
    return source.rpartition(":")[2]


def _fill(name: str, answers: Mapping[str, object]) -> str:
    text = (_TEMPLATES / f"{name}.txt").read_text(encoding="utf-8")
    return Template(text).substitute(answers).rstrip("\n") + "\n"


def read_record(text: str) -> ProjectRecord:
    """Return the record of an earlier run.

    Args:
        text: Contents of the record.

    Raises:
        ValueError: If it is damaged, or of another version.
    """
    try:
        return TypeAdapter(ProjectRecord).validate_json(text, strict=True)
    except ValidationError as error:
        field, reason = first_fault(error)
        raise ValueError(
            f"{RECORD} is damaged, or of a newer plugreg: {f'field {field!r}: ' if field else ''}"
            f"{reason}; restore it, or update plugreg"
        ) from error
