"""Errors of installing: those of plugreg 0.1 that are raised no more can still be imported."""

from __future__ import annotations

import importlib

import pytest

from plugreg.exceptions import InstallError
from plugreg.install import exceptions


@pytest.mark.parametrize(
    ("name", "successor"),
    [
        ("NotAPluginError", exceptions.InstallRefusedError),
        ("ExternallyManagedError", InstallError),
    ],
)
def test_an_old_name_stands_for_what_is_raised_now(name, successor):
    """A host that catches it goes on working, and is warned of the name to use."""
    module = importlib.import_module("plugreg.install.exceptions")
    with pytest.warns(DeprecationWarning, match=f"{name} .* catch {successor.__name__}"):
        found = getattr(module, name)
    assert found is successor


def test_other_names_are_none():
    """A misspelt name is an error, as in any module."""
    with pytest.raises(AttributeError, match="no attribute 'NoSuchError'"):
        _ = exceptions.NoSuchError
