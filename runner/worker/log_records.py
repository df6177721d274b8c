"""A log record to the same without the secrets of the runs that this process executes, and without escape sequences.

Our own records have neither. But a task logs as well, and so do its libraries (httpx logs the URL of every request, with
the key in its query, and the server's reason).
"""

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from runner.language.redact import redact
from runner.text import block
from runner.worker.process import secret_plans


def clean_all() -> None:
    """Clean every record of this process and of its forks, whatever handles it."""
    made = logging.getLogRecordFactory()
    # defence: CLEAN_RECORDS
    if not isinstance(made, CleanRecords):  # a test, or an application, may start two workers in one process
        logging.setLogRecordFactory(CleanRecords(made))


class CleanRecords:
    """A factory of log records around another."""

    def __init__(self, make: Callable[..., logging.LogRecord]) -> None:
        self._make = make

    def __call__(self, *args: Any, **words: Any) -> logging.LogRecord:
        record = self._make(*args, **words)
        with suppress(Exception):  # arguments that do not fit, an exception whose text raises: its handler says so
            message = record.getMessage()
            if (clean := _clean(message)) != message:  # else as it is: an error tracker groups records by their words
                record.msg, record.args = clean, ()
            if record.exc_info and record.exc_info[0]:
                record.exc_text = _clean(
                    logging.Formatter().formatException(record.exc_info)
                )  # every formatter takes it
        return record


def _clean(message: str) -> str:
    for plan in secret_plans():
        message = redact(message, plan)
    return block(message)
