"""``registry.shared``: what the processes that share a storage have to do with one another."""

from __future__ import annotations

from contextlib import AbstractContextManager

from plugreg._lifecycle.lifecycle import LifeCycle
from plugreg._lifecycle.snapshot import Remake
from plugreg._state import leases
from plugreg._state.heartbeat import Heartbeat
from plugreg._state.published import Published
from plugreg._state.watch import Follower, Hints, Watch
from plugreg.records import LoadReport, ProcessRecord
from plugreg.storage import Storage


class Shared:
    """Takes in what other processes store, and tells them of this one.

    Everything goes through the storage that they share; with a MemoryStorage there is nobody else.
    """

    def __init__(
        self, published: Published, life: LifeCycle, storage: Storage, heartbeat: Heartbeat
    ) -> None:
        self._published = published
        self._life = life
        self._heartbeat = heartbeat
        self._storage = storage
        self._hints = storage if isinstance(storage, Hints) and storage.gives_hints else None
        self._follower = Follower(self._tick)

    def refresh(self) -> bool:
        """Take in what other processes have changed; True exactly when plugins were reloaded.

        Where nothing was stored since, that is one look at the storage's revision. Else settings
        and metadata are read again, and plugins in service whose settings have changed are told.
        Plugins are looked for and reloaded when others are wished than before, or when all
        processes were asked to reload; what this process did itself is no reason, nor is what
        another one has found or failed to load. Nothing is stored but what a reload finds new.

        Threads take turns. Asked for by plugin code that is being loaded, it is done right after,
        and this returns False. Raises RegistryNotReady before load and after close, StorageError
        (then the plugins in service stay as they are), RegistryBusyError as a reload does.
        """
        return self._life.refresh()

    def watch(self, every: float = 1.0) -> Watch:
        """Return a context manager that refreshes every so many seconds, in a thread of its own.

        A storage that gives hints makes it look at once. Plugins
        that were not ready yet are tried again when they have asked for it. Raises
        RegistryNotReady before load and after close, ValueError for ``every``.
        """
        self._published.current()
        return Watch(self._tick, every, self._hints)

    def keep_up(self) -> None:
        """Refresh before a request is answered, if that was not done within the last half second.

        It is what adapters call. Changed values are taken in when it returns, unless the storage
        takes more than a quarter of a second; plugins are reloaded beside it, in one thread, and
        meanwhile requests are answered from the snapshot in hand. Raises nothing: a storage that is
        away is logged once. Before load and after close it does nothing.
        """
        self._follower.keep_up()

    def once(
        self, key: str, lease: float = 60.0, *, turn: float | None = None, most: int | None = None
    ) -> AbstractContextManager[bool]:
        """Return a context manager that says whether this process is to do a piece of work.

        ``with registry.shared.once("migrate-7") as mine: if mine: …`` is True for one at a time,
        over all threads and processes, and False for ever once such a block has ended without an
        exception. ``key`` names the work. While the block runs, a thread renews the lease; if its
        process dies, another one gets the work ``lease`` seconds later, by the store's clock: that
        of its server where the storage has it (``now()``), else that of the machine. An exception
        lets others try at once.

        Work that comes again and again has a ``turn``, a number that grows, such as the time at
        which it is due: each turn is done once, none while another one is being done, and none
        after a later one; ``most`` is how many turns are done in all. Of such work the storage
        keeps one row, and of other work one for each ``key``.

        So it is done at least once: twice where a holder dies after the work and before that is
        stored, or cannot reach the storage for longer than its lease. Raises ValueError for what
        cannot be, and StorageError, at the end too: then it is not known to be done. In a process
        forked inside the block, leaving it does nothing. It needs no loaded registry.
        """
        return leases.once(self._storage, key, lease, turn=turn, most=most)

    def processes(self) -> tuple[ProcessRecord, ...]:
        """Return what runs in this process, then what the others have stored last, by name.

        A process is listed if it serves: it watches, keeps up, or was given a name. It stores what
        it runs when that has changed, and every 30 seconds while it watches or keeps up. A process
        that has stored nothing for 3 minutes is left out, and so is one in safe mode. Reads the
        storage and writes nothing.

        Raises:
            RegistryNotReady: Before load and after close.
            StorageError: If the storage cannot be read.
        """
        self._published.current()
        return self._heartbeat.processes(self._life.status())

    def reload_everywhere(
        self, *, full: bool = False, force: bool = False, collect: bool = False
    ) -> LoadReport:
        """Reload as :meth:`PluginRegistry.reload` does, and have the other processes reload too.

        They do so at their next refresh, and look for new plugins; the flags hold here only.
        """
        return self._life.reload(
            collect=collect or not self._published.is_loaded,
            remake=Remake.of(full=full, force=force),
            everywhere=True,
        )

    # -- the parts ---------------------------------------------------------------------------

    def _tick(self) -> None:
        self._life.refresh()
        self._life.retry()
        self._life.beat()
