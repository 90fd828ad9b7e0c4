"""The command `alphaprune`, also as `python -m alphaprune`."""

import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import NoReturn

# `python -m` has put the current folder first, where a search.py of the user's would hide our package.
if sys.path[0] == os.getcwd() != str(Path(__file__).parents[1]):  # noqa: PTH109  as Python wrote it
    del sys.path[0]


def main() -> None:
    """The entry point. Importing the commands takes a while, in which a signal must not cause a traceback."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # as nohup wants it
            signal.signal(number, _exit)
    from search.cli import main as run_command

    run_command()


def _exit(number: int, frame: FrameType | None) -> NoReturn:
    """Ends the process at once: nothing has been started, or everything is done."""
    try:
        os.write(2, f"alphaprune: interrupted by {signal.Signals(number).name}\n".encode())
    finally:
        os._exit(128 + number)


if __name__ == "__main__":
    main()
