"""The error tree: everything a person can cause has a class, a plain sentence and its mend."""

from __future__ import annotations

from typing import NamedTuple


class GearingError(Exception):
    """The root of every error that Gearing raises on purpose."""

    exit_code = 1


class InputError(GearingError):
    """What was given cannot be used; the message says what, where and how to mend it.

    Args:
        what: one plain sentence about what is wrong.
        where: the file, column, row or field it stands in.
        fix: one plain sentence on how to mend it.
    """

    exit_code = 2

    def __init__(self, what: str, *, where: str = "", fix: str = "") -> None:
        self.what, self.where, self.fix = what, where, fix
        super().__init__(what)

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        mend = f" {self.fix}" if self.fix else ""
        return f"{place}{self.what}{mend}"


class StorageError(InputError):
    """The machine's storage or memory stands against it: a person mends that, and nothing that was kept is lost.

    Attributes:
        patience_s: for so long a desk waits for it to pass by itself; 0: it does not.
    """

    exit_code = 5
    patience_s = 0.0


class Problem(NamedTuple):
    """One mistake in a specification: its place, what stands there, what was expected, the mend."""

    place: str
    found: str
    expected: str
    fix: str = ""

    def __str__(self) -> str:
        mend = f" {self.fix}" if self.fix else ""
        return f"{self.place}: expected {self.expected}, found {self.found}.{mend}"

    def under(self, prefix: str) -> Problem:
        """Returns the same problem seen from the record that holds this one."""
        return self._replace(place=f"{prefix}.{self.place}" if self.place else prefix)


class SpecError(InputError):
    """A token, rule, fee or cost record is wrong; `problems` lists every mistake."""

    def __init__(self, problems: list[Problem], *, where: str = "") -> None:
        self.problems = problems
        super().__init__("\n".join(str(problem) for problem in problems), where=where)


class DataError(InputError):
    """A price or funding series, or the file it stands in, cannot be used."""


class FetchError(InputError):
    """A download was refused or broke off; what was already written stays valid."""


class DataWarning(UserWarning):
    """A series can be used, but a person should know this about it."""
