"""What columns are called: one table of names for every file and every data frame.

Names are compared folded: without case, blanks and punctuation, so that `Adj Close`, `adj_close` and `adjClose`
are one name, and `<DATE>` is `date`.

Source: the column names of the download pages, REST answers and client libraries of the venues and vendors listed
in docs/reference/files.md.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from enum import StrEnum

_PUNCTUATION = re.compile(r"[^0-9a-z%]+")
# Alpha Vantage numbers its fields ("1. open", "4a. close (USD)") and names the currency behind them.
_NUMBERED = re.compile(r"^\s*\d{1,2}[ab]?\.\s+")
_UNIT_BEHIND = re.compile(r"(open|high|low|close|price|last|time|date)[\s_]*\((?:usdt?|eur|gbp|jpy|utc|gmt)\)\s*$")


class Role(StrEnum):
    """What a column is for."""

    TIME = "time"
    CLOCK = "clock"
    CLOSE_TIME = "close_time"
    SYMBOL = "symbol"
    OPEN = "open"
    HIGH = "high"
    LOW = "low"
    CLOSE = "close"
    ADJUSTED = "adjusted"
    VOLUME = "volume"
    QUOTE_VOLUME = "quote_volume"
    CONTRACTS = "contracts"
    RATE = "rate"
    SETTLED_AT = "settled_at"
    MARK = "mark"
    AMOUNT = "amount"


class TableKind(StrEnum):
    """What a table is read as."""

    PRICES = "prices"
    FUNDING = "funding"
    RATES = "rates"
    DIVIDENDS = "dividends"


def fold(name: str) -> str:
    """Returns a column's name without case, blanks and punctuation, a number before and a currency behind it."""
    return _PUNCTUATION.sub("", _UNIT_BEHIND.sub(r"\1", _NUMBERED.sub("", name.lower())))


# In order of preference: what says that a bar opens then, then moments, then dates.
_OPEN_TIMES = (
    "opentime", "opentimestamp", "openat", "starttime", "startat", "startts", "starttimestamp", "start",
    "begintime", "beginat", "begin", "timeperiodstart", "periodstart", "candlebegintime", "candletime",
    "bucket", "bucketstart", "windowstart", "startedat", "timeopen",
)  # fmt: skip
_MOMENTS = (
    "timestamp", "time", "datetime", "snappedat", "ts", "t", "unix", "unixtime", "unixtimestamp", "epoch",
    "epochtime", "epochms", "timestampms", "timems", "tsms", "timestampus", "timestampns", "timestamputc",
    "timeutc", "datetimeutc", "utctime", "utc", "gmttime", "datetimestamp", "dateandtime", "ticks", "eventtime",
    "createdat", "mts", "tsevent", "tsinit", "transacttime", "timepoint", "localtime",
)  # fmt: skip
_DATES = (
    "date", "dateutc", "day", "observationdate", "effectiveat", "effectivedate", "tradedate", "tradingdate",
    "tradingday", "pricedate", "quotedate", "sessiondate", "session", "asofdate", "asof", "valuedate", "dt",
    "refdate", "referencedate", "month", "week", "yyyymmdd", "datadate", "caldt", "dlycaldt", "navdate",
    "dates", "exchangedate", "timeperiod",
)  # fmt: skip
SETTLEMENT_TIMES = (
    "fundingtime", "fundingratetimestamp", "calctime", "settlementtime", "settletime", "settledat",
    "fundingdate", "fundingat",
)  # fmt: skip
_EX_DATES = ("exdate", "exeffdate", "exdividenddate", "exdivdate", "exdtime")

TIMES = (*_OPEN_TIMES, *_MOMENTS, *_DATES)
# What an index of times goes before: columns that say the same less exactly, or something else.
LATER_TIMES = frozenset((*_MOMENTS, *_DATES))
CLOSE_TIMES = (
    "closetime", "closetimestamp", "closeat", "endtime", "endat", "timeperiodend", "periodend", "end",
    "timeclose", "endedat",
)  # fmt: skip
CLOCKS = ("time", "clock", "timeofday", "hour")

SYMBOLS = (
    "symbol", "instrumentname", "instid", "instrumentid", "instrument", "pair", "currencypair", "tradingpair",
    "ticker", "contract", "contracts", "contractname", "contractcode", "market", "marketid", "marketname",
    "product", "productid", "coin", "asset", "underlying", "securityid", "tic", "permno", "ric", "isin", "series",
    "seriesid", "s",
)  # fmt: skip

_CLOSES = (
    "close", "c", "closeprice", "closingprice", "priceclose", "pxclose", "price", "closelast", "last", "lastprice",
    "settle", "settlement", "settlementprice", "px", "pxlast", "prc", "tradeclose", "value",
    "mid", "midprice", "closebid", "nav",
)  # fmt: skip
# Units of the underlying whatever the instrument is.
BASE_VOLUMES = (
    "volccy", "basevolume", "volumebase", "baseassetvolume", "basetokenvolume", "homenotional", "volumefrom",
)  # fmt: skip
_ADJUSTED = (
    "adjclose", "adjustedclose", "closeadj", "closeadjusted", "adjcloseprice", "adjustedcloseprice", "adjprice",
    "adjc", "closeadjustedprice", "adjustedprice",
)  # fmt: skip

NAMES: Mapping[TableKind, Mapping[Role, tuple[str, ...]]] = {
    TableKind.PRICES: {
        Role.TIME: TIMES,
        Role.CLOCK: CLOCKS,
        Role.CLOSE_TIME: CLOSE_TIMES,
        Role.SYMBOL: SYMBOLS,
        Role.OPEN: ("open", "o", "openprice", "priceopen", "openingprice", "pxopen", "tradeopen"),
        Role.HIGH: ("high", "h", "highprice", "pricehigh", "highestprice", "pxhigh", "tradehigh", "max"),
        Role.LOW: ("low", "l", "lowprice", "pricelow", "lowestprice", "pxlow", "tradelow", "min"),
        Role.CLOSE: _CLOSES,
        Role.ADJUSTED: _ADJUSTED,
        Role.VOLUME: (
            *BASE_VOLUMES, "volume", "vol", "v", "volumetraded", "tradevolume", "pxvolume", "sxsum", "qty",
            "tickvolume", "tickvol",
        ),
        Role.QUOTE_VOLUME: (
            "quotevolume", "volumequote", "quoteassetvolume", "volquote", "volccyquote", "turnover", "volumeusd",
            "usdvolume", "dollarvolume", "volumeto", "volumecurrency", "quotetokenvolume", "foreignnotional", "sum",
            "amount", "totalvolume", "totalvolumes",
        ),
        Role.CONTRACTS: ("volumecontracts", "contractvolume", "volcontracts"),
    },
    TableKind.FUNDING: {
        Role.TIME: (*SETTLEMENT_TIMES, *TIMES),
        Role.CLOCK: CLOCKS,
        Role.SYMBOL: SYMBOLS,
        Role.RATE: (
            "relativefundingrate", "realizedrate", "realizedfundingrate", "fundingraterealized", "fundingrate",
            "lastfundingrate", "funding", "rate", "fundingrate%", "fundingratepct", "fundingratepercent",
            "fundingratebp", "fundingratebps", "ratebp", "ratebps", "ratepct", "ratepercent", "fr", "r",
            "fundingrateannualized", "annualizedfundingrate", "fundingrateannual", "annualfundingrate",
            "fundingrateannualised", "annualisedfundingrate",
            "annualizedfundingratepct", "annualisedfundingratepct", "fundingrateannualizedpct",
            "fundingrateannualisedpct", "fundingapr", "fundingrateapr", "apr",
            "interest1h", "interest8h", "fundingrate8h", "fundingrate1h", "absolutefundingrate",
        ),
        Role.SETTLED_AT: ("fundingtimestamp", "nextfundingtime", "nextfundingtimestamp"),
        Role.MARK: ("markprice", "mark", "indexprice", "index", "lastprice", "price"),
        Role.OPEN: ("open",),
        Role.HIGH: ("high",),
        Role.LOW: ("low",),
        Role.CLOSE: ("close",),
    },
    TableKind.RATES: {
        Role.TIME: TIMES,
        Role.CLOCK: CLOCKS,
        Role.SYMBOL: SYMBOLS,
        Role.RATE: (
            "rate", "ratepct", "ratepercent", "rate%", "yield", "yieldpct", "value", "obsvalue", "percentrate",
            "interestrate",
            "close", "price",
        ),
    },
    TableKind.DIVIDENDS: {
        Role.TIME: (*_EX_DATES, *TIMES),
        Role.CLOCK: CLOCKS,
        Role.SYMBOL: SYMBOLS,
        Role.AMOUNT: ("dividends", "dividend", "dividendamount", "cashamount", "amount", "divcash"),
    },
}  # fmt: skip

# What a person must have given, and the name shown first where it is missing.
REQUIRED: Mapping[TableKind, tuple[Role, str]] = {
    TableKind.PRICES: (Role.CLOSE, "close"),
    TableKind.FUNDING: (Role.RATE, "funding_rate"),
    TableKind.RATES: (Role.RATE, "rate"),
    TableKind.DIVIDENDS: (Role.AMOUNT, "dividends"),
}

# The few names that an error lists; docs/reference/files.md has all.
SHOWN: Mapping[Role, tuple[str, ...]] = {
    Role.TIME: ("timestamp", "time", "datetime", "open_time", "date"),
    Role.CLOSE: ("close", "price", "adj_close"),
    Role.RATE: ("funding_rate", "fundingRate", "rate"),
    Role.AMOUNT: ("dividends", "dividend", "amount"),
}

_EXTRA = ("interval", "fundingintervalhours", "fundinginterval", "change", "change%", "per", "openint")
_KNOWN = frozenset(_EXTRA) | frozenset(n for names in NAMES.values() for aliases in names.values() for n in aliases)

# What stands beside prices in a table, and is no instrument even where it is written in capitals.
_NO_INSTRUMENTS = frozenset(
    (
        *_KNOWN, "id", "index", "count", "trades", "tradecount", "numberoftrades", "vwap", "oi", "openinterest",
        "marketcap", "return", "returns", "ret", "change", "changepct", "pct", "percent", "bid", "ask", "spread",
        "dividends", "stocksplits", "capitalgains", "splitratio", "ignore", "confirm", "exchange", "currency",
        "name", "type", "flag", "status", "year", "hour", "minute", "vol", "ivol", "iv", "rv", "std", "mean",
    )
)  # fmt: skip
_INSTRUMENT = re.compile(r"[\^.]?[A-Z0-9][A-Z0-9 ._/:=^-]*[A-Z0-9](=[A-Z])?")
# "Volume BTC", "Volume USDT": an asset's own name after the word.
_VOLUME_OF = re.compile(r"\s*vol(?:ume)?[\s_.(]+([A-Za-z0-9]{2,8})\)?\s*", re.IGNORECASE)
# "Volume MA", "Volume 24h": no asset.
_NO_ASSETS = frozenset(
    {"QUOTE", "CCY", "BASE", "TRADED", "CURRENCY", "FROM", "TO", "MA", "SMA", "EMA", "AVG", "CHANGE", "CHG", "PCT",
     "DELTA", "RATIO", "SUM", "WEIGHTED", "CONTRACT", "CONTRACTS", "USDVALUE", "RANK", "BUY", "SELL", "ADJ"}
)  # fmt: skip
QUOTES = frozenset({"USD", "USDT", "USDC", "BUSD", "FDUSD", "TUSD", "DAI", "EUR", "GBP", "JPY", "KRW", "TRY"})


def is_time(name: str) -> bool:
    """Returns whether a column of this name holds times."""
    folded = fold(name)
    return folded in TIMES or folded in SETTLEMENT_TIMES or folded in CLOSE_TIMES or folded in _EX_DATES


def is_known(name: str) -> bool:
    """Returns whether a name stands in the table of names."""
    return fold(name) in _KNOWN or volume_of(name) is not None


def is_field(name: str) -> bool:
    """Returns whether a name is a part of a bar, such as "Open" or "Adj Close"."""
    names, folded = NAMES[TableKind.PRICES], fold(name)
    roles = (Role.OPEN, Role.HIGH, Role.LOW, Role.CLOSE, Role.ADJUSTED, Role.VOLUME)
    return any(folded in names[role] for role in roles)


def is_instrument(name: str) -> bool:
    """Returns whether a column's name can be an instrument's, as in a table with a column for each."""
    stripped = name.strip()
    return fold(stripped) not in _NO_INSTRUMENTS and bool(_INSTRUMENT.fullmatch(stripped))


def volume_of(name: str) -> Role | None:
    """Returns whether "Volume BTC" counts units of the underlying or of the quote currency; None if it is neither."""
    match = _VOLUME_OF.fullmatch(name)
    if match is None:
        return None
    asset = match[1].upper()
    if asset in _NO_ASSETS or asset[0].isdigit():
        return None
    return Role.QUOTE_VOLUME if asset in QUOTES else Role.VOLUME


def resolve(present: Sequence[str], kind: TableKind, *, ends: bool = False) -> dict[Role, str]:
    """Returns which column of a table plays which role; a column plays one.

    Args:
        present: the names of its columns.
        kind: what it is read as.
        ends: whether its times are those of the bars' ends, so that one which says that a bar opens then is the last
            choice.
    """
    folded: dict[str, str] = {}
    # Of `t` and `T` the first letter's own case decides: Hyperliquid's `T` is the bar's end.
    for column in sorted(present, key=lambda name: name != name.lower()):
        folded.setdefault(fold(column), column)
    roles: dict[Role, str] = {}
    for role, names in NAMES[kind].items():
        aliases = names
        if ends and role is Role.TIME:
            last = (*_OPEN_TIMES, *_EX_DATES)
            aliases = (*(name for name in names if name not in last), *(name for name in last if name in names))
        own = next((folded[alias] for alias in aliases if alias in folded), None)
        if own is not None and (own not in roles.values() or role is Role.CLOCK):
            roles[role] = own
    if kind is TableKind.PRICES:
        for column in present:
            counted = volume_of(column)
            if counted is not None:
                roles.setdefault(counted, column)
        # Hyperliquid's and Binance's streams end a bar at T that began at t.
        if Role.CLOSE_TIME not in roles and {"t", "T"} <= set(present) and roles.get(Role.TIME) == "t":
            roles[Role.CLOSE_TIME] = "T"
    return roles
