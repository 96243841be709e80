"""The reference job in vectorbt, run by whichever interpreter has it: prints JSON with final equity and seconds.

vectorbt pays every purchase from cash, so a long beyond its equity needs a loan: cash so large that it never
binds, taken off again at the end. It knows neither funding nor management fees: the order function books them
beside the portfolio, and equity is value − loan − booked. Spread and commission are its own slippage and fees.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from typing import Any

import numpy as np
import pandas as pd
import vectorbt as vbt
from numba import njit
from vectorbt.portfolio.enums import Direction, NoOrder, SizeType
from vectorbt.portfolio.nb import order_nb

from bench import reference as ref

_LOAN = 1e8
_TOUCH = 1e-9
_SIZE, _BOTH = SizeType.Amount, Direction.Both


@njit
def _order(c: Any, target: float, width: float, paid: Any) -> Any:
    i, p, q = c.i, c.close[c.i, c.col], c.position_now
    if i > 0:
        if i % ref.FUNDING_BARS == 0:
            paid[0] += q * p * ref.FUNDING_RATE
        day = i % ref.DAY_BARS == 0
        E = c.cash_now + q * p - _LOAN - paid[0]
        if day:
            paid[0] += E * ref.FEE_PER_DAY
            E -= E * ref.FEE_PER_DAY
        size = abs(q) * p
        upper = abs(target) * (1.0 + width) * (1.0 + _TOUCH) * E
        lower = abs(target) * (1.0 - width) * (1.0 - _TOUCH) * E
        if not (day or size > upper or size < lower):
            return NoOrder
    else:
        E = ref.EQUITY
    return order_nb(
        size=target * E / p - q,
        price=p,
        size_type=_SIZE,
        direction=_BOTH,
        fees=ref.TAKER_FEE,
        slippage=ref.HALF_SPREAD,
    )


def simulate(close: Any, target: float) -> tuple[Any, float]:
    """Returns the portfolio and the money booked beside it."""
    paid = np.zeros(1)
    portfolio = vbt.Portfolio.from_order_func(
        close,
        _order,
        target,
        ref.DEVIATION,
        paid,
        init_cash=ref.EQUITY + _LOAN,
        max_orders=1_000,
        attach_call_seq=False,
    )
    return portfolio, float(paid[0])


def main() -> None:
    """Simulates both targets a few times and prints what came out."""
    repetitions = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    path = ref.reference_path()
    times = pd.DatetimeIndex(ref.bar_times(len(path), ref.MINUTE_MS).astype("datetime64[ms]"))
    close = pd.Series(path, index=times)
    results = []
    for known in ref.KNOWN:
        if known.deviation == ref.NEVER:
            continue
        portfolio, paid = simulate(close, known.target)
        seconds = []
        for _ in range(repetitions):
            start = time.perf_counter()
            simulate(close, known.target)
            seconds.append(time.perf_counter() - start)
        equity = float(portfolio.final_value()) - _LOAN - paid
        orders = len(portfolio.orders.records_arr)
        results.append(
            {
                "target": known.target,
                "equity": equity,
                "orders": orders,
                "seconds": statistics.median(seconds),
            }
        )
    print(json.dumps({"version": vbt.__version__, "results": results}))


if __name__ == "__main__":
    main()
