"""How much of what the processes of a host have stored one of them has taken in."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from plugreg._state.plugin_rows import PluginRows
from plugreg.records import Generation, HostRules, PluginRow, Snapshot


class Look(NamedTuple):
    """What stood in the storage before something else was read from it."""

    revision: int
    generation: Generation


class RevisionTracker:
    """Keeps the revision whose values, and the generation whose wishes, are taken in.

    Methods that look at the storage may raise StorageError. One thread at a time may call those
    that change something. It writes nothing but what :meth:`ask_all` asks.
    """

    def __init__(self, plugin_rows: PluginRows, rules: HostRules) -> None:
        self._plugin_rows = plugin_rows
        self._rules = rules
        self._revision: int | None = None
        # The revision taken in, and a later one with the same values.
        self._same: tuple[int | None, int] = (None, 0)
        self._generation = Generation()

    @property
    def generation(self) -> int:
        """The generation up to which changed wishes were taken in."""
        return self._generation.number

    def is_current(self) -> bool:
        """Return whether nothing that concerns this process was stored since values were read.

        That is one cheap look, and one more after commits that are marked as quiet.
        """
        known, revision = self._revision, self._plugin_rows.revision()
        if revision == known or self._same == (known, revision):
            return True
        if known is None or not self._plugin_rows.is_quiet(known, revision):
            return False
        # Kept beside the revision: a change that ends meanwhile may have asked for another look.
        self._same = (known, revision)
        return True

    def look(self) -> Look:
        """Return what :meth:`note_reload` is to be given, before anything is read."""
        return Look(self._plugin_rows.revision(), self._plugin_rows.generation())

    def note_reload(self, look: Look, *, collected: bool) -> None:
        """Take note that values were read and plugins reloaded, or looked for too, after a look."""
        asked = (look.generation if collected else self._generation).asked
        # What was asked for and not done yet must be found at the next look.
        self._revision = look.revision if asked == look.generation.asked else None
        self._generation = replace(look.generation, asked=asked)

    def note_values(self, revision: int, generation: Generation) -> None:
        """Take note that values, and wishes of this generation, were read after a revision."""
        self._revision, self._generation = revision, generation

    def note_wishes(self, raised: int) -> None:
        """Take note that wishes were carried out whose storing made this generation, 0 for none."""
        if raised == self._generation.number + 1:
            self._generation = replace(self._generation, number=raised)

    def ask_all(self) -> Generation:
        """Ask every process to reload; return what :meth:`note_asked` is to be given."""
        return self._plugin_rows.ask_all()

    def note_asked(self, before: Generation) -> None:
        """Take note that this process has done what it has asked all of."""
        # What another one has asked for before still waits for a reload that looks for plugins.
        if self._generation.asked == before.asked:
            self._generation = replace(self._generation, asked=before.number + 1)

    def wished(self, snapshot: Snapshot) -> tuple[frozenset[str], Generation] | None:
        """Return the plugins wished now and when, where that calls for no reload, else None.

        It does when these are others than the snapshot was made from, when all were asked to
        reload, and when a plugin was deleted, whose ``pk`` is another one since. A plugin that is
        not known here may be stored as wished because another process has found it: that was
        nobody's wish, the generation is as before, and it calls for none.
        """
        generation, wishes = self._plugin_rows.wishes_at()
        wished = self._rules.wished({*snapshot.plugins, *snapshot.wished, *wishes}, wishes)
        changed = wished ^ snapshot.wished
        if (
            generation.asked != self._generation.asked
            or changed & snapshot.plugins.keys()
            or (changed and generation.number != self._generation.number)
            or any(_pk(wishes.get(each.slug)) != each.pk for each in snapshot.plugins.values())
        ):
            return None
        return wished, generation


def _pk(wish: PluginRow | None) -> int:
    return 0 if wish is None else wish.pk
