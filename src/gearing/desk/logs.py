"""The desk's log: JSON lines, each with the mode, and the token or book it concerns."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, TextIO

import structlog
from structlog.tracebacks import ExceptionDictTransformer

from gearing.desk.happenings import Happening
from gearing.errors import InputError
from gearing.outputs import Output, check_outputs


class DeskLog:
    """Writes happenings, and what the desk's own code logs, into a file.

    Args:
        path: the file, which is appended to; None: nothing is written.
        mode: of the desk.

    Raises:
        InputError: the file cannot be written, is a database, or holds anything but a desk's log.
    """

    def __init__(self, path: Path | None, mode: str) -> None:
        self._file: TextIO | None = None
        self._write: Any = None
        self._handler = _Handler(self)
        # What is not written here shall not reach the terminal beside the console either.
        source = logging.getLogger("gearing.desk")
        source.addHandler(self._handler)
        source.propagate = False
        if path is None:
            return
        check_outputs([Output(option="", path=path, kind="log")], hint="")
        try:
            self._file = path.open("a", encoding="utf-8", buffering=1)
        except OSError as error:
            raise InputError(f"the log cannot be written ({error.strerror}).", where=str(path)) from None
        source.setLevel(logging.INFO)
        self._write = structlog.wrap_logger(
            structlog.WriteLogger(self._file),
            processors=[
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False)),
                structlog.processors.JSONRenderer(ensure_ascii=False),
            ],
        ).bind(mode=mode)

    def happened(self, one: Happening) -> None:
        """Writes a happening."""
        if self._write is None:
            return
        whose = {name: value for name, value in (("token", one.token), ("book", one.book)) if value}
        write = self._write.warning if one.level == "warning" else self._write.info
        write(one.words, kind=one.kind, market_ms=one.time_ms, **whose)

    def say(self, words: str, **facts: Any) -> None:
        """Writes a line about the desk itself."""
        if self._write is not None:
            self._write.info(words, kind="desk", **facts)

    def failed(self, words: str, error: BaseException) -> None:
        """Writes an error with its traceback."""
        if self._write is not None:
            self._write.error(words, kind="desk", exc_info=error)

    def close(self) -> None:
        """Closes the file."""
        logging.getLogger("gearing.desk").removeHandler(self._handler)
        if self._file is not None:
            self._file.close()


class _Handler(logging.Handler):
    """Takes what the desk's own modules log."""

    def __init__(self, log: DeskLog) -> None:
        super().__init__(logging.INFO)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler`."""
        self._log.say(record.getMessage(), source=record.name)
