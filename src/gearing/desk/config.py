"""What a desk is told: a file of TOML, or nothing for the demo."""

from __future__ import annotations

from typing import Literal

from gearing.core.delays import WINDOW_MS_MAX
from gearing.core.fees import Costs
from gearing.core.money import FLOOR, to_minor
from gearing.core.record import Check, Record, duration_ms
from gearing.drive.breakers import BreakerLimits
from gearing.drive.guard import GuardLimits

DeskMode = Literal["demo", "paper"]


class TokenEntry(Record, frozen=True, kw_only=True):
    """A token that the desk runs.

    Args:
        file: its specification, a TOML file; a relative path counts from the desk's own file.
        capital: paid in at its launch, in its settlement currency.
        book: the venue account it trades in, letters and digits; by default one of its own.
        leverage: the venue's setting for its instruments; by default twice what its target needs, at most what the
            first margin bracket allows.
        start_window: its times of day start within so long after they are stated, by a delay that nobody outside can
            know; a duration, at most 12 h; empty: at once.
        margin_mode: "cross" or "isolated"; with "isolated" the leverage is given, since a position stands on it.
    """

    file: str
    capital: float = 1_000_000.0
    book: str = ""
    leverage: float | None = None
    margin_mode: Literal["cross", "isolated"] = "cross"
    start_window: str = ""

    def __post_init__(self) -> None:
        check = Check(self)
        check.text("file", empty=False)
        check.number("capital", 0, 1e9, strict=True)
        check.text("book")
        named = isinstance(self.book, str) and (not self.book or (self.book.isascii() and self.book.isalnum()))
        check.that(named, "book", "letters and digits")
        check.number("leverage", 1, 1_000, optional=True)
        check.choice("margin_mode", ("cross", "isolated"))
        if self.start_window != "":
            count = len(check.problems)
            check.duration("start_window", optional=False)
            if len(check.problems) == count and duration_ms(self.start_window) > WINDOW_MS_MAX:
                check.add("start_window", self.start_window, "at most 12h")
        if self.margin_mode == "isolated" and self.leverage is None:
            check.add("leverage", "none", "a leverage where the margin is isolated", "Add a line: leverage = ...")
        check.done()


class FeedEntry(Record, frozen=True, kw_only=True):
    """Where prices come from.

    Args:
        kind: "synthetic" invents them (demo), "replay" plays files (paper).
        seed: of the invented ones.
        prices: a file of bars with a symbol column, or of one symbol.
        funding: a file of settlements, likewise; empty: none are paid.
        symbol: of a file that names none.
    """

    kind: Literal["synthetic", "replay"] = "synthetic"
    seed: int = 11
    prices: str = ""
    funding: str = ""
    symbol: str = ""

    def __post_init__(self) -> None:
        check = Check(self)
        check.choice("kind", ("synthetic", "replay"))
        whole = isinstance(self.seed, int) and not isinstance(self.seed, bool) and 0 <= self.seed < 2**31
        check.that(whole, "seed", "a whole number from 0 on")
        for place in ("prices", "funding", "symbol"):
            check.text(place)
        if not check.problems and self.kind == "replay" and not self.prices:
            check.add("prices", self.prices, "the file to replay", 'Add a line: prices = "prices.parquet"')
        check.done()


class VenueEntry(Record, frozen=True, kw_only=True):
    """The paper exchange.

    Args:
        costs: what trading costs there.
        latency_ms: from sending an order to knowing its fate, in the market's time; a quarter for each way and step.
        seed: of everything random in it.
    """

    costs: Costs = Costs(taker_fee=0.0005, half_spread=0.0002, liquidation_fee=0.005)
    latency_ms: int = 80
    seed: int = 0

    def __post_init__(self) -> None:
        check = Check(self)
        check.that(isinstance(self.costs, Costs), "costs", "a Costs")
        for place, most in (("latency_ms", 4_000), ("seed", 2**31)):
            value = getattr(self, place)
            whole = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most
            check.that(whole, place, f"a whole number from 0 to {most}")
        check.done()


class DeskConfig(Record, frozen=True, kw_only=True):
    """A desk.

    Args:
        mode: "demo" (invented prices, a quick clock) or "paper" (given prices, simulated venue). Each has its own
            database.
        database: its file; a relative path counts from the desk's own file. The paper exchange keeps its own beside.
        speed: market seconds per second.
        history_days: of a demo, invented before it starts.
        reserve: what may be paid in for tokens that were wiped out, all together, in their settlement currency.
        metrics_port: where Prometheus finds the metrics; 0: nowhere.
        log: a file of JSON lines; empty: none.
        heads: the file that signed heads of the journal are appended to, better on another disk; empty: the database's
            name with ".heads".
        signing_key: the file of the Ed25519 private key that signs them, readable by its owner alone; empty: the
            environment's GEARING_SIGNING_KEY, or the database's name with ".key", which is made if it is missing.
        feed, venue, guard, breakers: see there.
        tokens: what it runs; a demo that names none runs its four examples.
    """

    mode: DeskMode = "demo"
    database: str = "gearing-demo.db"
    speed: float = 600.0
    history_days: float = 90.0
    reserve: float = 100_000.0
    metrics_port: int = 0
    log: str = ""
    heads: str = ""
    signing_key: str = ""
    feed: FeedEntry = FeedEntry()
    venue: VenueEntry = VenueEntry()
    guard: GuardLimits = GuardLimits()
    breakers: BreakerLimits = BreakerLimits()
    tokens: tuple[TokenEntry, ...] = ()

    @property
    def reserve_minor(self) -> int:
        """The reserve in minor units of money, exactly as it was written, rounded down."""
        return to_minor(self.reserve, FLOOR)

    def __post_init__(self) -> None:
        check = Check(self)
        check.choice("mode", ("demo", "paper"))
        check.text("database", empty=False)
        check.number("speed", 0.1, 100_000)
        check.number("history_days", 0, 300)
        check.number("reserve", 0, 1e9)
        port = self.metrics_port
        check.that(isinstance(port, int) and 0 <= port < 65_536, "metrics_port", "a port, 1 to 65535, or 0")
        for place in ("log", "heads", "signing_key"):
            check.text(place)
        for place, kind in (("feed", FeedEntry), ("venue", VenueEntry), ("guard", GuardLimits),
                            ("breakers", BreakerLimits)):  # fmt: skip
            check.that(isinstance(getattr(self, place), kind), place, f"a [{place}] table")
        check.sequence("tokens", TokenEntry, "[[tokens]] tables")
        if not check.problems:
            self._check_together(check)
        check.done()

    def _check_together(self, check: Check) -> None:
        if self.mode == "paper" and self.feed.kind != "replay":
            check.add("feed.kind", self.feed.kind, '"replay" in mode paper', "Invented prices are for mode demo.")
        if self.mode == "demo" and self.feed.kind != "synthetic":
            check.add("feed.kind", self.feed.kind, '"synthetic" in mode demo', 'Write mode = "paper" to replay files.')
        if self.mode == "paper" and not self.tokens:
            check.add("tokens", "none", "at least one token", "Add a [[tokens]] table with its file.")
        files = [entry.file for entry in self.tokens]
        if len(set(files)) < len(files):
            check.add("tokens", files, "each token once")
