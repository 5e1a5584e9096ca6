"""Activating over HTTP probes first: one click cannot end the host."""

from __future__ import annotations

import sys

import pytest

from plugreg import PluginRegistry
from plugreg._state.probe_report import ProbeUnavailableError
from plugreg.api import Actor, APIError, PluginAPI
from plugreg.storage import TinyDBStorage

SUPERUSER = Actor(1, is_staff=True, is_superuser=True)
FINE = "from plugreg import Plugin\nclass Plug(Plugin):\n    pass\n"


@pytest.fixture
def registry(site, monkeypatch, tmp_path):
    """A host with a plugin that is fine, one that raises, and one that ends the process."""
    monkeypatch.syspath_prepend(site.folder)
    codes = {"fine": "", "raises": "raise ValueError('no')", "crash": "import os; os._exit(3)"}
    for slug, code in codes.items():
        site.dist(
            f"shop-{slug}",
            entry_points={"shop.plugins": {slug: f"probed_{slug}:Plug"}},
            modules={f"probed_{slug}.py": f"{code}\n{FINE}"},
        )
    with PluginRegistry("shop", storage=TinyDBStorage(tmp_path / "plugins.json")) as registry:
        registry.load()
        yield registry
    for slug in codes:
        sys.modules.pop(f"probed_{slug}", None)


def activate(api, slug):
    return api.plugins_activate_partial_update(SUPERUSER, plugin=slug, body={"active": True}).active


def test_what_ends_its_process_is_refused_with_what_the_probe_saw(registry):
    """Nothing is imported here, and no wish is stored."""
    with pytest.raises(APIError) as refused:
        activate(PluginAPI(registry), "crash")
    assert refused.value.status == 400
    (sentence,) = refused.value.errors["non_field_errors"]
    assert "the probe of 'crash' ended with 'exit'" in sentence
    assert "exit code 3" in sentence
    assert not registry.get("crash").wanted
    assert "probed_crash" not in sys.modules


def test_what_merely_raises_is_switched_on_with_its_failure(registry):
    """As its clients know it: the wish is stored, and the status has the fault."""
    assert activate(PluginAPI(registry), "raises") is True
    assert registry.get("raises").wanted
    assert [(failure.slug, failure.stage) for failure in registry.errors] == [("raises", "import")]


def test_what_is_fine_serves(registry):
    """The probe is kept, and shown while the plugin is off."""
    assert activate(PluginAPI(registry), "fine") is True
    assert registry.get("fine").active
    assert registry.probed("fine").outcome == "ok"


def test_a_host_may_do_without(registry):
    """Then no child is started."""
    assert activate(PluginAPI(registry, probe=False), "fine") is True
    assert registry.probed("fine") is None


def test_where_no_child_can_be_started_plugins_can_be_switched_on(registry, monkeypatch):
    """A host may run in a program that is no Python."""
    monkeypatch.setattr(sys, "executable", "/nowhere/httpd")
    with pytest.raises(ProbeUnavailableError):
        registry.probe("fine")
    assert activate(PluginAPI(registry), "fine") is True
    assert registry.get("fine").active


def test_switching_off_starts_nothing(registry, monkeypatch):
    """There is nothing to look at before."""
    api = PluginAPI(registry)
    activate(api, "fine")
    monkeypatch.setattr(sys, "executable", "/nowhere/httpd")
    body = {"active": False}
    assert api.plugins_activate_update(SUPERUSER, plugin="fine", body=body).active is False
