"""``plugreg dev``: have running hosts import a plugin again whenever its sources change."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from plugreg.cli.command import command, slug_argument
from plugreg.cli.faults import no
from plugreg.cli.output import Answer
from plugreg.cli.session import Session
from plugreg.contract.projects import PluginProject, installed_projects
from plugreg.exceptions import MissingExtraError


@command("dev", "plugreg dev weather")
@slug_argument()
def dev(session: Session, slug: str) -> Answer:
    """Watch the sources of a plugin, and have all processes of the host import it again.

    Install the plugin with pip install --editable, start the host as usual, and edit. Each process
    takes the change in at its next refresh. Ctrl-C ends it. Nothing of the plugin is imported here.
    """
    try:
        from watchfiles import watch
    except ImportError as error:
        raise MissingExtraError.of(error, "plugreg dev", "watchfiles", "watchfiles") from error
    session.registry.get(slug)
    places = source_places(session, slug)
    output = session.output
    output.note(f"watching {', '.join(map(str, places))}; Ctrl-C ends it")
    count = 0
    for changes in watch(*places, raise_interrupt=False):
        files = sorted({Path(file).name for _, file in changes if file.endswith(".py")})
        if files:
            session.registry.shared.ask("code", slug)
            count += 1
            moment = time.strftime("%H:%M:%S")
            output.note(f"{moment}  {', '.join(files)}: asked all processes to import {slug} again")
    return Answer("", text=f"asked {count} times\n", more={"asked": count})


def source_places(session: Session, slug: str) -> list[Path]:
    """Return the folders and files that hold a plugin's own modules.

    Args:
        session: The session.
        slug: The plugin.

    Raises:
        CommandError: If it has none that could be watched.
    """
    group = session.registry.options.entry_point_group
    project = installed_projects(group, slug=slug).get(slug)
    places = [] if project is None else list(dict.fromkeys(_places(project)))
    if not places:
        raise no(
            f"plugin {slug!r} has no sources that could be watched",
            "install it with: pip install --editable FOLDER",
        )
    return places


def _places(project: PluginProject) -> Iterator[Path]:
    for value in project.entry_points.values():
        top = value.partition(":")[0].partition(".")[0].strip()
        for folder in map(Path, project.search):
            if (folder / top).is_dir():
                yield folder / top
                break
            if (folder / f"{top}.py").is_file():
                yield folder / f"{top}.py"
                break
