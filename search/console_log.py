"""The project's log messages on a console: that of the command line, of a script or of a notebook."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from rich.console import Console
from rich.text import Text

from analysis.text import printable

log = logging.getLogger("alphaprune")


class _ConsoleHandler(logging.Handler):
    """Writes log messages to a console; warnings and errors begin with `alphaprune: `."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        prefix = "alphaprune: " if record.levelno >= logging.WARNING else ""
        with suppress(OSError):  # the terminal may have been closed
            # Messages contain text from elsewhere: its brackets are no markup, its escapes no commands.
            self._console.print(Text(printable(f"{prefix}{record.getMessage()}")), soft_wrap=True)


@contextmanager
def logging_to_console(console: Console) -> Iterator[None]:
    """Shows the project's log messages, from INFO up, on `console` and nowhere else."""
    handler, level, propagate = _ConsoleHandler(console), log.level, log.propagate
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
        log.propagate = propagate
