"""Distributions in a prefix of their own, which shows what they would bring, and put where."""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from plugreg.discovery.entry_points import find
from plugreg.exceptions import InstallError
from plugreg.install.environment import Environment, Found
from plugreg.install.plan import Refusal


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
                Path(sysconfig.get_path(each, scheme, base)) for each in ("purelib", "platlib")
            )
            if purelib.exists() or platlib.exists():
                break
        return purelib, platlib

    def distributions(self) -> Mapping[str, Found]:
        """Return what is in it, by canonical name."""
        purelib, platlib = self.folders
        return Environment((purelib, platlib, purelib)).distributions()

    def data_files(self, environment: Environment) -> tuple[tuple[str, ...], list[Refusal]]:
        """Return the files that would be put elsewhere than in the folders of ``environment``.

        They are relative to ``sys.prefix``, sorted, with slashes. A path that leads outside of
        that is refused, and so is a file that is there already, unless a distribution in here
        has it now. A link among the folders is followed. Raises InstallError where a RECORD, which
        lists the files of a distribution (PEP 376), cannot be read.
        """
        prefix = Path(sys.prefix).resolve()
        brought = self.distributions()
        own = set(_outside(environment.files(brought), environment.folders))
        files, refusals = set(), []
        for name, found in brought.items():
            # It is seen from the folder of modules, and that is as deep in any prefix.
            listed = (Path(os.path.normpath(environment.purelib / each)) for each in _listed(found))
            for each in _outside(listed, environment.folders):
                fault = None
                if not each.is_relative_to(prefix):
                    fault = f"{str(each)!r} among its files, which is outside of {sys.prefix!r}"
                elif os.path.lexists(each) and each not in own:
                    fault = (
                        f"{str(each)!r} among its files, which is there already, and belongs to "
                        f"another distribution or to nobody that plugreg knows"
                    )
                else:
                    files.add(each.relative_to(prefix).as_posix())
                if fault is not None:
                    reason = f"{name!r} has {fault}; ask for a version without it"
                    refusals.append(Refusal(rule="environment", reason=reason))
        return tuple(sorted(files)), refusals


def plugins_in(folders: Iterable[Path], name: str, group: str) -> tuple[str, ...]:
    """Return the names of the entry points that a distribution in folders of modules has."""
    specs = find(group, [str(each) for each in folders]).specs
    return tuple(sorted(each.name for each in specs if each.distribution == name))


def _listed(found: Found) -> Sequence[str]:
    """Return the files of a distribution as its RECORD has them, those that are missing too."""
    try:
        text = (found.path / "RECORD").read_text("utf-8")
        if "\0" in text:
            raise ValueError("it has a null character")
        return [row[0] for row in csv.reader(text.splitlines()) if row]
    except (OSError, ValueError, csv.Error) as error:
        raise InstallError([f"the RECORD of {found.name!r} cannot be read: {error}"]) from error


def _outside(files: Iterable[Path], folders: Sequence[Path]) -> Iterator[Path]:
    """Return the files that are in none of the folders, with links among their parents followed."""
    for each in files:
        if not any(map(each.is_relative_to, folders)):
            place = Path(os.path.realpath(each.parent), each.name)
            if not any(map(place.is_relative_to, folders)):
                yield place
