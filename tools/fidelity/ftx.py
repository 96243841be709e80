"""FTX's ETH and LTC tokens of 2020, simulated on Binance's perpetuals."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

import gearing as gr
from gearing.core.record import Record
from tools.fidelity.data import DAY_MS, HOUR_MS, closes, perpetual
from tools.fidelity.text import bp, day, minus, table

# Days left out, the same for every token: no primary market in the crash, and quotes that stood still.
LEFT_OUT = (("2020-03-12", "2020-03-14"), ("2020-04-02", "2020-04-11"))

_DAILY = "levtok/ftx_1d_2020.parquet"
_FOUR_HOURLY = "levtok/ftx_ethbull_4h.parquet"
_UNTIL = "2020-12-18"


class Listed(Record, frozen=True, kw_only=True):
    """A token that FTX listed.

    Args:
        symbol: FTX's name of it.
        coin: its underlying.
        target: its target leverage.
    """

    symbol: str
    coin: str
    target: float


TOKENS = (
    Listed(symbol="ETHBULL", coin="ETH", target=3.0),
    Listed(symbol="ETHBEAR", coin="ETH", target=-3.0),
    Listed(symbol="LTCBULL", coin="LTC", target=3.0),
    Listed(symbol="LTCBEAR", coin="LTC", target=-3.0),
)


@lru_cache(maxsize=16)
def simulation(listed: Listed) -> gr.Result:
    """Returns the backtest of a token with FTX's rule and fees from the first day of its quotes, trading for nothing.

    Raises:
        DataError: the data is not there.
    """
    ends, _ = closes(_DAILY, listed.symbol, DAY_MS)
    start = str(np.datetime64(int(ends[0]) - DAY_MS, "ms"))
    prices, funding = perpetual(f"{listed.coin}USDT", start, _UNTIL)
    return gr.backtest(gr.presets.token("ftx", listed.coin, listed.target), prices, funding=funding)


def tracked(listed: Listed, shift_h: int = 0) -> gr.Track:
    """Returns a token's daily closes against its simulation.

    Args:
        listed: which one.
        shift_h: hours after the end of the stamped day (UTC) at which the simulation is read.

    Raises:
        DataError: the data is not there.
    """
    ends, real = closes(_DAILY, listed.symbol, DAY_MS)
    shift = shift_h * HOUR_MS
    # A bar's change belongs to the day that its end closes.
    left_out = [(_ms(first) + shift, _ms(last) + DAY_MS + shift) for first, last in LEFT_OUT]
    product = gr.Prices(ends + shift, real, symbol=listed.symbol)
    return gr.track(product, simulation(listed), leave_out=left_out)


def _ms(date: str) -> int:
    return int(np.datetime64(date, "ms").astype(np.int64))


def main_table() -> str:
    """Returns the regression of real on simulated daily log returns of every token."""
    rows = []
    for listed in TOKENS:
        found = tracked(listed)
        times = found.frame["time"]
        level = found.frame["gap"].sum()
        rows.append(
            [
                listed.symbol,
                f"{day(times[0])} to {day(times[-1])}",
                str(found.changes),
                f"{found.slope:.3f}",
                f"{found.r_squared:.4f}",
                bp(found.deviation),
                minus(f"{found.echo:.2f}"),
                minus(f"{found.drift:+.2f}"),
                minus(f"{level:+.2f}"),
            ]
        )
    return table(["token", "days", "n", "slope", "R²", "sd, bp", "echo", "drift, log/yr", "level, log"], rows)


def clock_table() -> str:
    """Returns R² of every token against the hour, from the stamped day's end, at which the simulation is read."""
    shifts = (-2, -1, 0, 1, 2)
    rows = [[listed.symbol, *(f"{tracked(listed, shift).r_squared:.3f}" for shift in shifts)] for listed in TOKENS]
    return table(["R²", *(minus(f"{shift:+d} h") if shift else "day's end" for shift in shifts)], rows)


def four_hour_fit(shift_h: int) -> tuple[float, float]:
    """Returns slope and R² of ETHBULL's 4 h log returns, 11 February to 11 March 2020.

    Args:
        shift_h: hours after a bar's stamp at which the simulation is read.
    """
    stamps, real = closes(_FOUR_HOURLY, "ETHBULLUSDT", 0)
    inside = (stamps >= _ms("2020-02-11")) & (stamps < _ms("2020-03-12"))
    found = gr.track(gr.Prices(stamps[inside] + shift_h * HOUR_MS, real[inside]), simulation(TOKENS[0]))
    return found.slope, found.r_squared


def drift_table() -> str:
    """Returns what would explain each coin's two drifts: another funding, and a cost of trading.

    A bull's drift is −3·x − T·k and a bear's +3·x − T·k, with x the funding per year above Binance's, T the
    turnover per year and k the cost of a unit traded: two equations for each coin.
    """
    rows = []
    for bull, bear in zip(TOKENS[::2], TOKENS[1::2], strict=True):
        drifts, turnovers = [], []
        for listed in (bull, bear):
            found = tracked(listed)
            drifts.append(found.drift)
            turnovers.append(simulation(listed).summary().turnover * found.per_year / (len(found.frame) - 1))
        system = np.array([[-3.0, -turnovers[0]], [3.0, -turnovers[1]]])
        funding, cost = np.linalg.solve(system, np.array(drifts))
        result = simulation(bull)
        assert result.funding is not None
        rows.append(
            [
                bull.coin,
                f"{result.funding.rates.mean() * 3 * 365.25:.1%}",
                *(minus(f"{drift:+.2f}") for drift in drifts),
                *(f"{turnover:.0f}" for turnover in turnovers),
                minus(f"{funding:+.1%}"),
                f"{cost:.2%}",
            ]
        )
    heads = ["coin", "Binance funding/yr", "bull drift", "bear drift", "bull turnover", "bear turnover"]
    return table([*heads, "funding beyond", "cost per trade"], rows)


def outlier_table(count: int = 5) -> str:
    """Returns the days with the largest gaps of each token, among those that count."""
    rows = []
    for listed in TOKENS:
        for row in tracked(listed).worst(count).iter_rows(named=True):
            figures = [minus(f"{row[name]:+.1%}") for name in ("product", "simulated")]
            after = "" if row["next_gap"] is None else minus(f"{row['next_gap']:+.3f}")
            rows.append([f"{listed.symbol} {day(row['time'])}", *figures, minus(f"{row['gap']:+.3f}"), after])
    return table(["day", "token", "model", "gap, log", "next"], rows)


def crash_table() -> str:
    """Returns ETHBULL through 12 March 2020: real, with FTX's rule, and with its clock alone."""
    stamps, real = closes(_FOUR_HOURLY, "ETHBULLUSDT", 4 * HOUR_MS)
    prices, funding = perpetual("ETHUSDT", "2020-02-11", "2020-03-20")
    daily = gr.Rule(schedule=(gr.Schedule(times=("00:02",)),))
    rows = []
    ends = (_ms("2020-03-12"), _ms("2020-03-13"))
    at = np.searchsorted(stamps, ends)
    rows.append(["ETHBULL, market price", minus(f"{real[at[1]] / real[at[0]] - 1:.1%}")])
    for name, rule in (("simulated, ftx", "ftx"), ("simulated, its clock alone", daily)):
        token = gr.Token(symbol="ETHBULL", target=3.0, rule=rule, fees=gr.presets.fees("ftx"))
        result = gr.backtest(token, prices, funding=funding)
        nav = result.nav["nav"].to_numpy()[np.searchsorted(prices.times_ms, ends)]
        rows.append([name, minus(f"{nav[1] / nav[0] - 1:.1%}")])
    move = prices.close[np.searchsorted(prices.times_ms, ends)]
    rows.append(["ETHUSDT perpetual", minus(f"{move[1] / move[0] - 1:.1%}")])
    return table(["12 March 2020, UTC", "change"], rows)


def report() -> str:
    """Returns all tables on FTX's tokens."""
    slope, r2 = four_hour_fit(4)
    early, late = four_hour_fit(3)[1], four_hour_fit(5)[1]
    hours = (
        f"ETHBULL, 4 h bars read 3, 4, 5 h after their stamp: R² {early:.3f}, {r2:.3f}, {late:.3f}; slope {slope:.3f}"
    )
    return "\n\n".join([main_table(), clock_table(), hours, drift_table(), crash_table(), outlier_table()])
