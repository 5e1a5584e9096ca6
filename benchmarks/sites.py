"""Sites of real ``dist-info`` folders, as an installer leaves them, with modules that import.

A plugin is the same for everybody: a class with one implementation of pluggy's, which host
``bench`` asks for its price. plux takes classes of its own only, so that each distribution with a
plugin brings a second one for it, in a module and a group apart.
"""

from __future__ import annotations

import os
from pathlib import Path

HOST = "bench"
GROUP = f"{HOST}.plugins"
PLUX_GROUP = f"{HOST}.plux"

SITES = {100: 10, 1_000: 100, 5_000: 1_000, 10_000: 10_000}
"""How many of so many distributions bring a plugin."""

LONG_AGO = 1_700_000_000
"""When all of it was written, for an index keeps nothing of what has just been."""

METADATA = """\
Metadata-Version: 2.4
Name: {name}
Version: 1.{number}
Summary: A distribution of a benchmark
Author-email: The plugreg developers <plugreg@example.org>
License-Expression: MIT
Project-URL: Homepage, https://example.org/{name}
Classifier: Programming Language :: Python :: 3
Requires-Python: >=3.11
Requires-Dist: some-library>=2
Requires-Dist: another-library<4,>=1.5; python_version >= "3.8"
Provides-Extra: fast
Requires-Dist: fast-library; extra == "fast"
Description-Content-Type: text/markdown

# {name}

{text}
"""
TEXT = "What this distribution is for, how it is installed, and what it can do for you.\n" * 20

PLUGIN = """\
from pluggy import HookimplMarker

hookimpl = HookimplMarker("bench")


class Plugin:
    @hookimpl
    def price(self, item):
        return {number}.5
"""
PLUX_PLUGIN = """\
import plux


class Plugin(plux.Plugin):
    namespace = "bench.plux"
    name = "plugin-{number}"

    def load(self, *args, **kwargs):
        return None

    def price(self, item):
        return {number}.5
"""


def slug(number: int) -> str:
    """Return the name of a plugin."""
    return f"plugin-{number}"


def module(number: int) -> str:
    """Return the module of a plugin."""
    return f"bench_plugin_{number}"


def fabricate(folder: Path, distributions: int, plugins: int) -> Path:
    """Write ``distributions`` into a new folder and return it; ``plugins`` of them bring a plugin.

    Plugins are spread evenly. Of the others every fifth has a command, as is usual.
    """
    folder.mkdir(parents=True)
    every = distributions // plugins
    for number in range(distributions):
        name = f"bench-distribution-{number}"
        info = folder / f"bench_distribution_{number}-1.{number}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(METADATA.format(name=name, number=number, text=TEXT))
        (info / "WHEEL").write_text("Wheel-Version: 1.0\nRoot-Is-Purelib: true\n")
        (info / "RECORD").write_text(f"{info.name}/METADATA,,\n{info.name}/RECORD,,\n")
        index, rest = divmod(number, every)
        if rest == 0 and index < plugins:
            (folder / f"{module(index)}.py").write_text(PLUGIN.format(number=index))
            (folder / f"bench_plux_{index}.py").write_text(PLUX_PLUGIN.format(number=index))
            (info / "entry_points.txt").write_text(
                f"[{GROUP}]\n{slug(index)} = {module(index)}:Plugin\n\n"
                f"[{PLUX_GROUP}]\n{slug(index)} = bench_plux_{index}:Plugin\n"
            )
        elif number % 5 == 0:
            (info / "entry_points.txt").write_text(
                f"[console_scripts]\ncommand-{number} = command_{number}:main\n"
            )
    import compileall

    compileall.compile_dir(folder, quiet=1, maxlevels=0)
    for each in (*folder.glob("*.dist-info/*"), *folder.glob("*.dist-info"), folder):
        os.utime(each, (LONG_AGO, LONG_AGO))
    return folder


def plugins_for(size: int, counting: str) -> tuple[int, int]:
    """Return distributions and plugins of the site with so many distributions, or plugins."""
    if counting == "plugins":
        return next((each, of) for each, of in SITES.items() if of == size)
    return size, SITES[size]
