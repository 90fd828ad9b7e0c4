"""Which processes hold a lock on a file (flock), as far as the system tells, which is on Linux."""

import glob
import os
import re
import socket
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from records.driver import is_alive, name_user

# `1: FLOCK  ADVISORY  WRITE 12574 fe:00:2189588 0 EOF`; the arrow is there if the process waits for the lock.
_LOCK = re.compile(r"^\d+: (-> )?FLOCK +\S+ +\S+ +(\d+) \S+:(\d+) ", re.MULTILINE)


def find_holders(file: int) -> list[int]:
    """The ids of the processes that hold a lock on an open file, in ascending order; empty if that is not known."""
    try:
        locks = _LOCK.findall(Path("/proc/locks").read_text(encoding="utf-8"))
    except OSError:
        return []
    inode = str(os.fstat(file).st_ino)
    held = {int(pid) for arrow, pid, where in locks if where == inode and not arrow}
    waiting = {int(pid) for arrow, pid, where in locks if where == inode and arrow}
    living = {pid for pid in held if is_alive(pid)}
    # Whoever took the lock may have ended and have left its open file to another.
    return sorted(living or (_find_openers(file) - waiting - {os.getpid()} if held else set()))


def _find_openers(file: int) -> set[int]:
    """The processes that have the file open too, except those of other users, which the system does not show."""
    wanted, found = os.fstat(file), set[int]()
    for link in glob.iglob("/proc/[0-9]*/fd/*"):  # noqa: PTH207  # Path's own fails when a process ends at that moment
        with suppress(OSError):
            if os.path.samestat(Path(link).stat(), wanted):
                found.add(int(link.split("/")[2]))
    return found


def describe_holders(pids: Sequence[int]) -> str:
    """Who holds a lock, in a few words."""
    if not pids:
        return f"another process on {socket.gethostname()}"
    try:
        user = f" (user {name_user(Path(f'/proc/{pids[0]}').stat().st_uid)})"
    except OSError:
        user = ""
    others = f" and {len(pids) - 1} more" if len(pids) > 1 else ""
    return f"process {pids[0]} on {socket.gethostname()}{user}{others}"
