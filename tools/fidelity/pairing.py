"""A real product beside its simulation, and how far they are apart."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from gearing.market.series import Floats, Times

_YEAR_MS = 365.25 * 86_400_000


@dataclass(frozen=True, eq=False)
class Pairing:
    """Prices of a real product and NAVs of its simulation at the same times.

    Args:
        name: of the product.
        times_ms: ms UTC, shape (n,).
        real: prices of the product, shape (n,).
        simulated: NAVs of the token, shape (n,).
        underlying: prices of the underlying, shape (n,).
        kept: whether the change up to each time counts, shape (n,); None keeps all.
    """

    name: str
    times_ms: Times
    real: Floats
    simulated: Floats
    underlying: Floats
    kept: NDArray[np.bool_] | None = None

    @cached_property
    def _chosen(self) -> NDArray[np.bool_]:
        every = np.ones(len(self.times_ms) - 1, np.bool_)
        return every if self.kept is None else self.kept[1:]

    @cached_property
    def ends_ms(self) -> Times:
        """The ends of the changes that count, ms UTC."""
        return self.times_ms[1:][self._chosen]

    @cached_property
    def logs(self) -> tuple[Floats, Floats]:
        """Log changes that count: of the product, of the simulation."""
        return np.diff(np.log(self.real))[self._chosen], np.diff(np.log(self.simulated))[self._chosen]

    @cached_property
    def gaps(self) -> Floats:
        """Log change of the product less that of the simulation."""
        real, simulated = self.logs
        return real - simulated

    @property
    def years(self) -> float:
        """Length of the whole stretch, in years of 365.25 days."""
        return float(self.times_ms[-1] - self.times_ms[0]) / _YEAR_MS

    @property
    def drift(self) -> float:
        """Annualised log drift of the product against its simulation: the sum of the gaps over the years they cover."""
        covered = self.years * len(self.gaps) / (len(self.times_ms) - 1)
        return float(self.gaps.sum()) / covered

    @property
    def sd(self) -> float:
        """Standard deviation (ddof 1) of the gaps."""
        return float(self.gaps.std(ddof=1))

    @property
    def typical(self) -> float:
        """The gaps' standard deviation as their median size implies it, so that rare days do not decide it."""
        centre = np.median(self.gaps)
        return float(1.4826 * np.median(np.abs(self.gaps - centre)))

    @property
    def echo(self) -> float:
        """Correlation of each gap with the one before: −0.5 if each day's error is undone on the next."""
        return float(np.corrcoef(self.gaps[1:], self.gaps[:-1])[0, 1])

    @property
    def fit(self) -> tuple[float, float]:
        """Slope and R² of the regression of the product's log changes on the simulation's."""
        real, simulated = self.logs
        return regression(simulated, real)

    def beta(self, prices: Floats) -> tuple[float, float]:
        """Returns slope and R² of simple returns of a series on those of the underlying, all changes."""
        return regression(self.underlying[1:] / self.underlying[:-1] - 1, prices[1:] / prices[:-1] - 1)

    def worst(self, count: int) -> list[int]:
        """Returns the positions of the largest gaps, in order of time."""
        return sorted(np.argsort(-np.abs(self.gaps))[:count].tolist())


def regression(x: Floats, y: Floats) -> tuple[float, float]:
    """Returns slope and R² of the least-squares line of y on x, with an intercept."""
    dx, dy = x - x.mean(), y - y.mean()
    sxy = float(dx @ dy)
    return sxy / float(dx @ dx), sxy**2 / float(dx @ dx) / float(dy @ dy)
