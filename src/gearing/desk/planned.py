"""What a desk's configuration comes to: its tokens, its feed, its exchange, and how quickly each turns."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import msgspec

from gearing.core.chains import Chains
from gearing.core.changes import Changed, differences
from gearing.core.holder import ACCOUNTS
from gearing.core.instruments import DatedFuture, Leg
from gearing.core.money import FLOOR, to_minor
from gearing.core.record import duration_ms
from gearing.core.spec_text.lines import Lines
from gearing.core.terms import desk_problems
from gearing.core.token import Token
from gearing.desk.boot import spec_of
from gearing.desk.config import DeskConfig, TokenEntry
from gearing.desk.demo import CAPITAL, demo_start_ms, demo_tokens
from gearing.desk.feeds import Feed, SyntheticFeed, read_replay
from gearing.drive.breakers import BreakerLimits
from gearing.drive.guard import GuardLimits
from gearing.drive.margining import MarginChoice, needed
from gearing.errors import InputError, Problem, SpecError
from gearing.files import followed, read_text
from gearing.market.endless import EndlessMarket
from gearing.market.token_file import read_token
from gearing.outputs import paper_file_of
from gearing.store.store import Store
from gearing.venues.paper.setup import Latency, Listing, Setup, listed

VISIBILITY_MS = 1_000
_WINDOW_MS = 2_000
# A quick clock makes a slow machine: so long may a price, a commit or an order take in the world's time, s.
_SLACK_S = 5.0
# How often prices come, NAVs are published and books reconciled where the clock is quick, s of the world's time.
_TICK_S, _NAV_S, _RECONCILE_S = 0.25, 1.0, 10.0
_MINUTE_MS = 60_000
_NOTIONAL_MAX = 1e15


class Placed(NamedTuple):
    """A token, the book it trades in, and what is paid in at its launch, minor units."""

    token: Token
    book: str
    capital: int


class Pace(NamedTuple):
    """How quickly things turn, in ms of the market's time.

    Args:
        speed: market seconds per second.
        tick_ms: between two invented prices.
        nav_ms: between two published NAVs: a minute, at most one a second of the world's time.
        reconcile_ms: between two reconciliations.
        window_ms: the venue refuses an order so long after it was signed.
        slack_ms: what a price may be old, or late, before it counts as stale.
    """

    speed: float
    tick_ms: int
    nav_ms: int
    reconcile_ms: int
    window_ms: int
    slack_ms: int

    @property
    def patience_ms(self) -> int:
        """How long the venue may take to report a funding settlement."""
        return max(_MINUTE_MS, self.slack_ms)


class Planned(NamedTuple):
    """A desk that can be started.

    Args:
        config: what its file says.
        database: its database, behind whatever links.
        pace: how quickly things turn.
        tokens: with their books.
        feed: of the prices.
        start_ms: when its market begins, ms UTC.
        base: the folder that its file's names are seen from.
        new_exchange: whether it begins with an empty paper exchange in place of one whose file is lost.
    """

    config: DeskConfig
    database: Path
    pace: Pace
    tokens: tuple[Placed, ...]
    feed: Feed
    start_ms: int
    base: Path = Path()
    new_exchange: bool = False

    @property
    def invents_holders(self) -> bool:
        """Whether invented holders come and go: those of the demo's own tokens do."""
        return self.config.mode == "demo" and not self.config.tokens

    @property
    def entries(self) -> dict[str, TokenEntry]:
        """What the desk's file says of each token besides its specification; empty for the demo's own."""
        pairs = zip(self.tokens, self.config.tokens, strict=False)
        return {placed.token.symbol: entry for placed, entry in pairs}

    @property
    def margins(self) -> dict[str, MarginChoice]:
        """How each token's instruments are margined, where the desk's file says it."""
        return {name: MarginChoice(entry.leverage, entry.margin_mode) for name, entry in self.entries.items()}

    @property
    def windows_ms(self) -> dict[str, int]:
        """Within how long each token's scheduled starts are put off, where the desk's file says it."""
        return {name: duration_ms(entry.start_window) for name, entry in self.entries.items() if entry.start_window}

    @property
    def paper_file(self) -> Path:
        """The paper exchange's own file."""
        return paper_file_of(self.database)

    @property
    def log_file(self) -> Path | None:
        """The log that the configuration names; None: it names none."""
        return self.base / self.config.log if self.config.log else None

    @property
    def heads_file(self) -> Path | None:
        """The heads file that was named; None: the one next to the database."""
        return self.base / self.config.heads if self.config.heads else None

    @property
    def key_file(self) -> Path | None:
        """The file of the signing key that was named; None: no file was."""
        return self.base / self.config.signing_key if self.config.signing_key else None

    @property
    def guard(self) -> GuardLimits:
        """The price guard's limits, which a quick clock widens."""
        given = self.config.guard
        return msgspec.structs.replace(given, age_ms_max=int(max(given.age_ms_max, self.pace.slack_ms)))

    @property
    def breakers(self) -> BreakerLimits:
        """The breakers' limits; a quick clock, and prices that come seldom, put the alarm of an old one off."""
        given = self.config.breakers
        stale_ms = max(given.stale_ms, self.pace.slack_ms, 2 * self.feed.every_ms)
        return msgspec.structs.replace(given, stale_after=f"{stale_ms}ms")

    def setup(self, *, quick: bool = False) -> Setup:
        """Returns the paper exchange's setup.

        Args:
            quick: everything happens at once, as the past does.
        """
        each_ms = 0 if quick else self.config.venue.latency_ms // 4
        latency = Latency(request_ms=each_ms, match_ms=each_ms, answer_ms=each_ms, report_ms=each_ms,
                          visibility_ms=VISIBILITY_MS)  # fmt: skip
        return Setup(listings=self.listings(), latency=latency, seed=self.config.venue.seed)

    def listings(self) -> tuple[Listing, ...]:
        """Returns what the exchange lists: each instrument that a token holds, or will by its chains."""
        found: dict[str, Listing] = {}
        for token, _, _ in self.tokens:
            chains = Chains(token.legs)
            for leg, names, ends in zip(token.legs, chains.names, chains.expiries_ms, strict=True):
                for name, ends_ms in zip(names, ends or (0,), strict=True):
                    if name not in found:
                        found[name] = self._listing(leg, name, ends_ms, token.settlement)
        return tuple(found.values())

    @property
    def lots(self) -> dict[str, str]:
        """The size of one lot of each instrument that the exchange lists."""
        return {listing.rules.symbol: listing.rules.lot for listing in self.listings()}

    def _listing(self, leg: Leg, name: str, ends_ms: int, asset: str) -> Listing:
        at_ms = self.feed.starts_ms[name] if ends_ms else self.feed.first_ms
        price = next(quote.mark for quote in self.feed.quotes_at(at_ms) if quote.symbol == name)
        made = listed(msgspec.structs.replace(leg, symbol=name), asset=asset, price=price,
                      costs=self.config.venue.costs)  # fmt: skip
        if not isinstance(leg, DatedFuture):
            return made
        # A dated future pays no funding, and ends.
        rules = msgspec.structs.replace(made.rules, funding_interval_ms=0, delisted_ms=ends_ms)
        return msgspec.structs.replace(made, rules=rules)


def pace_of(speed: float) -> Pace:
    """Returns how quickly things turn at a speed."""
    tick_s = _TICK_S if speed > 1.0 else 1.0
    return Pace(
        speed=speed, tick_ms=round(tick_s * 1000 * speed), nav_ms=max(_MINUTE_MS, round(_NAV_S * 1000 * speed)),
        reconcile_ms=max(_MINUTE_MS, round(_RECONCILE_S * 1000 * speed)),
        window_ms=round(_WINDOW_MS * max(speed, 1.0)), slack_ms=round(_SLACK_S * 1000 * speed),
    )  # fmt: skip


def planned(config: DeskConfig, base: Path, *, database: Path | None = None, speed: float | None = None) -> Planned:
    """Returns the desk that a configuration describes.

    Args:
        config: the configuration.
        base: the folder that its files are named from.
        database, speed: in place of the configuration's.

    Raises:
        InputError: a file cannot be read, a token cannot be run, or tokens and prices do not fit together.
    """
    pace = pace_of(config.speed if speed is None else speed)
    feed: Feed
    if config.feed.kind == "synthetic":
        feed = SyntheticFeed(EndlessMarket(config.feed.seed), pace.tick_ms)
        start_ms = demo_start_ms(pace.speed)
    else:
        funding = base / config.feed.funding if config.feed.funding else None
        feed = read_replay(base / config.feed.prices, funding, config.feed.symbol)
        start_ms = feed.first_ms
    tokens = _tokens(config, base)
    files = [entry.file for entry in config.tokens] or [""] * len(tokens)
    problems = [
        one for placed, file in zip(tokens, files, strict=True) for one in _misfits(placed.token, feed, base, file)
    ]
    entries = zip(tokens, config.tokens, strict=False)
    problems += _crowded(tokens, {one.token.symbol for one, entry in entries if entry.margin_mode == "isolated"})
    if problems:
        raise SpecError(problems)
    if any(any(Chains(placed.token.legs).leaves_ms) for placed in tokens):
        start_ms = _first_ms([placed.token for placed in tokens], feed)
    return Planned(config, followed(database or base / config.database), pace, tokens, feed, start_ms, base)


def _tokens(config: DeskConfig, base: Path) -> tuple[Placed, ...]:
    if not config.tokens:
        return tuple(Placed(finite(token), token.symbol, to_minor(CAPITAL, FLOOR)) for token in demo_tokens())
    problems: list[Problem] = []
    found = []
    for number, entry in enumerate(config.tokens):
        try:
            token = read_token(base / entry.file)
        except SpecError as error:
            problems += [problem._replace(place=f"{entry.file}: {problem.place}") for problem in error.problems]
            continue
        except InputError as error:
            problems.append(Problem(f"tokens[{number}].file", repr(entry.file), "a token's file", error.what))
            continue
        if entry.leverage is not None and entry.leverage < needed(token):
            least = f"at least {needed(token):g}, which the target of {token.symbol} needs"
            problems.append(Problem(f"tokens[{number}].leverage", f"{entry.leverage:g}", least))
        found.append(Placed(finite(token), entry.book or token.symbol, to_minor(entry.capital, FLOOR)))
    if problems:
        raise SpecError(problems)
    return tuple(found)


def differing(plan: Planned, store: Store) -> dict[Path, tuple[str, tuple[Changed, ...]]]:
    """Returns the tokens' files that say another thing than what runs: the token of each, and what differs."""
    known = {projected.stream for projected in store.states()}
    entries, found = plan.entries, {}
    for placed in plan.tokens:
        name = placed.token.symbol
        if name in entries and f"token:{name}" in known:
            try:
                changed = differences(spec_of(store, name), placed.token)
            except Exception:  # it cannot be read, and is not run; the desk says so when it starts
                continue
            if changed:
                found[plan.base / entries[name].file] = (name, changed)
    return found


def finite(token: Token) -> Token:
    """Returns a token whose last margin bracket ends: a journal holds no infinity, and nobody looks at that end."""
    legs = []
    for leg in token.legs:
        tiers = tuple(
            msgspec.structs.replace(tier, notional_max=min(tier.notional_max, _NOTIONAL_MAX))
            for tier in leg.margin_tiers
        )
        legs.append(msgspec.structs.replace(leg, margin_tiers=tiers))
    return msgspec.structs.replace(token, legs=tuple(legs))


def _first_ms(tokens: list[Token], feed: Feed) -> int:
    """Returns the first time at which every leg has a price of the contract that it begins with then.

    Raises:
        InputError: there is none.
    """
    chains = [Chains(token.legs) for token in tokens]
    moments = sorted({*feed.starts_ms.values(), *(at for one in chains for times in one.leaves_ms for at in times)})
    for moment in moments:
        symbols = [symbol for one in chains for symbol in one.first(one.at(moment))]
        if all(feed.starts_ms[symbol] <= moment for symbol in symbols):
            return moment
    raise InputError("its prices never show every contract before its roll.", where="feed",
                     fix="Give prices of each contract from the roll into it on.")  # fmt: skip


def _misfits(token: Token, feed: Feed, base: Path, file: str) -> list[Problem]:
    """Returns why a desk with these prices cannot run a token, by the lines of its file; "": it has none."""
    problems = _token_problems(token, feed)
    if not file or not problems:
        return [problem.under(token.symbol) for problem in problems]
    placed = Lines(read_text(base / file)).placed(problems)
    return [problem._replace(place=f"{file}: {problem.place}") for problem in placed]


def _token_problems(token: Token, feed: Feed) -> list[Problem]:
    problems = list(desk_problems(token))
    known = f"one of the feed's: {', '.join(feed.symbols)}"
    chains = None if problems else Chains(token.legs)
    for k, leg in enumerate(token.legs):
        names = (leg.symbol,) if chains is None else chains.names[k]
        place = "symbol" if chains is None or not chains.expiries_ms[k] else "contracts"
        fix = "" if len(names) == 1 else "A desk rolls at the prices of both contracts: the feed needs those of each."
        if names == ("",):
            fix = f'In the token\'s file write [[legs]], and below it symbol = "{feed.symbols[0]}".'
        problems += [
            Problem(f"legs[{k}].{place}", repr(name), known, fix) for name in names if name not in feed.symbols
        ]
    if not (token.symbol.isascii() and token.symbol.isalnum()):
        problems.append(Problem("symbol", repr(token.symbol), "letters and digits on a desk"))
    if not (token.settlement.isascii() and token.settlement.isalnum()):
        problems.append(Problem("settlement", repr(token.settlement), "letters and digits on a desk"))
    if token.symbol in ACCOUNTS:
        problems.append(Problem("symbol", repr(token.symbol), "no name of a holder's account",
                                f"Those are {', '.join(ACCOUNTS)}."))  # fmt: skip
    return problems


def _crowded(tokens: tuple[Placed, ...], isolated: set[str]) -> list[Problem]:
    """Names tokens that cannot share: a symbol stands for one token, an instrument of several for one margin."""
    problems = []
    names = [placed.token.symbol for placed in tokens]
    problems += [
        Problem("tokens", f"{name} twice", "each symbol once")
        for name in sorted({n for n in names if names.count(n) > 1})
    ]
    held: dict[tuple[str, str], str] = {}
    for token, book, _ in tokens:
        for symbol in dict.fromkeys(Chains(token.legs).symbols) if not desk_problems(token) else ():
            other = held.setdefault((book, symbol), token.symbol)
            if other != token.symbol and isolated & {other, token.symbol}:
                problems.append(Problem(
                    f"book {book}", f"{symbol} in {other} and {token.symbol}, with isolated margin",
                    "cross margin, or each instrument once in a book", "Give one of the two a book of its own.",
                ))  # fmt: skip
    return problems
