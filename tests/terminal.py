"""Commands in a real pseudo-terminal: what a person sees in a window of a given width."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

ROOT = Path(__file__).parents[1]
# The sequences that steer a terminal: colours, the cursor, erased lines.
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def run_in_terminal(*arguments: object, columns: int, folder: Path, code: int = 0, typed: str = "") -> list[str]:
    """The lines that `alphaprune ARGUMENTS` writes to a terminal, those that it overwrites later included.

    What is `typed` is there before the command asks for anything.

    A line that is wider than the terminal would wrap and spoil a live display, so there must be none; progress lines
    that do not fit are cut by rich, with an ellipsis.
    """
    primary, secondary = pty.openpty()
    fcntl.ioctl(secondary, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
    with subprocess.Popen(
        [sys.executable, "-m", "alphaprune", *map(str, arguments)],
        stdin=secondary,
        stdout=secondary,
        stderr=secondary,
        cwd=folder,
        env={**environment, "TERM": "xterm-256color", "PYTHONPATH": str(ROOT)},
        start_new_session=True,
    ) as process:
        os.close(secondary)
        output = bytearray()
        os.write(primary, typed.encode())
        try:
            while block := _read_block(primary):
                output += block
        finally:
            os.close(primary)
    assert process.returncode == code, output.decode()
    text = _ESCAPES.sub("", output.decode().replace("\r\n", "\n").replace("\r", "\n"))
    return [line.rstrip() for line in text.split("\n")]


def _read_block(primary: int) -> bytes:
    try:
        return os.read(primary, 65536)
    except OSError:  # Linux's way to say that the other end is closed
        return b""
