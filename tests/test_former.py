"""The database of a former program (`data/make_former.py`), taken over by this one."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest
from msgspec import UNSET

from gearing.core.events import Launched
from gearing.core.holder import HolderState, Quoted
from gearing.core.holder_step import HolderError, holder_step
from gearing.core.journal import line_of
from gearing.core.state import TokenState
from gearing.core.step import BEHAVIOUR, step
from gearing.core.terms import Spec
from gearing.drive.quotes import _why_void
from gearing.store.database import upgrade_database
from gearing.store.records import holder_line_of
from gearing.store.store import Store
from gearing.store.verify import verify

FORMER = Path(__file__).parent / "data" / "former.db"


@pytest.fixture
def former(tmp_path):
    """The path of the database, upgraded."""
    path = shutil.copy(FORMER, tmp_path / "former.db")
    upgrade_database(path)
    return path


def events_of(path, name):
    with Store(path) as store:
        return [holder_line_of(line.body).event for line in store.lines(f"holder:{name}")]


def test_each_line_is_read_and_books_the_same_when_stepped_again(former):
    with Store(former) as store:
        for stream in store.streams():
            state, spec, kind = TokenState() if "token" in stream else HolderState(), None, stream.partition(":")[0]
            for row in store.lines(stream) if kind != "book" else ():
                line = line_of(row.body) if kind == "token" else holder_line_of(row.body)
                assert line.behaviour < BEHAVIOUR
                if isinstance(line.event, Launched):
                    spec = Spec(line.event.token)
                done = step(spec, state, line.event) if kind == "token" else holder_step(state, line.event)
                state = done.state
                assert done.entry == line.entry
                assert kind != "token" or state.nav == line.nav


def test_a_quote_without_its_inav_is_read_and_one_with_none_is_not_given(former):
    quoted = next(event for event in events_of(former, "h2") if isinstance(event, Quoted))
    assert (quoted.quote.inav, quoted.quote.difference_pct) == (UNSET, 0.0)
    empty, quote = HolderState(), msgspec.structs.replace(quoted.quote, inav=0)
    with pytest.raises(HolderError, match="must be positive"):
        holder_step(empty, msgspec.structs.replace(quoted, quote=quote))
    assert "was not recorded" in _why_void(quoted.quote, None, 0.001)


def test_an_upgraded_database_is_sound(former):
    """A trade that came before the last NAV was reported to the next program, which began after that NAV."""
    with Store(former) as store:
        rows = store.lines_since(0, 1_000)
    made = [(msgspec.json.decode(row.body)["behaviour"], row.time_ms) for row in rows]
    assert [behaviour for behaviour, _ in made] == sorted(behaviour for behaviour, _ in made)
    assert [time_ms for _, time_ms in made] != sorted(time_ms for _, time_ms in made)
    assert verify(former).breaches == ()
