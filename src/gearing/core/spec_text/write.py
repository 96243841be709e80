"""Writes a token specification as TOML text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec

from gearing.core.instruments import Instrument, kind_of
from gearing.core.record import Record
from gearing.core.token import Token

_EXAMPLE = """\
# A leveraged token. A line that starts with # is a comment: take the # away to use the field below it.
# A rate is a number or a percentage: 0.0003 and "0.03%" are the same.
{run}
symbol = "{symbol}"{pad}# short name of the unit
target = {target}                  # target leverage, signed: -3 is a three times short token; at most 20
rule = {rule}# an issuer's rule (`gearing rules` lists them), or a [rule] of your own, below
# name = "Three times long"   # a longer name
# settlement = "USDT"         # the currency that NAV is counted in
# initial_nav = 100.0         # NAV of the first unit
# cash_interest = 1.0         # the share of the reference rate that idle cash earns
# disclosure = "prices"       # what the public may know of the next rebalance: "full", "prices", "after" (nothing)

[fees]                        # what the issuer charges
management_per_day = "0.03%"  # taken at each day's end, 00:00 UTC: 10.4 % in a year
creation = "0.1%"             # of a subscription
redemption = "0.1%"           # of a redemption
# management_per_year = "2%"  # in place of management_per_day
# on = "exposure"             # what the management fee is taken of: "equity" (default) or "exposure"
# all_in = true               # the fee covers everything: no funding, no trading cost

[costs]                       # what trading costs in a study
taker_fee = "0.05%"           # the venue's commission on the traded notional
half_spread = "0.02%"         # half the relative bid-ask spread
# impact = 0.1                # the half spread grows by impact * sqrt(traded / volume of the last 24 h)
# liquidation_fee = "0.5%"    # the venue's extra charge on a forced close

# [limits]                    # bounds that the desk keeps; a study ignores them
# largest_exposure = 50e6     # in settlement currency
# largest_order = 1e6         # in settlement currency
# supply_cap = 100000         # in units

# [primary]                   # how units are created and redeemed
# window = "1m"               # requests of so long are netted, and the rest is hedged together
# least = 1.0                 # of one subscription, in settlement currency
# least_redemption = 10.0     # of one redemption; left out: what half a lot hedges
# largest = 50000             # of one request
# holder_per_day = 100000     # of one holder's requests of a side on a UTC day
# total_per_day = 1e6         # of all requests of a side on a UTC day
# quote_valid = "10s"         # give firm quotes that may be accepted this long; left out: requests wait for the window
# quote_swing = 0.001         # the spread around iNAV, before the measured cost of hedging; void beyond this move
# quote_margin = 0.1          # own funds of the dealing account, as a fraction of its open exposure
# quote_share = 0.5           # of its money, open quotes of one holder with its sub-holders bind at most this

# [consolidation]             # merge units at a day's end where NAV is below a level
# below = 0.1                 # in settlement currency
# factor = 10                 # ten units become one

{legs}
# A rule of your own, in place of the rule above. Levels are real leverage without its sign.
# [rule]
# name = "mine"
# target = 3.0                # the target its levels were written for; another one is refused
# band_lower = 2.0            # rebalance at once below this leverage ...
# band_upper = 4.0            # ... or above this one
# deviation = "30%"           # or when leverage is this far off target
# move_against = "12%"        # or when the price moved so far against the token since the last rebalance
# move_favour = "20%"         # or in its favour
# side = "reduce"             # at once only to reduce the position; "both" is the default
# aim = "target"              # or "edge" (of the band), "reentry" or "recentering"
# reentry_level = 3.2         # the leverage that aim = "reentry" trades to
# recentering_speed = 0.05    # the part of the way that aim = "recentering" goes
# ripcord = 5.0               # beyond this leverage reduce to band_upper in one trade, whatever the pace
# check_interval = "10m"      # look for triggers only once in this time
#
# [[rule.schedule]]           # a clock; there may be several
# times = ["00:02"]           # times of day in UTC, or with an offset: "00:00+08:00"
# every = "24h"               # in place of times: this long after the last completed rebalance
# side = "both"               # or "reduce"
# only_if = { move_against = "1%", move_favour = "1%" }   # any trigger above; without it, always
#
# [rule.pace]                 # cut large rebalances into slices
# largest = 1e6               # the largest trade, in settlement currency
# interval = "1m"             # the least time between two slices
"""


# What the example holds, by the word for it. The first is the default and stays commented out.
EXAMPLES = {
    "perpetual": """\
# [[legs]]                    # what the portfolio holds; `gearing token new --holds basket` and others show more
# kind = "perpetual"          # or "dated_future", "total_return_swap", "spot"
# symbol = "BTCUSDT"          # the venue's name of it; a basket's prices are given by these names
# weight = 1.0                # share of the exposure; the weights of all legs sum to 1
# lot = 0.001                 # the smallest step of a trade, in contracts; 0 trades any size
# multiplier = 1.0            # units of underlying per contract
# tick = 0.1                  # the smallest step of its price; a study ignores it
# min_notional = 5            # the smallest trade the venue takes, in settlement currency
# margin_tiers = [            # the venue's maintenance brackets, smallest first; none: never liquidated
#   { notional_max = 50000, rate = "0.4%", amount = 0 },
#   { rate = "0.5%", amount = 50 },
# ]
""",
    "inverse": """\
[[legs]]                      # a perpetual margined in coin
kind = "perpetual"
symbol = "BTCUSD_PERP"
inverse = true
underlying = "BTC"            # with settlement = "BTC" NAV would be counted in the coin
multiplier = 100              # notional of a contract, in the currency of the price
""",
    "dated_future": """\
[[legs]]                      # a chain of futures, each contract with prices of its own
kind = "dated_future"
symbol = "BTC"
roll_days = 5                 # days before expiry at which the position is moved to the next contract
contracts = [
  { symbol = "BTC-240329", expiry = "2024-03-29T08:00" },
  { symbol = "BTC-240628", expiry = "2024-06-28T08:00" },
]
""",
    "total_return_swap": """\
[[legs]]                      # a swap: the return of the underlying, dividends included, against financing
kind = "total_return_swap"
symbol = "QQQ"
spread = "0.35%"              # per year, over the reference rate of the study
""",
    "spot": """\
[[legs]]                      # the underlying itself, bought with the token's cash
kind = "spot"
symbol = "BTC"
""",
    "basket": """\
[[legs]]                      # a basket: several legs, each with prices and funding of its own
kind = "perpetual"
symbol = "BTCUSDT"
weight = 0.5                  # the weights of all legs sum to 1

[[legs]]
kind = "perpetual"
symbol = "ETHUSDT"
weight = 0.3

[[legs]]
kind = "perpetual"
symbol = "LTCUSDT"
weight = 0.2
""",
}


# How each example is run; the files' names are examples too.
_RUNS = {
    "perpetual": """\
# Run it: gearing backtest BTC3L.toml --prices prices.parquet --funding funding.parquet
""",
    "inverse": """\
# Run it: gearing backtest BTC3L.toml --prices prices.parquet --funding funding.parquet
""",
    "dated_future": """\
# Run it with the prices of each contract, in one file with a column "symbol" or in a file each:
# gearing backtest BTC3L.toml --prices prices.parquet
# gearing backtest BTC3L.toml --prices BTC-240329=march.parquet --prices BTC-240628=june.parquet
# --underlying-prices index.parquet holds the result against the price that the contracts are written on.
""",
    "total_return_swap": """\
# Run it: gearing backtest BTC3L.toml --prices qqq.parquet --dividends qqq.parquet --rates rates.parquet
""",
    "spot": """\
# Run it: gearing backtest BTC3L.toml --prices prices.parquet
# --rates rates.parquet gives the rate that its cash earns, and pays where it is borrowed.
""",
    "basket": """\
# Run it with the series of all legs in one file with a column "symbol", or in a file each:
# gearing backtest BTC3L.toml --prices prices.parquet --funding funding.parquet
# gearing backtest BTC3L.toml --prices BTCUSDT=btc.parquet --prices ETHUSDT=eth.parquet --prices LTCUSDT=ltc.parquet
""",
}


# Symbol, target and rule of each example that is not a three times long token of one coin under FTX's rule.
_WHO = {
    "total_return_swap": ("QQQ3L", 3.0, "daily-etf"),
    "spot": ("BTC1L", 1.0, "daily-etf"),
    "basket": ("TOP3L", 3.0, "ftx"),
}


def example_token(holds: str = "perpetual") -> str:
    """Returns a commented specification that shows every field of a token; it is valid as it stands.

    Args:
        holds: what its portfolio holds, one of EXAMPLES.
    """
    symbol, target, rule = _WHO.get(holds, ("BTC3L", 3.0, "ftx"))
    filled = {
        "{run}\n": _RUNS[holds].replace("BTC3L", symbol) + "\n",
        '{symbol}"{pad}': f'{symbol}"'.ljust(20),
        "{target}": str(target),
        "{rule}": f'"{rule}"'.ljust(23),
        "{legs}\n": EXAMPLES[holds],
    }
    text = _EXAMPLE
    for place, words in filled.items():
        text = text.replace(place, words)
    return text


def format_token(token: Token) -> str:
    """Returns the TOML text of a token, without the fields that have their default.

    Args:
        token: any token; `parse_token` brings the same one back.
    """
    return "\n".join(_table(token, "")).strip() + "\n"


def _table(record: Record, path: str) -> Iterator[str]:
    tables: list[tuple[str, Any]] = []
    for field in msgspec.structs.fields(type(record)):
        value = getattr(record, field.name)
        if not field.required and value == field.default:
            continue
        if isinstance(value, Record) or (isinstance(value, tuple) and isinstance(value[0], Record)):
            tables.append((field.name, value))
        else:
            yield f"{field.name} = {_leaf(value)}"
    for name, value in tables:
        place = f"{path}.{name}" if path else name
        if isinstance(value, Record):
            yield from ("", f"[{place}]", *_table(value, place))
        else:
            for item in value:
                kind = (f'kind = "{kind_of(item)}"',) if isinstance(item, Instrument) else ()
                yield from ("", f"[[{place}]]", *kind, *_table(item, place))


def _leaf(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # JSON escapes everything that TOML wants escaped, except DEL.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, tuple):
        return f"[{', '.join(_leaf(item) for item in value)}]"
    return repr(value)
