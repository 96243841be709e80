"""Starts that are put off: each comes exactly once, whatever prices come, and nobody outside can know when."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gearing as gr
from gearing.core.delays import at_event, fixed_at, next_start
from gearing.core.events import Marked
from gearing.core.journal import state_body, state_of
from gearing.core.record import DAY_MS
from gearing.core.terms import Spec
from gearing.core.watch import needs, watch
from gearing.desk.boot import boot
from gearing.desk.config import DeskConfig, TokenEntry
from gearing.drive.driver import Driver
from gearing.drive.guard import GuardLimits
from gearing.drive.market import Market
from gearing.drive.starts import Starts
from gearing.errors import SpecError
from gearing.store.backup import backup_database, restore_database
from gearing.store.database import init_database, opened, read_secret, upgrade_database
from gearing.store.schema import SCHEMA
from gearing.store.store import Store
from gearing.venues.protocol import Quote
from tests.lives import CAPITAL, NOON_MS, UNITS, Life, token
from tests.older import older_database

DAY0 = NOON_MS // DAY_MS
MINUTE_MS = 60_000
TIMES = ("00:00", "00:05", "09:30", "23:50", "23:59")
WINDOWS = [0, MINUTE_MS, 10 * MINUTE_MS, DAY_MS // 2]


def of_day(day, window_ms, salt):
    return Starts(f"secret {salt}", {"T": window_ms}).delay_ms("T", day)


@settings(max_examples=300, deadline=None)
@given(
    steps=st.lists(st.one_of(st.integers(1, 20 * MINUTE_MS), st.integers(1, 3 * DAY_MS)), min_size=1, max_size=60),
    windows=st.lists(st.tuples(st.integers(0, 59), st.sampled_from(WINDOWS), st.integers(0, 3)), max_size=4),
)
def test_each_start_comes_exactly_once_whatever_prices_come_and_whatever_the_window_becomes(steps, windows):
    """Ticks of any distance, over midnights and gaps; the window, and the secret, change at any of them."""
    spec = Spec(token(rule=gr.Rule(schedule=tuple(gr.Schedule(times=(at,)) for at in TIMES))))
    attended, fixed, now = NOON_MS, msgspec.UNSET, NOON_MS
    window, salt, changes = 10 * MINUTE_MS, 0, {n: (w, s) for n, w, s in windows}
    fired = {}
    for n, step in enumerate(steps):
        window, salt = changes.get(n, (window, salt))
        now += step
        day = now // DAY_MS
        drawn = (of_day(day - 1, window, salt), of_day(day, window, salt)) if window else msgspec.UNSET
        delays = at_event(fixed, attended, drawn, now)
        mask = spec.due_schedules(attended, now, delays)
        for k, (at,) in enumerate(spec.times_ms):
            # Several of one clock that were missed are one rebalance; each of them is counted.
            passed = [d for d in range(DAY0 - 1, day + 1) if attended < d * DAY_MS + at + delays.of(d) <= now]
            assert bool(mask >> k & 1) == bool(passed)
            for d in passed:
                fired[at, d] = fired.get((at, d), 0) + 1
        attended, fixed = now, fixed_at(delays, now)
    for (at,) in spec.times_ms:
        for d in range(DAY0 - 1, now // DAY_MS + 1):
            stated = d * DAY_MS + at
            if NOON_MS < stated <= now - DAY_MS // 2:  # no window is longer
                assert fired.pop((at, d)) == 1
            elif NOON_MS < stated <= now:
                assert fired.pop((at, d), 1) == 1
    assert fired == {}


@settings(max_examples=200, deadline=None)
@given(since=st.integers(0, 5 * DAY_MS), at=st.integers(0, 86_399), window=st.integers(1, DAY_MS // 2))
def test_the_next_start_is_the_first_at_which_it_is_due(since, at, window):
    text = f"{at // 3600:02d}:{at // 60 % 60:02d}:{at % 60:02d}"
    spec = Spec(token(rule=gr.Rule(schedule=(gr.Schedule(times=(text,)),))))
    since += NOON_MS
    starts = Starts("s", {"T": window})
    day = since // DAY_MS
    fixed = (day, starts.delay_ms("T", day - 1), starts.delay_ms("T", day))
    due_ms = next_start(at * 1000, since, fixed, since, lambda day: starts.delay_ms("T", day))
    for now, is_due in ((due_ms - 1, False), (due_ms, True)):
        drawn = (starts.delay_ms("T", now // DAY_MS - 1), starts.delay_ms("T", now // DAY_MS))
        if now > since:
            assert bool(spec.due_schedules(since, now, at_event(fixed, since, drawn, now))) is is_due


def test_a_life_starts_late_and_once():
    life = Life(token(rule=gr.Rule(schedule=(gr.Schedule(times=("12:05",)),)))).opened()
    delay_ms = 7 * MINUTE_MS

    def mark(at_ms, price):
        before, life.now_ms = life.now_ms, at_ms
        return life.do(Marked(time_ms=at_ms, prices=(price,), before_ms=before, delays_ms=(0, delay_ms)))

    tomorrow = NOON_MS + DAY_MS
    orders = mark(NOON_MS + 6 * MINUTE_MS, 101.0)  # the day of the launch has no delay
    assert orders != []
    life.trade(orders)
    assert mark(tomorrow, 102.0) == []
    assert life.state.delays == (DAY0 + 1, 0, delay_ms)
    assert watch(life.spec, life.state, lambda day: delay_ms).deadline_ms == tomorrow + 12 * MINUTE_MS
    delay_ms = 0  # another window counts from the next day on
    assert mark(tomorrow + 6 * MINUTE_MS, 103.0) == []
    assert watch(life.spec, life.state, None).deadline_ms == tomorrow + 12 * MINUTE_MS
    for minutes, wanted in ((11, False), (12, True)):
        event = Marked(time_ms=tomorrow + minutes * MINUTE_MS, prices=(103.0,), before_ms=1)
        assert needs(life.spec, life.state, event) is wanted
    orders = mark(tomorrow + 12 * MINUTE_MS, 103.0)
    assert orders != []
    assert state_of(state_body(life.state)) == life.state
    life.trade(orders)
    assert mark(tomorrow + 13 * MINUTE_MS, 104.0) == []
    assert mark(tomorrow + DAY_MS, 104.0) == []
    assert mark(tomorrow + 2 * DAY_MS, 104.0) != []
    assert life.state.delays is msgspec.UNSET


def test_without_a_delay_lines_and_states_are_what_they_were():
    plain = Marked(time_ms=1, prices=(2.0,), before_ms=0)
    assert msgspec.json.encode(plain) == b'{"event":"marked","time_ms":1,"prices":[2.0],"before_ms":0,"volumes":[]}'
    assert b"delays" not in state_body(Life().opened().state)


def test_the_driver_wakes_at_the_drawn_time():
    market = Market(GuardLimits(warm_ms=0))
    market.list_token(0, ("A",))
    starts = Starts("secret", {"T": 10 * MINUTE_MS})
    driver = Driver(market, starts=starts)
    driver.on_quotes([quote(NOON_MS)], NOON_MS)
    book = driver.open_book("T", "abc123", ["T"], NOON_MS)
    spec = Spec(token("A", rule=gr.Rule(schedule=(gr.Schedule(times=("00:02",)),))))
    it = driver.launch(book, spec, ("0.001",), CAPITAL, UNITS, NOON_MS)
    drawn = (DAY0 + 1) * DAY_MS + 2 * MINUTE_MS + starts.delay_ms("T", DAY0 + 1)
    it.state = msgspec.structs.replace(it.state, opened=True)
    driver.arm(it)
    assert it.horizon is not None
    assert it.horizon.deadline_ms == drawn
    for now_ms, places in ((drawn - 1, False), (drawn, True)):
        driver.taken()
        driver.on_quotes([quote(now_ms)], now_ms)
        assert bool(driver.taken().placed) is places


def quote(time_ms):
    return Quote(symbol="A", time_ms=time_ms, mark=100.0, index=100.0)


def test_delays_fill_the_window_and_tell_nothing_of_each_other():
    starts, window = Starts("secret", {"T": 600_000, "U": 600_000}), 600_000
    drawn = [starts.delay_ms("T", day) for day in range(20_000, 22_000)]
    assert 0 <= min(drawn) < 0.01 * window
    assert 0.99 * window < max(drawn) < window
    tenths = [sum(n * window / 10 <= one < (n + 1) * window / 10 for one in drawn) for n in range(10)]
    assert all(140 < count < 260 for count in tenths)
    assert drawn != [starts.delay_ms("U", day) for day in range(20_000, 22_000)]
    assert drawn != [Starts("other", {"T": window}).delay_ms("T", day) for day in range(20_000, 22_000)]
    assert Starts("secret").delay_ms("T", 20_000) == 0


def test_the_secret_outlives_restart_backup_and_restore_and_is_told_by_nothing(tmp_path):
    path = tmp_path / "a.db"
    made = init_database(path, "demo", 1)
    secret = read_secret(path)
    assert len(secret) == 64
    assert secret not in str(made)
    backup_database(path, tmp_path / "b.db")
    restore_database(tmp_path / "b.db", tmp_path / "c.db", 2)
    assert {read_secret(tmp_path / name) for name in ("a.db", "b.db", "c.db")} == {secret}
    init_database(tmp_path / "d.db", "demo", 1)
    assert read_secret(tmp_path / "d.db") != secret
    with Store(path) as store:
        booted = boot(store, Market(GuardLimits()), window_ms=1, visibility_ms=1, now_ms=1, windows_ms={"T": 600_000})
        assert booted.driver.starts.delay_ms("T", 9) == Starts(secret, {"T": 600_000}).delay_ms("T", 9)


def test_a_database_of_the_first_schema_gets_a_secret(tmp_path):
    path = older_database(tmp_path / "a.db", 1)
    with pytest.raises(gr.InputError, match="db upgrade"):
        opened(path)
    with pytest.raises(gr.InputError, match="no secret"):
        read_secret(path)
    assert upgrade_database(path) == (1, SCHEMA)
    assert len(read_secret(path)) == 64


@pytest.mark.parametrize("text", ["soon", "13h", "-1m"])
def test_a_window_is_a_duration_of_at_most_half_a_day(text):
    with pytest.raises(SpecError, match="start_window"):
        TokenEntry(file="t.toml", start_window=text)
    assert DeskConfig(tokens=(TokenEntry(file="t.toml", start_window="10m"),)).tokens[0].start_window == "10m"
