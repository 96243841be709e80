"""The rule language and the issuers' rules in one place: `gr.rules`."""

from __future__ import annotations

from gearing.core.presets import names, preset
from gearing.core.rule import Condition, Pace, Rule, Schedule

__all__ = ["Condition", "Pace", "Rule", "Schedule", "names", "preset"]
