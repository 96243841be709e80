"""Prints the fidelity tables: `python -m tools.fidelity [etf|ftx|updown|all]`."""

from __future__ import annotations

import argparse
import sys

from gearing.errors import GearingError
from tools.fidelity import etf, ftx, updown

_PARTS = {"etf": etf.report, "ftx": ftx.report, "updown": updown.report}


def main() -> int:
    """Prints what was asked for and returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.fidelity", description="Real products beside the engine.")
    parser.add_argument("part", nargs="?", default="all", choices=[*_PARTS, "all"], help="which products (all)")
    part = parser.parse_args().part
    try:
        for name in _PARTS if part == "all" else [part]:
            print(_PARTS[name](), end="\n\n")
    except GearingError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
