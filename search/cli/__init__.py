"""The command line. Data goes to stdout, messages to stderr; a request that cannot be met is one line, exit 2."""

import sys

from search.cli import run_commands, show_commands  # noqa: F401  their commands
from search.cli.app import app, log, logging_to_console
from search.interruption import Interruption, allow_interruption


def main() -> None:
    """The entry point."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that knows ASCII only gets question marks, and no traceback.
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    try:
        with allow_interruption():
            app()
    except Interruption as error:
        with logging_to_console():
            log.error("%s", error)
        sys.exit(error.code)
