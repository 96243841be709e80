"""Which file serves which leg or contract: the values of --prices, --funding and --dividends."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from gearing.errors import InputError

if TYPE_CHECKING:
    from gearing.core.token import Token
    from gearing.market.reading.names import TableKind
    from gearing.market.reading.options import ReadOptions


class Given(NamedTuple):
    """One value of an option: a file for one name, or for all (None)."""

    name: str | None
    file: Path


class Want(NamedTuple):
    """A name that needs a series.

    Args:
        name: the symbol of a leg or of a contract; may be empty where a token has one leg.
        token: whose it is.
        alone: whether it is the only one of its token, so that a series of another name serves it too.
    """

    name: str
    token: str
    alone: bool


class Chosen(NamedTuple):
    """The file that serves a name, and whose rows of it; None takes all."""

    file: Path
    symbol: str | None


def parsed(option: str, values: Sequence[Path]) -> list[Given]:
    """Returns what the values of an option, NAME=FILE or FILE, give.

    Raises:
        InputError: one names nothing, or two name the same.
    """
    found: list[Given] = []
    for value in values:
        name, sign, file = str(value).partition("=")
        # A file may have such a sign in its own name.
        if not sign or value.exists():
            found.append(Given(None, value))
            continue
        where = f"{option} {value}"
        if not name.strip() or not file.strip():
            raise InputError("this names no series.", where=where, fix=f"Write {option} NAME=FILE, or {option} FILE.")
        if any(name.strip() == other.name for other in found):
            raise InputError(f"{name.strip()} is given twice.", where=where, fix="Leave one of them out.")
        found.append(Given(name.strip(), Path(file.strip())))
    files = [given.file for given in found if given.name is None]
    if len(set(files)) < len(files):
        raise InputError("the same file is given twice.", where=option, fix="Leave one of them out.")
    return found


def wanted_prices(tokens: Iterable[Token]) -> list[Want]:
    """Returns the names that need prices: each leg's, or each contract's of a chain."""
    from gearing.core.instruments import DatedFuture

    found: dict[str, Want] = {}
    for token in tokens:
        names = [
            contract.symbol if contract is not None else leg.symbol
            for leg in token.legs
            for contract in (isinstance(leg, DatedFuture) and leg.contracts) or (None,)
        ]
        for name in names:
            # What another token calls by its name is that series for all.
            alone = len(names) == 1 and (name not in found or found[name].alone)
            found[name] = Want(name, token.symbol, alone)
    return list(found.values())


def wanted_legs(tokens: Iterable[Token], *, perpetuals: bool) -> list[Want]:
    """Returns the names of legs that may have dividends, or funding (perpetuals alone)."""
    from gearing.core.instruments import Perpetual

    found: dict[str, Want] = {}
    for token in tokens:
        for leg in token.legs:
            if isinstance(leg, Perpetual) or not perpetuals:
                alone = len(token.legs) == 1 and (leg.symbol not in found or found[leg.symbol].alone)
                found[leg.symbol] = Want(leg.symbol, token.symbol, alone)
    return list(found.values())


class Shelf:
    """The files of one option, and which of them serves a name.

    Args:
        option: its name, such as "--prices".
        given: its values.
        kind: what its files hold.
        symbol: the rows that --symbol chooses, or None.
        options: how its files are read.
    """

    def __init__(
        self, option: str, given: Sequence[Given], kind: TableKind, symbol: str | None, options: ReadOptions
    ) -> None:  # fmt: skip
        self.option, self.symbol = option, symbol
        self.named = {one.name: one.file for one in given if one.name is not None}
        self.free = [one.file for one in given if one.name is None]
        self._kind, self._options = kind, options
        self._held: dict[Path, list[str] | None] = {}
        if symbol is not None and self.named:
            name, file = next(iter(self.named.items()))
            where, fix = f"{option} {name}={file}", "Leave one of the two out."
            raise InputError("both NAME=FILE and --symbol say whose rows are meant.", where=where, fix=fix)

    def held(self, file: Path) -> list[str] | None:
        """Returns whose rows a file holds, or None if it does not say."""
        if file not in self._held:
            from gearing.market.reading.table import symbols_in

            self._held[file] = symbols_in(file, self._kind, self._options)
        return self._held[file]

    def choose(self, wants: Sequence[Want], *, all_of_them: bool) -> dict[str, Chosen]:
        """Returns the file for each name that has one.

        Args:
            wants: the names.
            all_of_them: whether a name without a file is an error.

        Raises:
            InputError: a name has none, or several; or a file serves no name.
        """
        self._check_names(wants)
        found: dict[str, Chosen] = {}
        for want in wants:
            chosen = self._named(want) if want.name in self.named else self._free(want, all_of_them)
            if chosen is not None:
                found[want.name] = chosen
            elif all_of_them:
                raise self._nothing_for(want)
        self._check_used(found.values(), wants)
        return found

    def _named(self, want: Want) -> Chosen:
        file = self.named[want.name]
        held = self.held(file)
        # A file of one symbol is taken at the word of whoever names it.
        return Chosen(file, None if held is None or len(held) == 1 else want.name)

    def _free(self, want: Want, all_of_them: bool) -> Chosen | None:
        name = self.symbol if want.alone and self.symbol is not None else want.name
        if want.alone and len(self.free) == 1:
            return self._sole(want, self.free[0], all_of_them)
        holding = [file for file in self.free if name in (self.held(file) or ())]
        if len(holding) > 1:
            files = " and ".join(file.name for file in holding)
            fix = f"Say which: {self.option} {name}=FILE."
            raise InputError(f"{name} stands in {files}.", where=self.option, fix=fix)
        return Chosen(holding[0], name) if holding else None

    def _sole(self, want: Want, file: Path, all_of_them: bool) -> Chosen | None:
        """The one file for a token of one leg, which need not call it by the same name."""
        if self.symbol is not None or not want.name:
            return Chosen(file, self.symbol)
        held = self.held(file)
        if held is None or len(held) <= 1:
            return Chosen(file, None)
        if want.name in held:
            return Chosen(file, want.name)
        if not all_of_them:
            return None
        what = f"it holds {listed(held)}, but not {want.name}, which {want.token} holds."
        raise InputError(what, where=file.name, fix="Choose one with --symbol.")

    def _check_names(self, wants: Sequence[Want]) -> None:
        known = [want.name for want in wants if want.name]
        for name, file in self.named.items():
            if name in known:
                continue
            where = f"{self.option} {name}={file}"
            if not known:
                what = "the token's leg has no symbol, so its series is not given by name."
                raise InputError(what, where=where, fix=f"Write {self.option} FILE, and --symbol if it holds several.")
            near = difflib.get_close_matches(name.upper(), known, n=1, cutoff=0.5)
            fix = f"Did you mean {near[0]}?" if near else f"There {_are(known)}."
            raise InputError(f"no leg or contract is called {name}.", where=where, fix=fix)

    def _nothing_for(self, want: Want) -> InputError:
        what = self.option.removeprefix("--")
        needs = f"{want.token} needs {what} of {want.name}" if want.name else "it is not clear which is the token's"
        silent = [file for file in self.free if self.held(file) is None]
        if silent:
            return InputError(
                f"it has no column symbol, so it does not say of which leg it is; {needs}.",
                where=silent[0].name,
                fix=f"Write {self.option} {want.name}={silent[0]}." if want.name else "Give this file alone.",
            )
        there = [f"{file.name} holds {listed(self.held(file) or [])}" for file in self.free]
        if self.named:
            there.append(f"given by name {_are(list(self.named))}")
        fix = f"Add {self.option} {want.name}=FILE." if want.name else "Give one file, or choose with --symbol."
        return InputError(f"{needs}: {'; '.join(there)}.", where=self.option, fix=fix)

    def _check_used(self, chosen: Iterable[Chosen], wants: Sequence[Want]) -> None:
        used = {one.file for one in chosen}
        for file in self.free:
            if file in used:
                continue
            names, held = [want.name for want in wants if want.name], self.held(file)
            what = "does not say whose it is" if held is None else f"holds {listed(held)}"
            legs = "each of these is given by name" if set(held or ()) & set(names) else f"the legs are {listed(names)}"
            raise InputError(
                f"it serves no leg: it {what}, and {legs}.",
                where=f"{self.option} {file.name}",
                fix=f"Write {self.option} NAME={file}, or leave it out.",
            )


def listed(names: Sequence[str], most: int = 8) -> str:
    """Returns names with commas, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(name or "a nameless one" for name in names[:most]) + more


def _are(names: Sequence[str]) -> str:
    return f"is {names[0]}" if len(names) == 1 else f"are {listed(names)}"
