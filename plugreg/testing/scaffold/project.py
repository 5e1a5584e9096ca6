"""The files of a new plugin's project, as a function from the host's contract."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from keyword import iskeyword
from typing import Any, Final

from plugreg._support.frozen import Frozen
from plugreg._support.slugs import Slug, canonical, near, slug_fault, slugify
from plugreg.contract.values import ContractTerms, MixinContract
from plugreg.testing.scaffold.code import INDENT, Part, imports, modules_in, summary
from plugreg.testing.scaffold.parts import hook_part, mixin_part

RECORD: Final = ".plugreg-new.json"
"""The file that keeps the request and the generated files, for the next update."""

_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")

_TAKEN: Final = ("Any", "Callable", "Conformance", "Mapping", "Plugin", "PluginHost", "Sequence")
"""Names that generated modules import."""

_IGNORED: Final = ("__pycache__/", ".venv/", ".*_cache/", "dist/")

_TYPING: Final = ("Any", "Literal")
_ABC: Final = ("Awaitable", "Callable", "Collection", "Iterable", "Iterator", "Mapping", "Sequence")


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
        words = re.split(r"[-_]+", self.slug)
        name = "".join(word[:1].upper() + word[1:] for word in words)
        name = name if name[:1].isalpha() else f"Plugin{name}"
        # The same name must not be imported beside it.
        mixins = {mixin.source.rpartition(":")[2] for mixin in self.contract.mixins.values()}
        is_taken = iskeyword(name) or name in {*mixins, *self._sources.values(), *_TAKEN}
        return f"{name}Plugin" if is_taken else name

    @property
    def title(self) -> str:
        """Name of the plugin for people."""
        return re.sub(r"[-_]+", " ", self.slug).capitalize()

    def files(self) -> dict[str, str]:
        """Return the contents of all files by path, in a stable order."""
        parts = self._parts()
        files = {
            "pyproject.toml": self._pyproject(parts),
            "README.md": self._readme(),
            ".gitignore": "".join(f"{name}\n" for name in _IGNORED),
            ".github/workflows/ci.yml": self._workflow(),
            f"{self.module}/__init__.py": self._code(parts),
            f"{self.module}/py.typed": "",
            f"tests/test_{self.slug.replace('-', '_')}.py": self._tests(parts),
            "tests/test_conformance.py": self._conformance(),
        }
        if self.testing is not None:
            files["tests/conftest.py"] = (
                '"""The fixture of the host."""\n\n'
                f'from {self.testing} import plugin_host\n\n__all__ = ["plugin_host"]\n'
            )
        return files

    def record(self) -> str:
        """Return the contents of the file that an update reads."""
        record = {
            "plugreg-new": 1,
            "name": self.name,
            "app": self.app,
            "hooks": list(self.hooks),
            "mixins": list(self.mixins),
            "files": self.files(),
        }
        return json.dumps(record, indent=2, ensure_ascii=False) + "\n"

    # -- the files ---------------------------------------------------------------------------

    @property
    def _sources(self) -> dict[str, str]:
        """How tests name the holder of each hook's specification, by its source."""
        sources = dict.fromkeys(hook.source for hook in self.contract.hooks.values() if hook.source)
        return {source: source.rpartition(":")[2] or source for source in sources}

    @property
    def _made_by_host(self) -> str:
        """How tests make their host."""
        if self.testing is not None:
            return f"plugin_host({self.class_name})"
        specs = "".join(f"{name}, " for name in self._sources.values())
        return f'plugin_host({specs}{self.class_name}, host="{self.contract.host}")'

    @property
    def _mixins(self) -> list[MixinContract]:
        return [self.contract.mixins[key] for key in self.mixins]

    def _parts(self) -> list[Part]:
        host = self._made_by_host
        parts = [mixin_part(key, self.contract.mixins[key], self.slug, host) for key in self.mixins]
        for name in self.hooks:
            hook = self.contract.hooks[name]
            holder = self._sources.get(hook.source or "")
            spec = f"{holder}.{name}" if holder else f'"{name}"'
            parts.append(hook_part(name, hook, spec, host))
        return parts

    def _code(self, parts: Sequence[Part]) -> str:
        mixins = [mixin.source for mixin in self._mixins]
        bases = [*(source.rpartition(":")[2] for source in mixins), "Plugin"]
        blocks = [f'TITLE = "{self.title}"']
        blocks += [attribute for part in parts for attribute in part.attributes]
        inner = "\n".join(blocks)
        methods = [code for part in parts for code in part.methods]
        inner = "\n\n".join([inner, *methods])
        doc = summary(f"{self.title} for {self.contract.host}.", "")
        head = _class_line(self.class_name, bases)
        lines = [f"{INDENT}{line}".rstrip() for line in inner.splitlines()]
        code = f"{head}\n{INDENT}{doc}\n\n" + "\n".join(lines) + "\n"
        named: dict[str, list[str]] = {
            "plugreg": ["Plugin", *(["hookimpl"] if self.hooks else [])],
            "typing": [name for name in _TYPING if re.search(rf"\b{name}\b", code)],
            "collections.abc": [name for name in _ABC if re.search(rf"\b{name}\[", code)],
        }
        for source in mixins:
            module, _, name = source.partition(":")
            module = "plugreg.mixins" if module.startswith("plugreg.mixins.") else module
            named.setdefault(module, []).append(name)
        signatures = re.findall(r"def \w+\((?:.|\n)*?:\n", code)
        plain = sorted({module for text in signatures for module in modules_in(text)})
        return f'"""{self.title}, a plugin for {self.contract.host}."""\n\n' + (
            f"{imports(plain, named)}\n\n\n{code}"
        )

    def _tests(self, parts: Sequence[Part]) -> str:
        tests = [code for part in parts for code in part.tests]
        if not tests:
            tests = [
                f"def test_is_active(plugin_host: MakeHost) -> None:\n"
                f'{INDENT}"""It comes into service."""\n'
                f"{INDENT}host = {self._made_by_host}\n\n"
                f"{INDENT}assert [*host.registry.active] == [host.slug]"
            ]
        code = "\n\n\n".join(tests)
        named = {
            "collections.abc": ["Callable"],
            "plugreg.testing": ["PluginHost"],
            self.module: [self.class_name],
            "plugreg.mixins": ["ValidationFault"] if "ValidationFault" in code else [],
        }
        for mixin in self._mixins:
            module, _, name = mixin.source.partition(":")
            if f", {name})" in code:
                named.setdefault(module, []).append(name)
        plain = [name for name in ("asyncio", "pytest") if f"{name}." in code]
        for source, name in self._sources.items():
            if f"{name}." not in code and f"{name}," not in code:
                continue
            module, colon, _ = source.partition(":")
            if colon:
                named.setdefault(module, []).append(name)
            else:
                plain.append(module)
        return (
            f'"""Tests of {self.title.lower()}."""\n\n'
            f"{imports(sorted(plain), named, [self.module])}\n\n"
            f"MakeHost = Callable[..., PluginHost]\n\n\n{code}\n"
        )

    def _conformance(self) -> str:
        head = (
            f'"""The checks of plugreg, one test each."""\n\n'
            f"{{imports}}\n\n\nclass Test{self.class_name}({{base}}):\n"
            f'{INDENT}"""{self.title} keeps what {self.contract.host} asks for."""\n\n'
            f'{INDENT}plugin = "{self.module}:{self.class_name}"\n'
        )
        if self.testing is not None:
            written = f"from {self.testing} import Conformance"
            return head.format(imports=written, base="Conformance")
        named = {"plugreg.testing": ["Conformance"]}
        plain = []
        for source, name in self._sources.items():
            module, colon, _ = source.partition(":")
            if colon:
                named.setdefault(module, []).append(name)
            else:
                plain.append(module)
        code = head.format(imports=imports(plain, named), base="Conformance")
        code += f'{INDENT}host = "{self.contract.host}"\n'
        if self.contract.version:
            code += f'{INDENT}host_version = "{self.contract.version}"\n'
        if self._sources:
            code += f"{INDENT}hookspecs = ({', '.join(self._sources.values())},)\n"
        return code

    def _pyproject(self, parts: Sequence[Part]) -> str:
        exempt = {code: reason for part in parts for code, reason in part.exempt}
        dependencies = [f"plugreg>={_plugreg_version()}"]
        if self.is_host_installed:
            dependencies.append(f"{self.contract.distribution}{_range(self.contract.version)}")
        else:
            exempt["K108"] = "The host is no distribution that could be required."
        places = [mixin.source for mixin in self._mixins if _is_hosts(mixin.source)]
        tops = {place.partition(":")[0].partition(".")[0] for place in (*self._sources, *places)}
        tops = tops or {self.contract.distribution.replace("-", "_")}
        hosts = ", ".join(f'"{name}", "{name}.*"' for name in sorted(tops))
        path = json.dumps(self.host_path)
        tests_path = mypy_path = ""
        app = f'[tool.plugreg]\napp = "{self.app}"\n' if self.app else ""
        if self.host_path is not None:
            app = (app or "[tool.plugreg]\n") + f"path = [{path}]\n"
            tests_path = f"pythonpath = [{path}]\n"
            mypy_path = f"mypy_path = {path}\n"
        app += "\n" if app else ""
        exemptions = "".join(
            f"{code} = {json.dumps(reason)}\n" for code, reason in sorted(exempt.items())
        )
        if exemptions:
            app += f"[tool.plugreg.check.exempt]\n{exemptions}\n"
        untyped = [self.module] if any(_is_hosts(m.source) for m in self._mixins) else []
        untyped += ["test_conformance"] if self.testing is not None else []
        subclassing = ""
        if untyped:
            modules = ", ".join(f'"{name}"' for name in untyped)
            subclassing = (
                f"[[tool.mypy.overrides]]\nmodule = [{modules}]\n"
                f"disallow_subclassing_any = false\n\n"
            )
        listed = ",\n".join(f"    {json.dumps(line)}" for line in dependencies)
        return f"""[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "{self.name}"
version = "0.1.0"
description = "{self.title} for {self.contract.host}"
readme = "README.md"
requires-python = ">=3.11"
license = "MIT"
dependencies = [
{listed},
]

[project.entry-points."{self.contract.group}"]
{self.slug} = "{self.module}:{self.class_name}"

[dependency-groups]
dev = ["plugreg[kit]", "mypy>=1.15", "ruff>=0.9"]

{app}[tool.hatch.build.targets.wheel]
packages = ["{self.module}"]

[tool.pytest.ini_options]
testpaths = ["tests"]
{tests_path}
[tool.mypy]
strict = true
files = ["{self.module}", "tests"]
{mypy_path}
[[tool.mypy.overrides]]
module = [{hosts}]
ignore_missing_imports = true
follow_imports = "silent"

{subclassing}[tool.ruff]
target-version = "py311"
line-length = 100

[tool.ruff.lint]
select = ["B", "C4", "E", "F", "I", "PIE", "SIM", "UP", "W"]
"""

    def _readme(self) -> str:
        return f"""# {self.name}

{self.title} for {self.contract.host}.

## Work on it

```console
$ python -m venv .venv && . .venv/bin/activate
$ pip install --editable . 'plugreg[kit]' mypy ruff
$ pytest
$ plugreg check
$ mypy && ruff check . && ruff format --check .
```

`plugreg check` tries the plugin as its host would, and says how to mend what is wrong. When the
host has a new version, `plugreg new {self.name} --update` in the folder above takes over what has
changed, and leaves what you wrote.
"""

    def _workflow(self) -> str:
        return f"""name: CI

on:
  push:
  pull_request:

jobs:
  test:
    runs-on: ubuntu-latest
    strategy:
      matrix:
        python: ["3.11", "3.13"]
    steps:
      - uses: actions/checkout@v4
      - uses: actions/setup-python@v5
        with:
          python-version: ${{{{ matrix.python }}}}
      - run: pip install --editable . 'plugreg[kit]' mypy ruff build
      - run: ruff check . && ruff format --check .
      - run: mypy
      - run: pytest
      - run: plugreg check . --format github
      - run: python -m build --wheel
      - run: plugreg check dist/{self.module}-*.whl --format github
"""


def _is_hosts(source: str) -> bool:
    return not source.startswith("plugreg.")


def _class_line(name: str, bases: Sequence[str]) -> str:
    line = f"class {name}({', '.join(bases)}):"
    if len(line) <= 100:
        return line
    inner = f"{INDENT}{', '.join(bases)}"
    if len(inner) <= 100:
        return f"class {name}(\n{inner}\n):"
    return f"class {name}(\n" + "".join(f"{INDENT}{base},\n" for base in bases) + "):"


def _plugreg_version() -> str:
    try:
        return version("plugreg").partition("+")[0]
    except PackageNotFoundError:
        return "0.2"


def _range(host_version: str | None) -> str:
    """Return the range of versions from a host's own to its next major version."""
    if host_version is None:
        return ""
    from packaging.version import Version

    found = Version(host_version)
    return f">={found.public},<{found.major + 1}"


def read_record(text: str) -> Mapping[str, Any]:
    """Return the record of an earlier run.

    Args:
        text: Contents of the record.

    Raises:
        ValueError: If it is damaged, or of another version.
    """
    try:
        record = json.loads(text)
    except ValueError:
        record = None
    wanted: Iterator[bool] = (
        isinstance(record, dict) and isinstance(record.get(name), kind)
        for name, kind in (("files", dict), ("hooks", list), ("mixins", list), ("name", str))
    )
    if not all(wanted) or record.get("plugreg-new") != 1:
        raise ValueError(f"{RECORD} is damaged, or of a newer plugreg; restore it, or update")
    found: Mapping[str, Any] = record
    return found
