"""``registry.shared``: coordination with other processes that share the storage."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from plugreg._lifecycle.lifecycle import LifeCycle
from plugreg._state.heartbeat import Heartbeat
from plugreg._state.published import Published
from plugreg._support import lazy
from plugreg.records import LoadReport, ProcessFailure, ProcessRecord
from plugreg.storage import Storage

if TYPE_CHECKING:
    from plugreg._state.asks import Asked
    from plugreg._state.notes import Notes
    from plugreg._state.watch import Follower, Watch


class Coordination:
    """Reads the changes that other processes store, and reports this process to them.

    Everything goes through the shared storage; with a MemoryStorage there is no other process.
    """

    def __init__(
        self,
        published: Published,
        life: LifeCycle,
        storage: Storage,
        heartbeat: Heartbeat,
    ) -> None:
        self._published = published
        self._life = life
        self._heartbeat = heartbeat
        self._storage = storage

    @lazy
    def notes(self) -> Notes:
        """Small rows of the host's faces that all processes read, as the key of form tokens."""
        from plugreg._state.notes import Notes

        return Notes(self._storage)

    def refresh(self) -> bool:
        """Take in the changes that other processes have stored.

        If nothing was stored since, only the storage's revision is read. Else settings and
        metadata are read again, and plugins whose settings have changed are notified. Plugins are
        looked for and reloaded if the stored desired states differ, or if all processes were asked
        to reload. Changes of this process are no reason to reload, nor are plugins that another
        process has found or failed to load. Only a reload stores anything: new plugins.

        Changes wait for each other. Called by plugin code that is being loaded, this is carried
        out right after that, and returns False.

        Returns:
            Whether plugins were reloaded.

        Raises:
            RegistryNotReady: Before load and after close.
            RegistryBusyError: If the turn did not come in time.
            StorageError: If the storage cannot be read. The plugins in service stay as they are.
        """
        return self._life.refresh()

    def watch(self, every: float = 1.0) -> Watch:
        """Return a context manager that refreshes in a thread of its own.

        A storage with hints wakes the thread at once. Plugins that were not ready are
        tried again when they have asked for it.

        Args:
            every: Seconds between two looks.

        Returns:
            The context manager. The thread ends with its block.

        Raises:
            RegistryNotReady: Before load and after close.
            ValueError: If *every* is no positive number.
        """
        self._published.current()
        from plugreg._state.watch import Hints, Watch

        storage = self._storage
        hints = storage if isinstance(storage, Hints) and storage.gives_hints else None
        return Watch(self._tick, every, hints)

    def keep_up(self) -> None:
        """Refresh before a request is answered, at most every half second.

        Adapters call this. Changed values are read when it returns, unless the storage takes more
        than a quarter of a second. Plugins are reloaded in a thread beside it; meanwhile requests
        are answered from the current snapshot. Raises nothing: a storage that is away is logged
        once. Before load and after close this does nothing.
        """
        self._follower.keep_up()

    def once(
        self, key: str, lease: float = 60.0, *, turn: float | None = None, most: int | None = None
    ) -> AbstractContextManager[bool]:
        """Return a context manager whose value is whether this process should do some work.

        ``with registry.shared.once("migrate-7") as mine: if mine: …`` is True in one block at a
        time, over all threads and processes. It is False for ever once such a block has ended
        without an exception; an exception lets others try at once. While the block runs, a thread
        renews the lease. If the process dies, another process gets the work after *lease* seconds,
        by the clock of the storage's server (``now()``) if it has one, else by that of the machine.

        Work is done at least once. It is done twice if a holder dies after the work and before
        that is stored, or cannot reach the storage for longer than its lease. In a process that
        was forked inside the block, leaving the block does nothing. No loaded registry is needed.

        Args:
            key: The name of the work. The storage keeps one row for each.
            lease: Seconds that the work belongs to a holder that does not renew the lease.
            turn: For recurring work, a number that grows, such as the time at which the work is
                due. Each turn is done once, none while another is being done, and none after a
                later one. The storage keeps one row for all turns.
            most: How many turns are done in all. None means no limit.

        Returns:
            The context manager, whose value is whether the work is this block's.

        Raises:
            ValueError: If an argument is out of range.
            StorageError: If the storage cannot be used. At the end of the block it means that the
                work is not known to be done.
        """
        from plugreg._state import leases

        return leases.once(self._storage, key, lease, turn=turn, most=most)

    def processes(self) -> tuple[ProcessRecord, ...]:
        """Return this process as it is now, then the others as they were stored last, by name.

        A process is listed if it serves: it watches, keeps up, or was given a name. It stores its
        status when that has changed, and every 30 seconds while it watches or keeps up. A process
        that has stored nothing for 3 minutes is left out. So is a process of this machine that
        has ended, and a process in safe mode. Reads the
        storage and writes nothing.

        Returns:
            A record for each process.

        Raises:
            RegistryNotReady: Before load and after close.
            StorageError: If the storage cannot be read.
        """
        self._published.current()
        return self._heartbeat.processes(self._life.status())

    def ask(self, what: Asked, slug: str | None = None) -> None:
        """Send a request to all processes that share the storage, including this process.

        Each carries it out at its next refresh, once. A process that is loaded later need not, nor
        one to which the plugin is unknown. What was asked is stored for a day. Marks of plugins
        in quarantine are removed at once.

        Args:
            what: ``"reload"`` discovers plugins and tries failed plugins again; of one plugin,
                it makes its object again. ``"reset"`` closes circuits and tries failed plugins
                again, those in quarantine too. ``"code"`` imports modules of plugins again, whose
                sources have changed.
            slug: The plugin. None means all.

        Raises:
            ValueError: If *what* has another value.
            PluginNotFoundError: If the plugin is unknown in this process.
            RegistryNotReady: Before load and after close.
            StorageError: If the storage fails. Nothing is asked then.
        """
        from plugreg._state import asks

        if what not in asks.WORDS:
            raise ValueError(f"ask() takes {' or '.join(map(repr, asks.WORDS))}, not {what!r}")
        snapshot = self._published.current()
        if slug is not None:
            snapshot.get_known(slug)
        if what != "reset":
            asks.put(self._storage, what, slug)
            return
        # A process that is started later is to try it, too.
        from plugreg._state.quarantine import drop_marks

        asks.put(self._storage, what, slug, lambda store, time: drop_marks(store, slug, time))

    def failures(self) -> tuple[ProcessFailure, ...]:
        """Return the failures of all processes: those of this process, then stored failures.

        Each process stores its failures at the end of a load and at its own end. A serving process
        also stores them meanwhile, at most every 5 seconds. The last 20 failures of a plugin are
        stored, without protected values. Failures of a process that has ended stay until one of
        the same name on the same machine stores its own, for a week at most. Reads the storage
        and writes nothing.

        Returns:
            The failures, each with name, machine and number of its process.

        Raises:
            RegistryNotReady: Before load and after close.
            StorageError: If the storage cannot be read.
        """
        self._published.current()
        return self._heartbeat.failures()

    def reload_everywhere(
        self, *, full: bool = False, force: bool = False, collect: bool = False
    ) -> LoadReport:
        """Reload as `PluginRegistry.reload` does, and have the other processes reload too.

        They do so at their next refresh, and look for new plugins.

        Args:
            full: Whether modules are imported again, in this process.
            force: Whether objects are made again, in this process.
            collect: Whether new and vanished plugins are looked for, in this process.

        Returns:
            The report of this process's reload. Empty if the reload is deferred.

        Raises:
            RegistryNotReady: After close.
            RegistryBusyError: If the turn did not come in time.
            StorageError: If the storage cannot be used. Everything is as it was then.
        """
        return self._life.reload(full=full, force=force, collect=collect, everywhere=True)

    # -- the parts ---------------------------------------------------------------------------

    @lazy
    def _follower(self) -> Follower:
        from plugreg._state.watch import Follower

        return Follower(self._tick)

    def _tick(self) -> None:
        self._life.refresh()
        self._life.retry()
        self._life.beat()
