"""Hypothesis profiles: the same share of cases in every run, many new ones with --hypothesis-profile=fuzz."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

from tests.holdings import coins, contracts, fund, here

__all__ = ["coins", "contracts", "fund", "here"]

_CHECKS = list(HealthCheck)
settings.register_profile("share", deadline=None, suppress_health_check=_CHECKS, print_blob=True, derandomize=True)
settings.register_profile("fuzz", deadline=None, suppress_health_check=_CHECKS, max_examples=5_000, print_blob=True)
settings.load_profile("share")
