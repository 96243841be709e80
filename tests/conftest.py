"""Hypothesis profiles: the same share of cases in every run, many new ones with --hypothesis-profile=fuzz."""

from __future__ import annotations

import pkgutil
from importlib import import_module

from hypothesis import HealthCheck, settings

import gearing
from tests.holdings import coins, contracts, fund, here

__all__ = ["coins", "contracts", "fund", "here"]

_CHECKS = list(HealthCheck)
settings.register_profile("share", deadline=None, suppress_health_check=_CHECKS, print_blob=True, derandomize=True)
settings.register_profile("fuzz", deadline=None, suppress_health_check=_CHECKS, max_examples=5_000, print_blob=True)
settings.load_profile("share")

# Hypothesis draws from the constants of all loaded modules, so what a test draws must not depend on which tests ran
# before it in its process.
for _module in pkgutil.walk_packages(gearing.__path__, "gearing."):
    if "migrations" not in _module.name and not _module.name.endswith("__main__"):
        import_module(_module.name)
