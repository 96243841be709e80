"""`python -m gearing.venues.paper`: a paper exchange as a process of its own."""

from __future__ import annotations

import argparse
import asyncio
import sqlite3
import sys
from pathlib import Path
from typing import Any

import msgspec

from gearing.errors import GearingError, InputError
from gearing.outputs import Output, ProtectedFile, check_outputs, side_files
from gearing.venues.paper.exchange import PaperExchange
from gearing.venues.paper.file import PaperFile
from gearing.venues.paper.server import Server
from gearing.venues.paper.setup import Setup


def main() -> int:
    """Serves a paper exchange until the process is ended; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m gearing.venues.paper", description=__doc__)
    parser.add_argument("--file", type=Path, required=True, help="SQLite file that the exchange keeps its state in")
    parser.add_argument("--socket", type=Path, required=True, help="Unix socket to serve on")
    parser.add_argument("--setup", type=Path, help="JSON: listings, latency, faults, seed, leverage")
    given = parser.parse_args()
    try:
        kept = [ProtectedFile(path=path, role="the exchange's file, or a side file of it")
                for path in (given.file, *side_files(given.file))]  # fmt: skip
        check_outputs([Output(option="--socket", path=given.socket, kind=None)], kept)
        exchange = PaperExchange(read_setup(given.setup) if given.setup else Setup(), PaperFile(given.file))
        asyncio.run(Server(exchange).serve(given.socket))
    except GearingError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except sqlite3.Error as error:
        fault = InputError(
            f"the paper exchange cannot write its file ({error}), so it stops.", where=str(given.file),
            fix="Make room on the disk and start it again: nothing that was acknowledged is lost.",
        )  # fmt: skip
        print(f"error: {fault}", file=sys.stderr)
        return fault.exit_code
    except KeyboardInterrupt:
        return 130
    return 0


def read_setup(path: Path) -> Setup:
    """Returns the setup that a JSON file holds.

    Raises:
        InputError: it holds none.
    """
    try:
        return msgspec.convert(_without_nulls(msgspec.json.decode(path.read_bytes())), type=Setup)
    except msgspec.MsgspecError as error:
        raise InputError(f"this is no setup of a paper exchange ({error}).", where=str(path),
                         fix="Give JSON with listings, latency, faults, seed, leverage.") from error  # fmt: skip


def _without_nulls(value: Any) -> Any:
    """JSON writes an infinite edge of a bracket as null; what is left out is the default, which is infinite."""
    if isinstance(value, dict):
        return {key: _without_nulls(inner) for key, inner in value.items() if inner is not None}
    return [_without_nulls(inner) for inner in value] if isinstance(value, list) else value


if __name__ == "__main__":
    sys.exit(main())
