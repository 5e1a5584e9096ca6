"""Work that comes in turns: each turn is done once, and the store keeps one row for it."""

from __future__ import annotations

import pytest

from plugreg import StorageError
from plugreg._state.leases import PlannedTime, once
from plugreg.storage import MemoryStorage

LEASE = 60.0


class Clocked(MemoryStorage):
    """A store with a clock of its own."""

    time = 1_000.0

    def now(self):
        return self.time


def turn(storage, number, most=None):
    """Take a turn and end it at once; return whether it was to be done."""
    with once(storage, "tick", LEASE, turn=number, most=most) as mine:
        return mine


class TestTurns:
    def test_each_turn_is_done_once_and_none_after_a_later_one(self):
        """Whoever comes late, or for a second time, has nothing to do."""
        storage = MemoryStorage()
        taken = [turn(storage, number) for number in (5, 5, 6, 6, 5, 5.5, 7.5)]
        assert taken == [True, False, True, False, False, False, True]

    def test_no_turn_begins_while_one_is_being_done(self):
        """Also a later one has to wait for its own next."""
        storage = MemoryStorage()
        with once(storage, "tick", LEASE, turn=1) as mine:
            assert mine
            assert not turn(storage, 1)
            assert not turn(storage, 2)
        assert turn(storage, 3)

    def test_rows_do_not_pile_up(self):
        """However many turns there were, it is one row."""
        storage = MemoryStorage()
        for number in range(50):
            turn(storage, number)

        assert list(storage.read("leases")) == ["tick"]

    def test_turns_are_counted_up_to_the_most(self):
        """Over all who take them; one that was not done does not count."""
        storage = MemoryStorage()
        assert not turn(storage, 0, most=0)
        assert turn(storage, 1, most=2)
        with pytest.raises(KeyboardInterrupt), once(storage, "tick", LEASE, turn=2, most=2):
            raise KeyboardInterrupt
        assert turn(storage, 2, most=2)
        assert not turn(storage, 3, most=2)
        assert turn(storage, 3, most=3)

    @pytest.mark.parametrize("before", [0, 3])
    def test_a_turn_that_has_failed_is_tried_by_the_next(self, before):
        """Work done before it stays known, the first turn included."""
        storage = MemoryStorage()
        for number in range(before):
            turn(storage, number)
        with pytest.raises(ValueError, match="no"), once(storage, "tick", LEASE, turn=9):
            raise ValueError("no")
        assert not before or not turn(storage, before - 1)
        assert turn(storage, 9)

    @pytest.mark.parametrize("before", [0, 3])
    def test_a_holder_that_has_died_takes_no_later_turn_along(self, before):
        """Its turn can be acquired when the lease has expired, and so can the next."""
        storage = Clocked()
        for number in range(before):
            turn(storage, number)
        died = once(storage, "tick", LEASE, turn=9)
        assert died.__enter__()
        storage.time += LEASE - 1
        assert not turn(storage, 10)
        storage.time += 2
        assert turn(storage, 9)
        assert turn(storage, 10)
        died.__exit__(None, None, None)
        assert not turn(storage, 10)

    def test_a_machine_whose_clock_is_ahead_does_not_stop_the_others(self, caplog):
        """It does nothing, which is logged, and work that is really due is done."""
        storage = Clocked()
        assert not turn(storage, PlannedTime(storage.time + LEASE + 1))
        assert "'tick' is not done: it was planned for 61 s after the time" in caplog.text
        assert not storage.read("leases")
        caplog.clear()
        assert turn(storage, PlannedTime(storage.time))
        assert turn(storage, PlannedTime(storage.time + LEASE))
        assert caplog.text == ""
        assert storage.read("leases")["tick"]["turn"] == storage.time + LEASE

    def test_a_turn_that_is_no_time_may_be_any_number(self):
        """It is compared with other turns alone."""
        assert turn(Clocked(), 1e15)

    def test_what_cannot_be_is_refused(self):
        """Numbers that no later one is over, and a count of nothing."""
        for options, words in [
            ({"turn": float("nan")}, "turn=nan is no number"),
            ({"turn": float("inf")}, "turn=inf is no number"),
            ({"most": 3}, "most=3 counts turns; give turn= too"),
        ]:
            with (
                pytest.raises(ValueError, match=words),
                once(MemoryStorage(), "tick", LEASE, **options),
            ):
                pass

    def test_a_row_of_other_work_is_refused(self):
        """A name that was used without turns before is no work that comes in turns."""
        storage = MemoryStorage()
        with once(storage, "tick", LEASE):
            pass
        with pytest.raises(StorageError, match="'tick' of table 'leases'"):
            turn(storage, 1)
