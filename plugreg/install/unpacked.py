"""Unpack distributions into a separate prefix, to see their files."""

# ruff: noqa: PTH118
# A Path for each of ten thousands of files would take longer than finding them.
from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from plugreg.discovery.entry_points import find
from plugreg.install.environment import Environment, Found


class Unpacked:
    """What was installed into ``prefix``, laid out as below ``sys.prefix``; it need not be there.

    Nothing is kept: every answer is read from the disk when it is asked for.
    """

    def __init__(self, prefix: Path) -> None:
        self.prefix = prefix

    @property
    def folders(self) -> tuple[Path, Path]:
        """Its ``purelib`` and ``platlib``.

        They are where :mod:`sysconfig` has them, or where they are in a virtual environment: in a
        Python of Debian's those are not the same, and uv takes the latter.
        """
        import sysconfig

        base = dict.fromkeys(("base", "platbase"), str(self.prefix))
        for scheme in (sysconfig.get_default_scheme(), "venv"):
            purelib, platlib = (
                Path(sysconfig.get_path(key, scheme, base)) for key in ("purelib", "platlib")
            )
            if purelib.exists() or platlib.exists():
                break
        return purelib, platlib

    def distributions(self) -> Mapping[str, Found]:
        """Return what is in it, by canonical name."""
        purelib, platlib = self.folders
        return Environment((purelib, platlib, purelib)).distributions()

    def files(self) -> Iterator[str]:
        """Return the paths of all files in it, whoever lists them, and of links, also to folders.

        They begin with where the prefix is when links are followed.
        """
        for folder, folders, files in os.walk(self.prefix.resolve()):
            paths = [os.path.join(folder, name) for name in folders]
            yield from filter(os.path.islink, paths)
            yield from (os.path.join(folder, name) for name in files)


def plugins_in(folders: Iterable[Path], group: str) -> Mapping[str, tuple[str, ...]]:
    """Return the names of the entry points in folders of modules, sorted, by distribution."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for spec in find(group, [str(folder) for folder in folders]).specs:
        if spec.distribution is not None:
            found[spec.distribution].append(spec.name)
    return {name: tuple(sorted(names)) for name, names in found.items()}
