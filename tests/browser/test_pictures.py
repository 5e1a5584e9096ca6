"""The pictures of the page in the documentation: ``make pictures`` takes them again."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

IMAGES = Path(__file__).parents[2] / "docs" / "operator" / "images"
SIZE = {"width": 1000, "height": 640}
PHONE = {"width": 390, "height": 640}


def _plan(page):
    page.get_by_role("textbox", name="Requirement").fill("shop-stars")
    page.get_by_role("button", name="Plan").click()
    page.get_by_role("button", name="Install").wait_for()
    # A picture says nothing of the machine that it was taken on.
    page.evaluate(
        "for (const cell of document.querySelectorAll('td')) cell.innerHTML ="
        " cell.innerHTML.replace(/file:[^<]*\\/(?=shop)/, 'file:///srv/wheels/')"
    )


PICTURES = {
    "plugins": ("", {}, None),
    "question": ("plugins/discount/deactivate/", {}, None),
    "settings": ("plugins/greeting/settings/", {}, None),
    "attention": ("attention/", {}, None),
    "plan": ("install/", {}, _plan),
    "phone": ("", {"viewport": PHONE, "color_scheme": "dark"}, None),
}


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_can_be_taken(host, open_page, tmp_path, name):
    """The pictures in the documentation are there, in the size of the screen."""
    path, options, prepare = PICTURES[name]
    page = open_page(host + path, **{"viewport": SIZE, **options})
    if prepare:
        prepare(page)
    folder = IMAGES if os.environ.get("PLUGREG_PICTURES") == "1" else tmp_path
    taken = folder / f"{name}.png"
    page.screenshot(path=taken)

    assert _size(IMAGES / taken.name) == _size(taken)


def _size(picture):
    # The header of a PNG has width and height as two numbers of four bytes.
    return struct.unpack(">II", picture.read_bytes()[16:24])
