"""The ledger of a token: double entry in integer minor units.

Debits are positive. What the token has (wallet, unrealised profit) less what it owes (fees, and the flow that is
being dealt) is its equity, which the other side of the books (capital, and the parts of profit) sums to with the
opposite sign; so all balances of an asset sum to zero, always.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

# What the token has, and what it owes: fees to the issuer, and to who comes in or goes out what was paid in for units
# that are not created yet, with all that the hedge of it gained and cost.
# Funding accrues at a predicted rate from a settlement on until the venue's booking is known.
WALLET, UNREALISED, FEES, FLOWS, ACCRUED = "wallet", "unrealised", "fees", "flows", "accrued"
# Whose it is, and where it came from; gains stand as credits, that is negative.
# Capital is what holders paid in less what they were paid out, and `dealt` what coming and going cost them of it.
CAPITAL, PRICE, SPREAD, COMMISSION, FUNDING, MANAGEMENT, LIQUIDATION, RESERVE, DEALT = (
    "capital", "price", "spread", "commission", "funding", "management", "liquidation", "reserve", "dealt",
)  # fmt: skip
# Units, an asset of their own: issued against held.
ISSUED, HELD = "issued", "held"

PROFITS = (PRICE, SPREAD, COMMISSION, FUNDING, MANAGEMENT, LIQUIDATION, RESERVE, DEALT)
MONEY = (WALLET, UNREALISED, ACCRUED, FEES, FLOWS, CAPITAL, *PROFITS)
UNITS = (ISSUED, HELD)


class Posting(msgspec.Struct, frozen=True, array_like=True):
    """One line of an entry: an account, and an amount in minor units, debits positive."""

    account: str
    amount: int


Entry = tuple[Posting, ...]


class Balances(msgspec.Struct, frozen=True, kw_only=True):
    """What stands on each account, minor units, debits positive."""

    wallet: int = 0
    unrealised: int = 0
    accrued: int = 0
    fees: int = 0
    flows: int = 0
    capital: int = 0
    price: int = 0
    spread: int = 0
    commission: int = 0
    funding: int = 0
    management: int = 0
    liquidation: int = 0
    reserve: int = 0
    dealt: int = 0
    issued: int = 0
    held: int = 0

    @property
    def equity(self) -> int:
        """Wallet, unrealised profit and accrued funding less fees and flows owed, minor units."""
        return self.wallet + self.unrealised + self.accrued + self.fees + self.flows

    @property
    def units(self) -> int:
        """Units outstanding, in 1e-8 of a unit."""
        return self.held

    def items(self) -> Iterator[tuple[str, int]]:
        """Yields each account with its balance."""
        return ((account, getattr(self, account)) for account in (*MONEY, *UNITS))


def moved(amount: int, debit: str, credit: str) -> Entry:
    """Returns the entry that moves an amount between two accounts; nothing for nothing."""
    return (Posting(debit, amount), Posting(credit, -amount)) if amount else ()


def posted(balances: Balances, entry: Iterable[Posting]) -> Balances:
    """Returns the balances after an entry."""
    changed: dict[str, int] = {}
    for line in entry:
        changed[line.account] = changed.get(line.account, getattr(balances, line.account)) + line.amount
    return msgspec.structs.replace(balances, **changed) if changed else balances
