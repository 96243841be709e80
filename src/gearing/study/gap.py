"""The gap budget: how likely NAV reaches zero, or the venue liquidates, before a token can rebalance."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np

from gearing.core.fees import Costs, Fees
from gearing.core.instruments import DatedFuture
from gearing.core.presets import preset
from gearing.core.record import rate as as_rate
from gearing.core.rule import Rule
from gearing.core.token import Token
from gearing.errors import InputError, SpecError
from gearing.market.files import read_prices
from gearing.market.legs import Sources, named
from gearing.market.series import Prices
from gearing.market.times import iso
from gearing.study.backtest import CAPITAL, as_token, capital, run_backtest
from gearing.study.gap_count import Data, Law, Windows
from gearing.study.gap_interval import counted_chances, in_a_year
from gearing.study.gap_margin import Margin, margin_of, move_to_zero
from gearing.study.gap_passage import Floats, is_negligible, passage, passages_with_jumps
from gearing.study.gap_record import WHOLE_RULE, Chance, GapBudget, GapRow, Side
from gearing.study.gap_replay import Replay, leverage_table, replay, stand
from gearing.study.gap_rule import NEXT_PRICE, Clock, Gap, gaps_of
from gearing.study.inputs import Inputs

# The first bracket of the largest perpetuals. Source: Binance's leverage tiers of BTCUSDT, 2022 to 2026.
MAINTENANCE_RATE = 0.004


def gap_budget(
    token: Token, prices: Any, *, maintenance_rate: float | str = MAINTENANCE_RATE, equity: float = CAPITAL
) -> GapBudget:
    """Returns how likely a token's NAV reaches zero, or its venue liquidates it, before its rule can trade.

    There is a row for each wait in which the rule may be too late, on each side (a token of the same size the
    other way round stands beside it, because a long dies of a fall and a short of a rise):

    - The whole rule: the token is run over the prices, free of costs, and each bar is a wait from the leverage
      it had at the close before. Its probability is the mean over these leverages, its count the bars that
      ended it; it then opens anew. The row shows the bar that left least.
    - A schedule's wait runs from one of its times to the next; for an interval, from each trade that long. The
      row takes the schedule alone, as if nothing else traded meanwhile.
    - A continuous trigger (band, deviation, move against the token, ripcord) sees every price, so its wait is
      one bar, or its check interval: from a price at which it just did not fire to one that is too far.
    - Each wait starts from "target" and, where the rule lets the token rest at more, from that "edge": just
      inside the band or the move barrier, or what a schedule's condition passes over. For a continuous trigger
      the edge is the honest start: only the jump from the barrier counts, as if the token always rested there.

    The probability by formula is of first passage within a wait, for a price without drift whose law is fitted
    to the data (`law_of`): a Brownian log price with Merton's jumps, and beside it formula 12 with the same
    volatility and no jumps. Counted are the waits of the data in which the price went so far, by lows and highs
    where the series has them. Normal jumps have thinner tails than markets have: where the count is above the
    formula, trust the count, and where both are small remember how few years were seen.

    A paced rebalance is taken as done at once, unless the rule has a ripcord: then its level is the edge.
    Funding, fees and trading costs within a wait are left out.

    Args:
        token: the specification.
        prices: as for `backtest`: a series, or one for each leg or contract. Of a basket the index counts, of a
            chain the contracts joined without jumps; `made_of` says so.
        maintenance_rate: the venue's maintenance margin, a fraction of notional, for a token without tiers.
        equity: of the token at the start of a wait, settlement currency; a venue's tiers depend on its size.

    Returns:
        The rows, the headline figures `zero_per_year` and `liquidation_per_year`, and warnings.

    Raises:
        InputError: the series, the rate or the equity cannot be used, or NAV is counted in coin.

    Source: formulas 3 (moves to zero and to liquidation) and 12 (first passage).
    """
    amount = capital(equity)
    path, made_of = _path(token, prices, amount)
    margin = margin_of(token, _checked_rate(maintenance_rate), amount)
    if len(path) < 2:
        raise InputError("a single price has no moves.", where=path.symbol or "prices", fix="Give a longer series.")
    data = Data(path)
    rows: list[GapRow] = []
    for one in (token, _mirrored(token)):
        if one is not None:
            rows += [_whole(one, data, margin), *_rows(one, data, margin)]
    law = data.law
    return GapBudget(
        symbol=token.symbol,
        target=token.target,
        prices=path.symbol,
        made_of=made_of,
        start=path.start,
        end=path.end,
        bars=len(path),
        volatility=law.volatility,
        diffusion=law.diffusion,
        jumps_per_year=law.jumps.per_year,
        jump_mean=law.jumps.mean,
        jump_deviation=law.jumps.deviation,
        maintenance=margin.words,
        rows=tuple(rows),
    )


def _path(token: Token, prices: Any, equity: float) -> tuple[Prices, str]:
    """Returns the price whose gaps count, and how it was made where it is no leg's own.

    Raises:
        InputError: no price does, because NAV is counted in coin.
    """
    if as_token(token).settles_in_coin:
        raise InputError(
            f"no gap budget is worked out for {token.symbol}, whose NAV is counted in {token.settlement}: "
            "what a price does to it is not what it does to a token counted in money.",
            where="token",
            fix=f"Take a linear perpetual, or the same token settled in another currency than {token.settlement}.",
        )
    leg = token.legs[0]
    chain = isinstance(leg, DatedFuture) and bool(leg.contracts)
    if len(token.legs) == 1 and not chain:
        return named(prices, leg.symbol, read_prices, "prices", alone=True), ""
    # What results are held against hangs on when weights are restored, so the token is run; rates do not matter to it.
    bare = msgspec.structs.replace(token, fees=Fees(), costs=Costs())
    path = run_backtest(bare, Inputs(Sources(prices, rates=0.0)), Costs(), equity).prices
    if len(token.legs) == 1:
        return path, "its contracts, joined without jumps at each roll"
    return path, (
        f"the index of its {len(token.legs)} legs, their weights restored when the token restores them; it has closes "
        "only, so what happened within a bar is not seen"
    )


def _rows(token: Token, data: Data, margin: Margin) -> list[GapRow]:
    falls = token.target > 0
    side: Side = "long" if falls else "short"
    gaps = gaps_of(token.resolved_rule, token.target)
    ends = [_ends(gap, token.target, margin) for gap in gaps]
    chances = {clock: _on_clock(clock, gaps, ends, data.law) for clock in {gap.clock for gap in gaps}}
    rows = []
    for gap, (zero, forced) in zip(gaps, ends, strict=True):
        windows = data.windows(gap.clock, falls=falls)
        rows.append(
            GapRow(
                side=side,
                trigger=gap.trigger,
                start=gap.start,
                leverage=math.copysign(gap.leverage, token.target),
                horizon_ms=max(gap.clock.span_ms, data.prices.spacing_ms),
                gaps_per_year=data.law.per_year(gap.clock),
                zero=_chance(zero, chances[gap.clock], windows, gap.clock, data.law),
                liquidation=_chance(forced, chances[gap.clock], windows, gap.clock, data.law),
                windows=len(windows.moves),
                worst_move=windows.worst,
                worst_at=iso(windows.worst_ms) if len(windows.moves) else "",
                guard=gap.guard,
            )
        )
    return rows


def _ends(gap: Gap, target: float, margin: Margin) -> tuple[float | None, float | None]:
    leverage = math.copysign(gap.leverage, target)
    return move_to_zero(leverage), margin.move_from(leverage)


def _on_clock(
    clock: Clock, gaps: list[Gap], ends: list[tuple[float | None, float | None]], law: Law
) -> dict[float, float]:
    """The probability of each move that matters on a clock; one grid serves them all."""
    moves = {move for gap, pair in zip(gaps, ends, strict=True) if gap.clock == clock for move in pair}
    return _by_formula(sorted(move for move in moves if move is not None), clock, law)


def _by_formula(moves: list[float], clock: Clock, law: Law) -> dict[float, float]:
    """The probability of each move within one wait, with jumps."""
    found = passages_with_jumps([math.log1p(m) for m in moves], law.diffusion, law.nu, law.years(clock), law.jumps)
    return dict(zip(moves, found, strict=True))


def _by_diffusion(move: float, clock: Clock, law: Law) -> float:
    return passage(math.log1p(move), law.volatility, -(law.volatility**2) / 2, law.years(clock))


def _chance(move: float | None, by_formula: dict[float, float], windows: Windows, clock: Clock, law: Law) -> Chance:
    if move is None:
        return _none()
    per_gap, waits = by_formula[move], law.per_year(clock)
    counted = windows.beyond(move)
    return Chance(
        move=move,
        per_gap=per_gap,
        per_year=in_a_year(per_gap, waits),
        by_diffusion=_by_diffusion(move, clock, law),
        counted=counted,
        **counted_chances(counted, len(windows.moves), waits),
    )


def _none() -> Chance:
    nothing = counted_chances(0, 0, 0.0) | {"counted_high": 0.0}
    return Chance(move=None, per_gap=0.0, per_year=0.0, by_diffusion=0.0, counted=0, **nothing)


def _whole(token: Token, data: Data, margin: Margin) -> GapRow:
    """The row of the whole rule: one bar ahead of the leverage that the token had along the data."""
    sign = math.copysign(1.0, token.target)
    run, zero = _along(token, data, move_to_zero)
    forced = _along(token, data, margin.move_from)[1]
    if not len(run.moves):
        raise InputError("the token never held a position on these prices.", fix="Give a smaller lot, or more equity.")
    nearest = int(np.argmin(1 + sign * run.leverage * run.moves))
    leverage = sign * float(run.leverage[nearest])
    return GapRow(
        side="long" if sign > 0 else "short",
        trigger=WHOLE_RULE,
        start="path",
        leverage=leverage,
        horizon_ms=data.prices.spacing_ms,
        gaps_per_year=data.law.bars_per_year,
        zero=msgspec.structs.replace(zero, move=move_to_zero(leverage)),
        liquidation=msgspec.structs.replace(forced, move=margin.move_from(leverage)),
        windows=len(run.moves),
        worst_move=float(run.moves[nearest]),
        worst_at=iso(int(run.times_ms[nearest])),
    )


def _along(token: Token, data: Data, to_end: Callable[[float], float | None]) -> tuple[Replay, Chance]:
    """The token's path if that end ends it, and its chance in one bar: the mean over the leverages it had."""
    law, sign = data.law, math.copysign(1.0, token.target)

    def ends_at(leverage: Floats) -> Floats:
        # A price cannot fall by 100 %, so that is what stands for no end.
        return np.array([-sign if (move := to_end(sign * float(level))) is None else move for level in leverage])

    def limit(leverage: Floats) -> Floats:
        table = leverage_table(leverage)
        return np.interp(leverage, table, ends_at(table))

    run = replay(token, data, limit)
    if not len(run.moves):
        return run, _none()
    counted = run.ended, len(run.moves)
    return run, _mean_chance(*run.weights(), counted, lambda level: to_end(sign * level), law)


def zero_at_worst(token: Token, data: Data, equity: float = CAPITAL) -> float | None:
    """Returns a budget's `zero_per_year_at_worst` alone, without working out what cannot change it.

    Where no bar ended the token and the highest leverage it had is too low for any, nothing is left to work out.
    A protection is looked at only while the chance of the ones before is above what really happened.

    Args:
        token: the specification, of one leg whose price is that of the data.
        data: the series.
        equity: of the token; it moves no barrier of NAV, but the grid that serves all barriers.

    Returns:
        A probability per year; None if the token never held a position.
    """
    whole = _zero_of_whole(token, data)
    if whole is None:
        return None
    margin = margin_of(token, MAINTENANCE_RATE, equity)
    gaps = gaps_of(token.resolved_rule, token.target)
    ends = [_ends(gap, token.target, margin) for gap in gaps]
    guards: dict[int, list[tuple[Gap, float | None]]] = {}
    for gap, (zero, _) in zip(gaps, ends, strict=True):
        if gap.guard is not None:
            guards.setdefault(gap.guard, []).append((gap, zero))
    best = math.inf
    # Short waits first: they are the quick ones, and mostly the best protection.
    for guard in sorted(guards.values(), key=lambda pairs: max(gap.clock.span_ms for gap, _ in pairs)):
        survives = 1.0
        for gap, zero in guard:
            windows = data.windows(gap.clock, falls=token.target > 0)
            by_formula = _on_clock(gap.clock, gaps, ends, data.law)
            survives *= 1 - _chance(zero, by_formula, windows, gap.clock, data.law).yearly
        best = min(best, 1 - survives)
        if best <= whole:
            return whole
    return best


def _zero_of_whole(token: Token, data: Data) -> float | None:
    """The yearly chance of NAV at zero of the rule as a whole; None if it never held a position."""
    law, sign, seen = data.law, math.copysign(1.0, token.target), stand(token, data.prices)
    if seen.highest == 0:
        return None
    nearest = move_to_zero(sign * seen.highest)
    if not seen.ended:
        years = law.years(NEXT_PRICE)
        if nearest is None or is_negligible(math.log1p(nearest), law.diffusion, law.nu, years, law.jumps):
            return 0.0
    table, shares, bars = seen.weights()
    chance = _mean_chance(table, shares, (seen.ended, bars), lambda level: move_to_zero(sign * level), data.law)
    return chance.yearly


def _mean_chance(
    table: Floats,
    shares: Floats,
    counted: tuple[int, int],
    to_end: Callable[[float], float | None],
    law: Law,
) -> Chance:
    """The chance in one bar as the mean over leverages; `counted` is how many bars ended it, of how many."""
    moves = [to_end(float(level)) for level in table]
    by_formula = _by_formula([move for move in moves if move is not None], NEXT_PRICE, law)
    by_diffusion = {move: _by_diffusion(move, NEXT_PRICE, law) for move in by_formula}
    per_gap, alone = (
        float(shares @ np.array([0.0 if move is None else of[move] for move in moves]))
        for of in (by_formula, by_diffusion)
    )
    waits = law.bars_per_year
    return Chance(
        move=None,
        per_gap=per_gap,
        per_year=in_a_year(per_gap, waits),
        by_diffusion=alone,
        counted=counted[0],
        **counted_chances(*counted, waits),
    )


def _mirrored(token: Token) -> Token | None:
    """The token of the same size the other way round; None where its rule cannot be turned."""
    target = -token.target
    try:
        if isinstance(token.rule, str):
            rule = preset(token.rule, target=target)
        else:
            given: Rule = token.rule
            rule = given if given.target is None else msgspec.structs.replace(given, target=target)
        return msgspec.structs.replace(token, target=target, rule=rule)
    except SpecError:
        return None


def _checked_rate(maintenance_rate: float | str) -> float:
    try:
        value = as_rate(maintenance_rate)
    except ValueError:
        value = math.nan
    if not 0 <= value < 1:
        fix = 'Give a fraction of the notional, at least 0 and below 1, such as 0.004 or "0.4%".'
        raise InputError(f"{maintenance_rate!r} is no maintenance rate.", where="maintenance_rate", fix=fix)
    return value


__all__ = ["MAINTENANCE_RATE", "GapBudget", "GapRow", "gap_budget", "move_to_zero", "zero_at_worst"]
