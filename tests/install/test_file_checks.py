"""Modules of the host are found wherever it imports them from; test_contents has the rest."""

from __future__ import annotations

import importlib.util
import sys
import zipfile
from pathlib import Path

import pytest

from plugreg.install.file_checks import check_files
from plugreg.install.plan import Pin


class Editable:
    """Finds one module elsewhere, as the finder of an editable installation does."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def find_spec(self, name, path=None, target=None):
        if name != "checked_host":
            return None
        return importlib.util.spec_from_file_location(
            name, self._file, submodule_search_locations=[str(self._file.parent)]
        )


@pytest.fixture
def refusals(site):
    """Return a function that returns the refusals of a distribution with these files."""
    path = list(sys.path)

    def refusals(*paths, host=()):
        site.dist("shop-tea", modules=dict.fromkeys(paths, ""))
        pins = [Pin(name="shop-tea", version="1.0")]
        host = () if host is None else [*path, *host]
        found = check_files(site.folder, pins, host=host, kept=[])
        return " ".join(refusal.reason for refusal in found.refusals)

    return refusals


PATHS = ["checked_host.py", "checked_host/__init__.py", "checked_host/more.py"]


@pytest.mark.parametrize("path", PATHS)
def test_a_module_of_an_editable_installation_is_the_host_s(refusals, monkeypatch, tmp_path, path):
    """Its finder comes after the folders on the path, so that the plugin's would be imported."""
    finder = Editable(tmp_path / "src" / "checked_host" / "__init__.py")
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, finder])

    assert path in refusals(path)


def test_an_isolated_plugin_may_bring_what_the_host_has(refusals, monkeypatch, tmp_path):
    """Beside it nothing of the host's counts, wherever that is found."""
    finder = Editable(tmp_path / "src" / "checked_host" / "__init__.py")
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, finder])

    assert refusals("checked_host.py", host=None) == ""


@pytest.mark.parametrize("path", PATHS)
def test_a_module_in_a_zip_file_is_the_host_s(refusals, tmp_path, path):
    """As an application has it that is one file."""
    archive = tmp_path / "host.pyz"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("checked_host/__init__.py", "")

    assert path in refusals(path, host=[str(archive)])


def test_a_finder_that_finds_what_serves_is_no_matter(refusals, monkeypatch, tmp_path):
    """That of pytest finds the plugin's own modules in the generation before."""
    served = tmp_path / "generations" / "1"
    finder = Editable(served / "checked_host" / "__init__.py")
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, finder])
    monkeypatch.setattr(sys, "path", [*sys.path, str(served)])

    assert refusals("checked_host.py") == ""


@pytest.mark.parametrize(
    ("of_host", "path"),
    [
        ("checked_data/images/logo.svg", "checked_data/__init__.py"),
        ("checked-host/module.py", "checked-host/__init__.py"),
        ("checked-host/module.py", "checked-host/module.py"),
    ],
)
def test_a_namespace_of_the_host_stays_one(refusals, tmp_path, of_host, path):
    """A folder without modules has resources, and a name that is no identifier can be imported."""
    (tmp_path / "host" / of_host).parent.mkdir(parents=True)
    (tmp_path / "host" / of_host).touch()

    assert path in refusals(path, host=[str(tmp_path / "host")])
