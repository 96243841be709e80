"""First passage: against its density, the reflection principle, Monte Carlo, limits and order."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gearing.study.gap_passage import Jumps, passage, passages_with_jumps

DAY = 1 / 365

BARRIERS = st.floats(0.01, 1.0).flatmap(lambda b: st.sampled_from([b, -b]))


def by_density(b: float, sigma: float, nu: float, years: float) -> float:
    """The first passage time of Brownian motion has the inverse Gaussian density; here summed over time."""
    edges = np.geomspace(1e-9 * years, years, 200_001)
    t = np.sqrt(edges[1:] * edges[:-1])
    density = abs(b) / (sigma * np.sqrt(2 * np.pi * t**3)) * np.exp(-((b - nu * t) ** 2) / (2 * sigma**2 * t))
    return float(np.sum(density * np.diff(edges)))


@pytest.mark.parametrize("b", [-0.05, -0.4, 0.05, 0.3])
@pytest.mark.parametrize("nu", [-0.5, 0.0, 0.8])
@pytest.mark.parametrize("years", [DAY, 0.5])
def test_the_closed_form_is_the_integral_of_the_density(b, nu, years):
    assert passage(b, 0.7, nu, years) == pytest.approx(by_density(b, 0.7, nu, years), rel=1e-6, abs=1e-12)


@given(BARRIERS, st.floats(0.05, 3), st.floats(0.001, 2))
def test_without_drift_it_is_twice_the_end_beyond(b, sigma, years):
    beyond = math.erfc(abs(b) / (sigma * math.sqrt(years)) / math.sqrt(2)) / 2
    assert passage(b, sigma, 0.0, years) == pytest.approx(2 * beyond, rel=1e-9, abs=1e-300)


@given(BARRIERS, st.floats(0.05, 3), st.floats(-2, 2), st.floats(0.001, 2))
def test_it_is_a_probability_that_grows_with_time_and_nearness(b, sigma, nu, years):
    p = passage(b, sigma, nu, years)
    assert 0 <= p <= 1
    assert passage(b, sigma, nu, 2 * years) >= p * (1 - 1e-12)
    assert passage(0.5 * b, sigma, nu, years) >= p * (1 - 1e-12)
    assert passage(-b, sigma, -nu, years) == p


def test_limits():
    assert passage(0.0, 0.5, 0.0, 1.0) == 1.0
    assert passage(-0.3, 0.0, 0.0, 1.0) == 0.0
    assert passage(-0.3, 0.0, -0.4, 1.0) == 1.0
    assert passage(0.3, 0.0, -0.4, 1.0) == 0.0
    assert passage(-0.3, 1e-9, -0.1, 1.0) == 0.0
    # Far ahead, a drift away from the barrier leaves e^{2νb/σ²} of all paths that ever meet it.
    assert passage(-0.3, 0.5, 0.4, 1e5) == pytest.approx(math.exp(-2 * 0.4 * 0.3 / 0.25))
    assert passage(-0.3, 0.5, -0.4, 1e5) == pytest.approx(1.0)


@pytest.mark.parametrize("b", [-0.04, -0.1, 0.12])
@pytest.mark.parametrize("nu", [-0.4, 0.5])
def test_the_grid_without_jumps_is_the_closed_form(b, nu):
    (found,) = passages_with_jumps([b], 0.7, nu, DAY, Jumps(1e-9, 0.0, 0.05))
    assert found == pytest.approx(passage(b, 0.7, nu, DAY), rel=2e-3)
    assert passages_with_jumps([b], 0.7, nu, DAY, Jumps()) == [passage(b, 0.7, nu, DAY)]


def by_monte_carlo(b: float, sigma: float, nu: float, years: float, jumps: Jumps) -> tuple[float, float]:
    """Paths from jump to jump, each stretch with the bridge's own chance of having met the barrier."""
    rng = np.random.default_rng(5)
    n = 150_000
    counts = rng.poisson(jumps.per_year * years, n)
    most = int(counts.max())
    at = np.where(np.arange(most) < counts[:, None], rng.random((n, most)) * years, years)
    at = np.concatenate([np.sort(at, axis=1), np.full((n, 1), years)], axis=1)
    place, before, alive = np.zeros(n), np.zeros(n), np.ones(n)
    toward = math.copysign(1.0, b)
    for k in range(most + 1):
        span = at[:, k] - before
        moved = place + nu * span + sigma * np.sqrt(span) * rng.standard_normal(n)
        left, right = toward * (b - place), toward * (b - moved)
        with np.errstate(divide="ignore", invalid="ignore"):
            met = np.where(span > 0, np.exp(-2 * left * np.maximum(right, 0) / (sigma**2 * span)), 0.0)
        alive *= np.where(alive > 0, 1 - met, 0.0)
        moved += np.where(k < counts, jumps.mean + jumps.deviation * rng.standard_normal(n), 0.0)
        alive[toward * (b - moved) <= 0] = 0.0
        place, before = moved, at[:, k]
    died = 1 - alive
    return float(died.mean()), float(died.std() / math.sqrt(n))


@pytest.mark.parametrize(
    ("b", "sigma", "years", "jumps"),
    [
        (-0.1, 0.5, DAY, Jumps(100, -0.01, 0.05)),
        (-0.3, 0.5, 30 * DAY, Jumps(100, -0.01, 0.05)),
        (0.2, 0.5, 7 * DAY, Jumps(60, -0.02, 0.06)),
        (-0.08, 0.1, DAY, Jumps(300, 0.0, 0.06)),
        (-0.4, 0.4, 0.5, Jumps(20, 0.0, 0.1)),
    ],
)
def test_the_grid_with_jumps_is_monte_carlo(b, sigma, years, jumps):
    (found,) = passages_with_jumps([b], sigma, -0.2, years, jumps)
    expected, error = by_monte_carlo(b, sigma, -0.2, years, jumps)
    assert abs(found - expected) < 4 * error + 0.003 * expected


def test_within_an_instant_one_jump_does_it():
    jumps, years = Jumps(200, -0.01, 0.05), 1 / 525_600
    barriers = [-0.1, -0.15, -0.2]
    found = passages_with_jumps(barriers, 0.02, 0.0, years, jumps)
    one = [200 * years * math.erfc((-b - 0.01) / 0.05 / math.sqrt(2)) / 2 for b in barriers]
    assert found == pytest.approx(one, rel=0.02)


def test_jumps_make_it_likelier_and_barriers_keep_their_order():
    barriers = [-0.05, -0.1, -0.2, -0.3, 0.0]
    none, few, many = (passages_with_jumps(barriers, 0.5, 0.0, DAY, Jumps(n, 0.0, 0.05)) for n in (0, 50, 200))
    for lower, higher in ((none, few), (few, many)):
        assert all(a <= b for a, b in zip(lower, higher, strict=True))
        assert lower[:-1] == sorted(lower[:-1], reverse=True)
    assert many[-1] == 1.0
    alone = [passages_with_jumps([b], 0.5, 0.0, DAY, Jumps(200, 0.0, 0.05))[0] for b in barriers[:3]]
    assert many[:3] == pytest.approx(alone, rel=2e-3)


def test_a_price_that_only_jumps():
    (found,) = passages_with_jumps([-0.1], 0.0, 0.0, DAY, Jumps(10, -0.2, 0.0))
    # Each jump is enough, so it survives only without one.
    assert found == pytest.approx(-math.expm1(-10 * DAY), rel=5e-3)


def test_a_drift_that_outruns_the_diffusion():
    # Between rare upward jumps the price falls by 0.2 within the time; each jump of 1 takes it out of reach.
    jumps = Jumps(1.0, 1.0, 0.0)
    (found,) = passages_with_jumps([-0.1], 1e-3, -0.2, 1.0, jumps)
    assert found == pytest.approx(math.exp(-0.5), abs=0.02)
    assert passages_with_jumps([0.1], 1e-3, 0.2, 1.0, jumps._replace(mean=-1.0)) == pytest.approx([found])


@pytest.mark.parametrize(
    ("nearest", "furthest", "sigma", "nu", "years", "jumps"),
    [
        # Laws whose diffusion in a step is far narrower than the mesh of a wide range: once they rang up to 1e23.
        (0.0087, 3.0, 0.0101, -0.48, 0.00289, Jumps(2.4, 0.002, 0.137)),
        (0.0062, 3.0, 0.0208, -1.30, 1.64e-5, Jumps(3.0, -0.005, 0.0157)),
        (0.0013, 0.12, 0.0303, -0.58, 5.5e-7, Jumps(117.0, 0.007, 0.035)),
        (0.0152, 3.0, 0.2232, 0.65, 5.2e-7, Jumps(7.1, -0.016, 0.004)),
    ],
)
def test_a_probability_stays_one_and_falls_with_the_distance(nearest, furthest, sigma, nu, years, jumps):
    barriers = -np.geomspace(nearest, furthest, 40)
    found = np.array(passages_with_jumps(barriers.tolist(), sigma, nu, years, jumps))
    assert found.min() >= 0.0
    assert found.max() <= 1.0 + 1e-12
    assert np.all(np.diff(found) <= 1e-12)
    # A jump that leaps the barrier alone is a bound from below.
    leaps = 0.5 * math.erfc((-barriers[0] + jumps.mean) / jumps.deviation / math.sqrt(2))
    assert found[0] >= 0.9 * (1 - math.exp(-jumps.per_year * years)) * leaps
