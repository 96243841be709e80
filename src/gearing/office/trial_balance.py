"""The trial balance of a period: every account's opening balance, debits, credits and closing balance."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from gearing.core.holder import omnibus_of, together
from gearing.core.ledger import MONEY, UNITS, Entry
from gearing.errors import InputError
from gearing.office.cut import Cut, token_of
from gearing.office.table import Kind, Table

COLUMNS: dict[str, Kind] = {
    "ledger": "text", "asset": "text", "account": "text", "opening": "amount", "debits": "amount",
    "credits": "amount", "closing": "amount",
}  # fmt: skip
# What sums have in place of a ledger and of an account.
HOLDERS, TOTAL = "holders", "total"

_Place = tuple[str, str]
_ORDER = {name: number for number, name in enumerate((*MONEY, *UNITS))}


class _Line(msgspec.Struct):
    entry: Entry


_read = msgspec.json.Decoder(_Line).decode


class _Account:
    """What went over an account; debits are positive."""

    __slots__ = ("credits", "debits", "opening")

    def __init__(self) -> None:
        self.opening = self.debits = self.credits = 0

    def add(self, other: _Account) -> None:
        self.opening += other.opening
        self.debits += other.debits
        self.credits += other.credits

    @property
    def figures(self) -> tuple[int, int, int, int]:
        return self.opening, self.debits, self.credits, self.opening + self.debits - self.credits


def trial_balance(cut: Cut, tokens: Iterable[str], holders: Iterable[str]) -> Table:
    """Returns the trial balance of tokens and holders.

    After the accounts of each ledger come sums: of each account over an omnibus holder and its sub-holders (ledger
    "EX/*") and over all holders (ledger "holders"), and of each asset over everything (ledger and account "total"),
    whose opening and closing balance are nothing.

    Args:
        cut: the journals.
        tokens, holders: whose ledgers.

    Raises:
        InputError: the balances of an asset do not sum to zero in a ledger.
    """
    rows: list[tuple[object, ...]] = []
    totals: dict[_Place, _Account] = {}
    for token in tokens:
        currency = token_of(cut, token).settlement
        places = {name: (f"cash:{currency}", name) for name in MONEY} | {
            name: (f"units:{token}", name) for name in UNITS
        }
        found = _accounts(cut, f"token:{token}", places.__getitem__)
        rows += _rows(f"token:{token}", found, totals)
    names = list(holders)
    sums: dict[str, dict[_Place, _Account]] = {together(name): {} for name in map(omnibus_of, names) if name}
    sums[HOLDERS] = {}
    for holder in names:
        found = _accounts(cut, f"holder:{holder}", _of_holder)
        rows += _rows(f"holder:{holder}", found, totals)
        for whose in {HOLDERS, together(omnibus_of(holder) or holder)} & set(sums):
            for place, account in found.items():
                sums[whose].setdefault(place, _Account()).add(account)
    for whose, found in sorted(sums.items(), key=lambda item: (item[0] == HOLDERS, item[0])):
        rows += _rows(whose, found, {})
    rows += _rows(TOTAL, totals, {})
    return Table(COLUMNS, rows, "In every ledger each asset sums to zero, at the beginning and at the end.")


def _accounts(cut: Cut, stream: str, place: Callable[[str], _Place]) -> dict[_Place, _Account]:
    """Returns the accounts of a stream by asset and name.

    Raises:
        InputError: an asset does not sum to zero.
    """
    by_name: dict[str, _Account] = {}
    first = cut.bounds(stream).first
    for seq, line in cut.lines(stream, _read):
        for posting in line.entry:
            account = by_name.get(posting.account)
            if account is None:
                account = by_name[posting.account] = _Account()
            if seq < first:
                account.opening += posting.amount
            elif posting.amount > 0:
                account.debits += posting.amount
            else:
                account.credits -= posting.amount
    found = {place(name): account for name, account in by_name.items()}
    sums: dict[str, _Account] = {}
    for (asset, _), account in found.items():
        sums.setdefault(asset, _Account()).add(account)
    for asset, total in sums.items():
        opening, _, _, closing = total.figures
        if opening or closing:
            raise InputError(f"{asset} of {stream} sums to {closing if closing else opening}, not to zero.",
                             fix="See what is wrong: gearing journal verify DB.")  # fmt: skip
    return found


def _of_holder(name: str) -> _Place:
    asset, _, where = name.rpartition(":")
    return asset, where


def _rows(
    ledger: str, accounts: dict[_Place, _Account], totals: dict[_Place, _Account]
) -> list[tuple[object, ...]]:  # fmt: skip
    rows: list[tuple[object, ...]] = []
    for (asset, name), account in sorted(accounts.items(), key=lambda item: _sorted_by(*item[0])):
        if any(account.figures):
            rows.append((ledger, asset, name, *account.figures))
        totals.setdefault((asset, TOTAL), _Account()).add(account)
    return rows


def _sorted_by(asset: str, name: str) -> tuple[str, int, str]:
    return asset, _ORDER.get(name, -1), name
