"""Research: backtests, comparisons and sweeps, and how they are shown."""
