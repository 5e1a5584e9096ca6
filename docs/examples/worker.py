"""A worker that runs the tasks of plugins, each once over all workers that share a storage.

    pip install 'plugreg[schedule]'
    python worker.py plugins.json --run plugin.stock.count
    python worker.py plugins.json &
    python worker.py plugins.json

The first command runs a task now. The others wait for due tasks, each minute here, and one of them
runs a task. Ctrl-C ends a worker.
"""

import argparse
import os
import threading
from collections.abc import Mapping
from typing import Any

from apscheduler.schedulers.background import BackgroundScheduler

from plugreg import Plugin, PluginRegistry
from plugreg.adapters.apscheduler import ScheduleBridge
from plugreg.mixins import EventMixin, ScheduleMixin
from plugreg.storage import TinyDBStorage


class Stock(ScheduleMixin, EventMixin, Plugin):
    """Counts the stock by the clock, and receives events of orders."""

    NAME = "stock"
    SCHEDULED_TASKS: Mapping[str, Mapping[str, Any]] = {
        "count": {"func": "count", "schedule": "I", "minutes": 1},
        "order": {"func": "order", "cron": "30 6 * * mon-fri"},
    }

    def count(self) -> None:
        """Count the stock."""
        print(f"{os.getpid()} counts the stock", flush=True)

    def order(self) -> None:
        """Order missing items."""
        print(f"{os.getpid()} orders what is missing", flush=True)

    def process_event(self, event: str, *args: Any, **kwargs: Any) -> None:
        """Receive an event of the shop."""
        print(f"{os.getpid()} hears of {event}", flush=True)

    def wants_process_event(self, event: str) -> bool:
        """Return whether an event is about orders."""
        return event.startswith("order.")


def main() -> None:
    """Run until Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store", help="the file that all workers share")
    parser.add_argument("--run", metavar="TASK", help="run a task now, such as plugin.stock.count")
    options = parser.parse_args()
    registry = PluginRegistry(
        "shop", storage=TinyDBStorage(options.store), builtin=[Stock], new_plugins="active"
    )
    with registry:
        registry.load()
        for entry in registry.schedules.tasks():
            print(entry.name, entry.task.cron or entry.task.schedule, flush=True)
        if options.run:
            registry.schedules.run(options.run)
            registry.events.emit("order.placed", 7, item="tea")
            return
        scheduler = BackgroundScheduler(timezone="UTC")
        ScheduleBridge(registry, scheduler).sync()
        scheduler.start()
        try:
            print("waiting for due tasks; Ctrl-C ends it", flush=True)
            threading.Event().wait()
        except KeyboardInterrupt:
            scheduler.shutdown()


if __name__ == "__main__":
    main()
