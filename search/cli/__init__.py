"""The command line. Data goes to stdout, messages to stderr; an invalid request gets one line and exit code 2."""

import sys

from search.cli import run_commands, show_commands, storage_commands  # noqa: F401  their commands
from search.cli.app import app


def main() -> None:
    """The entry point."""
    for stream in (sys.stdout, sys.stderr):
        # An ASCII-only terminal gets question marks instead of a traceback.
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    app()
