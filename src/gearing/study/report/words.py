"""What a report says in words: the token and its rule, the headline, what was assumed."""

from __future__ import annotations

from gearing.core.instruments import DatedFuture, Leg, Perpetual, Spot, TotalReturnSwap, kind_of
from gearing.core.rule import Rule
from gearing.core.spec_text import format_token
from gearing.core.token import Token
from gearing.core.words import barrier_moves, cost_words, describe, fee_words
from gearing.market.times import duration_text
from gearing.numerals import (
    amount,
    decimals_for,
    fixed,
    gained,
    level_text,
    moment,
    number,
    percent,
    share,
    summing,
)  # fmt: skip
from gearing.study.held import Held
from gearing.study.ideal import ideal_of
from gearing.study.paid import yearly_cost, yearly_decay
from gearing.study.periods import DAILY_YEAR, LISTED_YEAR
from gearing.study.ran_on import held_against, series_rows
from gearing.study.report.alternatives import underlying_name
from gearing.study.report.markup import Card, Head, bullets, cards, facts, folded, paragraph, section, table, verbatim
from gearing.study.report.waterfall import part_words
from gearing.study.result import Result
from gearing.study.summary import Summary, signs_differ
from gearing.study.targets import words_of

_SHORT_YEARS = 90 / 365
_TRIGGERS = {
    "close": "act at the price that a bar ends with",
    "worst": "act at the level that a bar's low or high reaches, the adverse side first",
}
_BARRIERS = {"band_upper": "upper edge", "band_lower": "lower edge", "move_favour": "move in favour"}


def size_words(target: float) -> str:
    """Returns a target in words: "3 times long"."""
    return f"{number(abs(target))} times {'long' if target > 0 else 'short'}"


def title_of(token: Token) -> str:
    """Returns a token's heading."""
    return f"{token.symbol}, {token.name}" if token.name else token.symbol


def data_words(result: Result) -> str:
    """Returns what a study ran on in one line."""
    prices, legs = result.prices, result.token.legs
    name = f"{prices.symbol}, " if prices.symbol else ""
    if len(legs) > 1:
        name = f"{', '.join(leg.symbol for leg in legs)}, "
    bars = f"{len(prices):,} bars of {duration_text(prices.spacing_ms)}"
    return f"{name}{bars}, {moment(prices.start)} to {moment(prices.end)} UTC"


def warnings_of(result: Result) -> list[str]:
    """Returns what nobody may overlook."""
    s, said = result.summary(), []
    if s.wiped_out and s.wiped_out_at:
        said.append(f"Wiped out on {moment(s.wiped_out_at)} UTC: equity reached zero, and nothing happened after.")
    if s.liquidations:
        times = "once" if s.liquidations == 1 else f"{s.liquidations:,} times"
        said.append(f"Liquidated {times}: the venue closed the position.")
    return said


def story(result: Result) -> str:
    """Returns the result in a few sentences."""
    s, token = result.summary(), result.token
    name = underlying_name(result)
    end = "and the token was wiped out" if s.wiped_out else f"the token {_went(s.total_return)}"
    joint = ", " if s.wiped_out else "; "
    perfect = ideal_of(result)
    told = [f"{name[0].upper()}{name[1:]} {_went(s.underlying_return)}{joint}{end}."]
    what = f"{words_of(result.targets, token.target, number)} times each day's return at no cost"
    if s.ideal_wiped_out_at:
        told.insert(0, f"Even the ideal, {what}, was worth nothing from {moment(s.ideal_wiped_out_at)} UTC on: "
                       f"one day took everything from it.")  # fmt: skip
    else:
        told.append(f"Its ideal, {what}, {_went(float(perfect.nav[-1]) / token.initial_nav - 1)}.")
    parts = [(name, money) for name, money in result.attribution.money.items() if money]
    money = [amount for _, amount in parts]
    # The same digits as in the table of the parts.
    texts, _ = summing(money, decimals_for(money))
    ranked = sorted((amount, f"{part_words(name)} {'made' if amount > 0 else 'took'} {shown[1:]} {token.settlement}")
                    for (name, amount), shown in zip(parts, texts, strict=True))  # fmt: skip
    burdens = [words for amount, words in ranked if amount < 0][:2]
    helps = [words for amount, words in ranked[::-1] if amount > 0][:1]
    if burdens or helps:
        first, *rest = [*helps, *burdens]
        told.append(f"Of {number(token.initial_nav, decimals=9)} {token.settlement}, "
                    f"{_listed([first, *rest])}.")  # fmt: skip
    return " ".join(told)


def sharpe_words(s: Summary) -> str:
    """Returns the Sharpe ratio, and that of log returns where its sign is another."""
    words = f"Sharpe, arithmetic, {fixed(s.sharpe, 2)}"
    return f"{words}; of log returns {fixed(s.sharpe_log, 2)}" if signs_differ(s) else words


def year_words(periods: float) -> str:
    """Returns how many periods a year has, in words."""
    names = {DAILY_YEAR: "days", LISTED_YEAR: "trading days", 52.0: "weeks", 12.0: "months", 4.0: "quarters"}
    return f"{number(periods)} {names.get(periods, 'periods')}"


def _went(value: float) -> str:
    if abs(value) < 5e-5:
        return "ended where it began"
    if -1 < value < -0.9995:
        return "lost more than 99.9 %"
    return f"{'gained' if value > 0 else 'lost'} {share(abs(value), 1, sign=False)}"


def _listed(items: list[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def headline_section(result: Result) -> str:
    """Returns the result in words and in headline figures."""
    s, currency = result.summary(), result.token.settlement
    start = number(s.initial_nav, decimals=9)
    scaled = f"scaled up from {fixed(s.years * 365, 0)} days" if s.years < 0.99 else f"over {fixed(s.years, 1)} years"
    cost = yearly_cost(result)
    decay = share(yearly_decay(result), 1, sign=False)
    short, against = 0 < s.years < _SHORT_YEARS, held_against(result.token, result.ran_on)
    shown = [
        Card("NAV at the end", amount(s.final_nav), f"{currency}, from {start}", leads=True),
        Card("total return", gained(s.total_return), f"{against} {share(s.underlying_return)}", leads=True),
        Card("return per year", gained(s.cagr), scaled),
        Card("deepest drawdown", gained(s.max_drawdown), f"worst day {share(s.worst_day)}"),
        Card("volatility per year", share(s.volatility, 1, sign=False), sharpe_words(s)),
        Card("tracking error per year", share(s.tracking_error, sign=False),
             f"difference from the ideal {share(s.tracking_difference)} a year"),
        Card("received per year" if cost < 0 else "paid per year", share(abs(cost), 1, sign=False),
             "it was wiped out" if s.wiped_out else f"of equity; decay {decay} a year in log"),
        Card("rebalances", f"{s.rebalances:,}", f"turnover {fixed(s.turnover, 1)} × equity"),
    ]  # fmt: skip
    note = f"The period is only {fixed(s.years * 365, 0)} days: figures per year are a scale, not a forecast. "
    return section(
        "At a glance",
        paragraph(story(result), mark="story"),
        cards(shown),
        paragraph(
            (note if short else "")
            + "Paid: the yearly sum of fees, funding and trading costs. Decay: the loss against target leverage times "
            "the underlying's log return; below zero it is a gain. Both are shares of the equity of the time.",
            mark="note",
        ),
    )


def token_section(result: Result) -> str:
    """Returns what the token is and what its rule does, with the moves of the price at which it acts."""
    token, rule = result.token, result.token.resolved_rule
    costs = "none: the fee is all in" if token.fees.all_in else cost_words(result.costs) or "none"
    rows = [
        ("what it is", f"a token that is {size_words(token.target)} on {underlying_name(result)}, settled in "
                       f"{token.settlement}"),
        *(("what it holds" if k == 0 else "", holding_words(token, leg)) for k, leg in enumerate(token.legs)),
        *([] if result.targets is None else [("target", targets_words(result))]),
        ("rule", rule.name or "its own"),
        ("trading costs assumed", costs),
    ]  # fmt: skip
    return section(
        "The token and its rule",
        facts(rows),
        "<h3>What the rule does</h3>",
        bullets(describe(rule, token.target, in_coin=token.settles_in_coin)),
        "<h3>What the issuer charges</h3>",
        bullets(fee_words(token.fees, token.target)),
        _barriers(rule, token.target, in_coin=token.settles_in_coin),
    )


def targets_words(result: Result) -> str:
    """Returns how a target that varies did so."""
    targets = result.targets
    if targets is None:
        return number(result.token.target, sign=True)
    ends = words_of(targets, result.token.target, number)
    told = number(result.token.target, sign=True)
    return f"it varies, {ends}, at {len(targets.values):,} times; what follows is told for {told}"


def holding_words(token: Token, leg: Leg) -> str:
    """Returns what one leg is, in words."""
    kind = kind_of(leg).replace("_", " ")
    if isinstance(leg, Perpetual):
        kind = f"{'inverse' if leg.inverse else 'linear'} perpetual"
    kind = kind if isinstance(leg, Spot) else f"the {kind}"
    share_of = f"{percent(leg.weight)} in {kind}" if len(token.legs) > 1 else kind
    name = f" {leg.symbol}" if leg.symbol else ""
    if isinstance(leg, TotalReturnSwap):
        return f"{share_of} on{name or ' the underlying'}, {percent(leg.spread)} a year over the reference rate"
    if isinstance(leg, DatedFuture) and leg.contracts:
        chain = ", ".join(contract.symbol for contract in leg.contracts)
        return f"{share_of}{name}: {chain}, each rolled {number(leg.roll_days)} days before expiry"
    return f"{share_of}{name}"


def _barriers(rule: Rule, target: float, *, in_coin: bool) -> str:
    moves = barrier_moves(rule, target, in_coin=in_coin)
    if not moves:
        return paragraph("No move of the price makes it act between its clocks, or ends it.", mark="note")
    rows = [
        (
            _BARRIERS.get(move.trigger, part_words(move.trigger)), move.when, share(move.move, 3),
            level_text(move.leverage),
            "" if move.trigger == "wipe-out" else ("it trades" if move.trades else "it would not add, so it waits"),
        )
        for move in sorted(moves, key=lambda move: move.move)
    ]  # fmt: skip
    heads = (
        Head("barrier", words=True), Head("when", words=True), Head("move of the price"), Head("real leverage then"),
        Head("", words=True),
    )  # fmt: skip
    return table(heads, rows, caption="Moves of the price, from target, at which something happens", name="barriers")


def assumptions_section(result: Result, alone: Held | None, command: str | None) -> str:
    """Returns what was assumed, the version, and how to make this report again."""
    token, prices = result.token, result.prices
    costs = token.costs if token.fees.all_in else result.costs
    rows = [
        *series_rows([(token, result.ran_on)], prices),
        ("gaps in the prices", _gap_words(result)),
        ("triggers", _TRIGGERS[result.intrabar]),
        ("moment of a price", "a bar is known at the time shown, its end; UTC throughout"),
        ("trading costs", "none, the fee is all in" if token.fees.all_in else cost_words(costs) or "none"),
        ("capital", f"{amount(result.equity)} {token.settlement} before the opening trade"),
        ("a year", f"365 days; for volatility, Sharpe and tracking {year_words(result.summary().periods_per_year)}"),
        ("flows", "no units created or redeemed; creation and redemption fees are not charged"),
    ]  # fmt: skip
    if alone is not None and alone.assumed_rate is not None:
        rows.append(("perpetual held yourself", f"maintenance margin {percent(alone.assumed_rate)}, assumed"))
    return section(
        "What was assumed",
        facts(rows),
        *made_again(command, backtest=True),
        folded("The token's specification", verbatim(format_token(token))),
    )


def made_again(command: str | None, *, backtest: bool = False) -> list[str]:
    """Returns the version, and how to make a report again, as HTML.

    Args:
        command: the command line that does, or None if it was made from Python.
        backtest: whether a token's specification stands below.
    """
    from importlib.metadata import version

    made = f"Made by Gearing {version('gearing')}."
    if command is None and not backtest:
        return [paragraph(f"{made} From Python: the same tokens and series, then .report(path).")]
    if command is None:
        return [paragraph(f"{made} From Python, gr.backtest with the specification below and the same series, then "
                          ".report(path), makes it again.")]  # fmt: skip
    return [paragraph(f"{made} This command makes the report again from the same files:"), verbatim(command)]


def _gap_words(result: Result) -> str:
    legs = result.ran_on.legs
    told = []
    for held in legs:
        if gaps := held.prices.gaps():
            name = f"{held.prices.symbol} " if len(legs) > 1 else ""
            told.append(f"{name}{len(gaps)}, {sum(gap.missing for gap in gaps):,} bars missing")
    return "; ".join(told) or "none"
