"""The pure heart: specifications, rules, horizons and accounting, without clock, chance or I/O."""
