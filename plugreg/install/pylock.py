"""Lock files (PEP 751): exactly the files of a generation, with their hashes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from plugreg._support.slugs import canonical
from plugreg.exceptions import InstallError
from plugreg.install.plan import Lock, Pin
from plugreg.install.sources import pin_from


def dumps(lock: Lock) -> str:
    """Return the content of a lock file.

    Args:
        lock: The pins, the requests, and the time. The latter two stand in
            ``[tool.plugreg]``.
    """
    lines = ['lock-version = "1.0"', 'created-by = "plugreg"']
    for pin in lock.pins:
        lines += ["", "[[packages]]", f"name = {_value(pin.name)}"]
        lines += [f"version = {_value(pin.version)}", _source_line(pin)]
    lines += [] if lock.pins else ["packages = []"]
    lines += ["", "[tool.plugreg]"]
    if lock.created is not None:
        lines.append(f"created = {lock.created.astimezone(UTC).isoformat(timespec='microseconds')}")
    lines += ["", "[tool.plugreg.asked]"]
    lines += [f"{_value(name)} = {_value(line)}" for name, line in sorted(lock.asked.items())]
    return "".join(f"{line}\n" for line in lines)


def load(path: Path, *, require_hashes: bool = True) -> Lock:
    """Return the entries of a lock file for this interpreter; other programs may have written it.

    Of several files of a distribution, the wheel that suits best is taken, else the source.

    Args:
        path: Path of the file.
        require_hashes: Whether each file must have a sha256.

    Raises:
        InstallError: If the file cannot be read, is for other interpreters, or has a distribution
            without a version, or without a file or commit to install. It has the name.
    """
    import tomllib

    shown = f"lock file {str(path)!r}"
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InstallError([f"{shown} cannot be read: {error}"]) from error
    try:
        own = content.get("tool", {}).get("plugreg", {})
        if str(content["lock-version"]).partition(".")[0] != "1":
            raise ValueError(f"its lock-version is {content['lock-version']!r}, not '1.0'")
        _check_python(content, "it")
        pins = [_pin(package, path.parent) for package in content["packages"] if _applies(package)]
        for pin in pins if require_hashes else ():
            if pin.sha256 is None and "+" not in (pin.source or ""):
                raise ValueError(f"{pin.name!r} has no sha256")
        return Lock(
            pins=tuple(sorted(pins, key=lambda pin: pin.name)),
            asked={canonical(name): str(line) for name, line in own.get("asked", {}).items()},
            created=own["created"] if isinstance(own.get("created"), datetime) else None,
        )
    except KeyError as error:
        raise InstallError([f"{shown} cannot be installed: {error} is missing in it"]) from error
    except (ValueError, TypeError, AttributeError) as error:
        raise InstallError([f"{shown} cannot be installed: {error}"]) from error


# -- writing ----------------------------------------------------------------------------------


def _source_line(pin: Pin) -> str:
    url, _, fragment = (pin.source or "").partition("#")
    folder = fragment.removeprefix("subdirectory=")
    if "+" in url.partition("://")[0]:
        kind, _, address = url.partition("+")
        address, _, commit = address.rpartition("@")
        values = {"type": kind, "url": address, "commit-id": commit, "subdirectory": folder}
        return f"vcs = {_value(values)}"
    file = {"url": url, "size": pin.size, "hashes": pin.sha256 and {"sha256": pin.sha256}}
    if pin.direct:
        return f"archive = {_value({**file, 'subdirectory': folder})}"
    shown = _value({"name": _file_name(url), **file})
    return f"wheels = [{shown}]" if url.endswith(".whl") else f"sdist = {shown}"


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        parts = (f"{key} = {_value(part)}" for key, part in value.items() if part)
        return f"{{ {', '.join(parts)} }}"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")


# -- reading ----------------------------------------------------------------------------------


def _applies(package: Mapping[str, Any]) -> bool:
    """Return whether the marker of a package holds here, without extras and groups."""
    from packaging.markers import InvalidMarker, Marker

    try:
        none: dict[str, Any] = {"extras": set(), "dependency_groups": set()}
        return "marker" not in package or Marker(package["marker"]).evaluate(none)
    except InvalidMarker as error:
        raise ValueError(f"the marker of {package['name']!r}: {error}") from None


def _check_python(found: Mapping[str, Any], name: str) -> None:
    import platform

    from packaging.specifiers import SpecifierSet

    wanted, version = found.get("requires-python", ""), platform.python_version()
    if not SpecifierSet(wanted).contains(version, prereleases=True):
        raise ValueError(f"{name} requires Python {wanted!r}, and this is {version}")


def _pin(package: Mapping[str, Any], folder: Path) -> Pin:
    from packaging.version import Version

    name = canonical(package["name"])
    _check_python(package, repr(name))
    repository = package.get("vcs")
    file = repository or package.get("archive") or _best_file(package)
    url = file.get("url") or (folder / file["path"]).absolute().as_uri()
    direct = {"url": url, "subdirectory": file.get("subdirectory"), "size": file.get("size")}
    if repository is None:
        direct["archive_info"] = {"hashes": file.get("hashes")}
    else:
        direct["vcs_info"] = {"vcs": file["type"], "commit_id": file["commit-id"]}
    if "version" not in package:
        raise ValueError(f"{name!r} has no version")
    Version(package["version"])
    is_direct = "vcs" in package or "archive" in package
    return pin_from(direct, name, package["version"], is_direct=is_direct)


def _best_file(package: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the wheel that suits this interpreter best, else the source distribution."""
    from packaging.tags import sys_tags
    from packaging.utils import parse_wheel_filename

    wheels: list[Mapping[str, Any]] = package.get("wheels", [])
    if len(wheels) == 1:
        return wheels[0]  # Who has chosen it knows that it suits; ranking all tags takes long.
    ranks = {tag: rank for rank, tag in enumerate(sys_tags())} if wheels else {}

    def ranked(wheel: Mapping[str, Any]) -> tuple[int, int]:
        name = wheel.get("name") or _file_name(wheel.get("url") or wheel["path"])
        _, _, build, tags = parse_wheel_filename(name)
        return min(ranks.get(tag, len(ranks)) for tag in tags), -(build[0] if build else 0)

    suiting = (wheel for wheel in wheels if ranked(wheel)[0] < len(ranks))
    source: Mapping[str, Any] | None = min(suiting, key=ranked, default=package.get("sdist"))
    if source is None:
        raise ValueError(f"{package['name']!r} has no file that suits this interpreter")
    return source


def _file_name(url: str) -> str:
    return unquote(urlsplit(url).path).rpartition("/")[2]
