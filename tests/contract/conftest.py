"""Wheels of plugins, written as a build backend would write them."""

from __future__ import annotations

import base64
import hashlib
import textwrap
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

MakeWheel = Callable[..., Path]


@pytest.fixture
def make_wheel(tmp_path: Path) -> MakeWheel:
    """Return a function that writes a wheel and returns its file."""

    def make(
        modules: Mapping[str, str] | str,
        entry_points: str | None = "courier = shop_courier:Courier",
        requires: tuple[str, ...] = ("shop>=2.1,<3",),
        name: str = "shop-courier",
    ) -> Path:
        if isinstance(modules, str):
            modules = {"shop_courier.py": modules}
        stem = f"{name.replace('-', '_')}-1.0"
        metadata = f"Metadata-Version: 2.4\nName: {name}\nVersion: 1.0\n"
        metadata += "".join(f"Requires-Dist: {line}\n" for line in requires)
        files = {file: textwrap.dedent(source) for file, source in modules.items()}
        files[f"{stem}.dist-info/METADATA"] = metadata
        files[f"{stem}.dist-info/WHEEL"] = (
            "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        if entry_points is not None:
            points = f"[shop.plugins]\n{entry_points}\n"
            files[f"{stem}.dist-info/entry_points.txt"] = points
        record = f"{stem}.dist-info/RECORD"
        lines = []
        for file, text in files.items():
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest())
            lines.append(f"{file},sha256={digest.rstrip(b'=').decode()},{len(text.encode())}\n")
        files[record] = "".join(lines) + f"{record},,\n"
        wheel = tmp_path / f"{stem}-py3-none-any.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            for file, text in files.items():
                archive.writestr(file, text)
        return wheel

    return make
