"""From a requirement to a generation, and back."""

from __future__ import annotations

import time

import pytest

from plugreg import PluginRegistry
from plugreg.admin.jobs import InstallJob, Jobs
from plugreg.api import Actor
from plugreg.storage import MemoryStorage

LONG_AGO = "2020-01-01T00:00:00+00:00"
TEA = {"page_tea.py": "from plugreg import Plugin\nclass Tea(Plugin):\n    pass\n"}


@pytest.fixture
def shop(folder_installer):
    """Yield a loaded registry that can install ``shop-tea``."""
    folder_installer.ready = {"shop-tea": ("1.0", {"tea": "page_tea:Tea"}, TEA)}
    with PluginRegistry("shop", installer=folder_installer, storage=MemoryStorage()) as made:
        made.load()
        yield made


@pytest.fixture
def screen(shop, visitor_of):
    """Return the screen for installing, before a superuser."""
    return visitor_of(shop)("install/")


def ended(page):
    """Wait until an installation has ended, as a browser does by loading the page again."""
    deadline = time.monotonic() + 60
    while "http-equiv" in page.text:
        assert time.monotonic() < deadline
        time.sleep(0.05)
        page = page.visitor.get(page.address)
    return page


def test_from_the_plan_to_the_result(screen, shop):
    """The plan changes nothing; its confirmation installs, and the result leads to the plugin."""
    plan = screen.press("Plan", requirement="shop-tea")

    assert plan.doc.headings == ["Install shop-tea?"]
    assert "+ added shop-tea 1.0 tea" in plan.doc.text
    assert "abababab" in plan.doc.text
    assert shop.packages.generations() == ()

    page = ended(plan.press("Install"))

    assert page.doc.headings == ["shop-tea is installed"]
    assert page.follow("Activate tea").press("Activate").doc.roles["status"] == ["tea is active."]
    assert shop.get("tea").active


def test_what_is_installed_can_be_rolled_back(screen, shop, folder_installer):
    """Each generation is listed, and an earlier one serves again at the press of a button."""
    ended(screen.press("Plan", requirement="shop-tea").press("Install"))
    folder_installer.ready["shop-tea"] = ("2.0", {"tea": "page_tea:Tea"}, TEA)
    ended(screen.press("Plan", requirement="shop-tea==2.0").press("Install"))
    page = screen.visitor("install/")

    assert "2 ✓ serves" in page.doc.text
    assert [button for button in page.buttons() if button.startswith("Roll back")] == [
        "Roll back to generation 1"
    ]

    page = page.press("Roll back to generation 1")

    assert page.doc.roles["status"] == ["Generation 1 serves."]
    assert shop.get("tea").version == "1.0"
    assert "user 1" in page.doc.text
    assert "rollback" in page.doc.text


@pytest.mark.parametrize("number", ["", "x", "-1", "9" * 5000])
def test_only_a_generation_that_is_named_serves_again(screen, shop, folder_installer, number):
    """Where the form names none, no other is chosen, and the answer is no success."""
    ended(screen.press("Plan", requirement="shop-tea").press("Install"))
    folder_installer.ready["shop-tea"] = ("2.0", {"tea": "page_tea:Tea"}, TEA)
    ended(screen.press("Plan", requirement="shop-tea==2.0").press("Install"))
    token = screen.visitor("install/").doc.tags_of("csrf_token")["value"]
    fields = {"csrf_token": token, "generation": number}
    page = screen.visitor.post("/admin/install/rollback/", fields)

    assert "nothing was changed" in page.doc.roles["alert"][0]
    assert "2 ✓ serves" in page.doc.text


def test_credentials_are_in_no_address(screen):
    """Addresses are logged; typed text stands in the form alone."""
    plan = screen.press("Plan", requirement="shop-tea @ https://me:hush@git.example/tea.whl")

    assert not [address for _, address in plan.doc.links if "hush" in address]


def test_a_requirement_that_is_none_is_refused_beside_its_field(screen):
    """The field keeps the typed text, is marked, and is described by the reason."""
    for typed in ("", "not a requirement at all", "shop-coffee"):
        page = screen.press("Plan", requirement=typed)
        field = next(given for _, given in page.doc.tags if given.get("id") == "requirement")

        assert page.status == 400
        assert field["value"] == typed
        assert field["aria-invalid"] == "true"
        assert field["aria-describedby"].startswith("requirement-wrong")
        assert page.doc.roles["alert"]


def test_what_was_confirmed_is_installed(screen, shop, folder_installer):
    """A release that comes out between plan and confirmation changes nothing of the plan."""
    plan = screen.press("Plan", requirement="shop-tea")
    folder_installer.ready["shop-tea"] = ("1.1", {"tea": "page_tea:Tea"}, TEA)
    ended(plan.press("Install"))

    assert shop.get("tea").version == "1.0"


def test_another_process_installs_the_same_or_nothing(screen, shop, folder_installer, visitor_of):
    """A process that has not made the plan makes it again, and shows the installer's message."""
    plan = screen.press("Plan", requirement="shop-tea")
    plan.visitor = visitor_of(shop)
    old = folder_installer.ready["shop-tea"]
    folder_installer.ready["shop-tea"] = ("1.1", {"tea": "page_tea:Tea"}, TEA)
    page = ended(plan.press("Install"))

    assert page.doc.headings == ["shop-tea was not installed"]
    assert "another one by now" in page.doc.text
    assert shop.packages.generations() == ()

    folder_installer.ready["shop-tea"] = old
    page = ended(plan.press("Install"))

    assert page.doc.headings == ["shop-tea is installed"]
    assert "Making the plan again" in page.doc.text


def test_a_failed_installation_says_why(screen, folder_installer):
    """The reasons of the installer are the result."""
    sour = {"page_tea.py": "raise RuntimeError('sour')\n"}
    folder_installer.ready["shop-tea"] = ("1.0", {"tea": "page_tea:Tea"}, sour)
    page = ended(screen.press("Plan", requirement="shop-tea").press("Install"))

    assert page.doc.headings == ["shop-tea was not installed"]
    assert "sour" in " ".join(page.doc.roles["alert"])


def test_an_installation_whose_process_has_ended_is_lost(shop, visitor_of):
    """Its row says so after a while, and how to go on."""
    shop.shared.notes.put(
        "install ab",
        {
            "requirement": "shop-tea",
            "state": "running",
            "lines": ["x"],
            "reasons": [],
            "plugins": [],
            "began": LONG_AGO,
            "seen": LONG_AGO,
        },
    )
    page = visitor_of(shop)("install/jobs/ab/")

    assert page.doc.headings == ["The installation of shop-tea was cut off"]
    assert page.doc.link("Plan it again").endswith("install/?requirement=shop-tea")


def test_without_an_installer_the_screen_is_absent(visitor):
    """The rest stays."""
    assert "Install" not in [words for words, _ in visitor().doc.links]
    assert visitor("install/").status == 404
    assert visitor("processes/").status == 200


def test_only_superusers_install(shop, visitor_of):
    """Others neither see the screen nor get there."""
    visitor = visitor_of(shop, Actor(2, is_staff=True))

    assert "Install" not in [words for words, _ in visitor().doc.links]
    assert visitor("install/").status == 403


def test_a_plugin_is_uninstalled_after_a_question(screen, shop, visitor_of):
    """A plugin that was installed here can be removed here; one of the host is not offered."""
    ended(screen.press("Plan", requirement="shop-tea").press("Install"))
    page = visitor_of(shop)("plugins/tea/files/")

    assert "install shop-tea" in page.doc.text

    page = page.follow("Uninstall tea …").press("Uninstall")

    assert page.doc.roles["status"] == ["tea is uninstalled."]
    assert shop.packages.generations()[-1].distributions == {}


def test_old_installations_are_forgotten(screen, shop, folder_installer):
    """The next one drops their rows and damaged ones, and no other row."""
    first = ended(screen.press("Plan", requirement="shop-tea").press("Install"))
    notes = shop.shared.notes
    (key,) = notes.keys("install ")
    row = notes.get(key)
    notes.put("install old", {**row, "seen": LONG_AGO})
    notes.put("install odd", {"state": "done"})
    notes.put("something else", {"seen": LONG_AGO})
    folder_installer.ready["shop-tea"] = ("2.0", {"tea": "page_tea:Tea"}, TEA)
    page = ended(screen.press("Plan", requirement="shop-tea==2.0").press("Install"))

    assert {*notes.keys("install ")} == {key, f"install {page.address.split('/')[-2]}"}
    assert notes.get("something else") is not None
    assert screen.visitor.get(first.address).status == 200


def test_a_row_of_a_later_version_is_shown_and_kept(screen, shop, folder_installer):
    """While processes are replaced one by one, an installation of another version may run."""
    ended(screen.press("Plan", requirement="shop-tea").press("Install"))
    notes = shop.shared.notes
    (key,) = notes.keys("install ")
    notes.put("install cafe", {**notes.get(key), "more": 1})

    assert screen.visitor("install/jobs/cafe/").doc.headings == ["shop-tea is installed"]

    folder_installer.ready["shop-tea"] = ("2.0", {"tea": "page_tea:Tea"}, TEA)
    ended(screen.press("Plan", requirement="shop-tea==2.0").press("Install"))

    assert "install cafe" in notes.keys("install ")


def test_a_row_that_plugreg_has_not_written_is_no_job(shop):
    """A damaged row is answered as an unknown one."""
    shop.shared.notes.put("install cd", {"state": "running"})

    assert Jobs(shop.shared.notes).get("cd") is None
    assert Jobs(shop.shared.notes).get("none") is None
    assert InstallJob  # It is the result of the others.
