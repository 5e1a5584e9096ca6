"""The host's environment: all distributions that this interpreter finds, except generations."""

from __future__ import annotations

import sys
import zipfile

import pytest

from plugreg.install.distributions import host_distributions, host_path


@pytest.fixture
def generation(tmp_path, site, monkeypatch):
    """Return a function that puts a generation of an environment on the path."""

    def generation(name, *distributions):
        folder = tmp_path / name / "generations" / "1"
        made = type(site)(folder)
        folder.with_suffix(".lock").write_text("")
        for distribution in distributions:
            made.dist(distribution)
        monkeypatch.syspath_prepend(str(folder))
        return tmp_path / name

    return generation


def test_no_generation_is_of_the_host(generation):
    """Of another environment neither: a process that uses this one alone does not have it."""
    own = generation("plugins.d", "shop-tea")
    generation("other.d", "shop-cup")

    assert not {"shop-tea", "shop-cup"} & host_distributions(own).keys()
    assert not [entry for entry in host_path(own) if "generations" in entry]


def test_the_host_s_packages_may_lie_in_the_folder_of_the_environment(
    generation, site, monkeypatch, tmp_path
):
    """As when the environment is the working folder, in which the host's is too."""
    environment = generation(".", "shop-tea")
    site.dist("shop-host")
    monkeypatch.syspath_prepend(str(site))

    assert "shop-host" in host_distributions(environment)
    assert "shop-tea" not in host_distributions(environment)
    assert sys.path[0] in host_path(environment)


def test_what_is_in_a_zip_file_is_the_host_s(tmp_path, monkeypatch):
    """An application that is one file has its distributions there."""
    archive = tmp_path / "host.pyz"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("zipped-2.0.dist-info/METADATA", "Name: Zipped\nVersion: 2.0\n")
    monkeypatch.syspath_prepend(str(archive))

    assert host_distributions(tmp_path / "plugins.d")["zipped"].version == "2.0"
