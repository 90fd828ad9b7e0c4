"""driver.json: the process that runs an experiment or ran it last, what it did, and how that ended.

`.driver.lock` keeps a second driver out wherever locks reach. The record is a second witness: its driver touches it
every few seconds, which shows that it is alive even if locks do not reach another machine, or the lock file is gone.
"""

import fcntl
import os
import pwd
import shlex
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import ConfigDict, TypeAdapter

from records.experiment import ExperimentFolder
from records.files import now, open_file, read_record
from records.numbers import Count

FILE_NAME = "driver.json"
LOCK_NAME = ".driver.lock"
DEFAULT_STORAGE = Path("ray_results")
BEAT_SECONDS = 5.0
# A driver that has not touched its record for this long is gone.
SILENT_SECONDS = 20.0

Command = Literal["resume", "measure"]


@dataclass(frozen=True, kw_only=True)
class DriverRecord:
    """driver.json.

    host, pid, user, since: who runs the experiment, or ran it last. command, options: what continues its work, besides
    the name and --storage. searched: whether all trials had ended. to_measure, measured: how many trials it measures,
    None before that, and how many of them it has. ended: None while it runs, and if it was killed. reason: why it ended
    before its work was done.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="ignore")

    host: str
    pid: Count
    user: str
    since: str = field(default_factory=now)
    command: Command = "resume"
    options: tuple[str, ...] = ()
    searched: bool = False
    to_measure: Count | None = None
    measured: Count = 0
    ended: str | None = None
    reason: str | None = None

    def is_same_driver(self, other: "DriverRecord") -> bool:
        return (self.host, self.pid, self.since) == (other.host, other.pid, other.since)

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} since {self.since} (user {self.user})"


_SCHEMA = TypeAdapter(DriverRecord)


def read_driver(folder: ExperimentFolder) -> DriverRecord | None:
    """The record of the experiment's present or last driver; None if there is none or it is damaged."""
    try:
        return read_record(folder.path / FILE_NAME, _SCHEMA)
    except ValueError:
        return None


@dataclass(frozen=True)
class DriverState:
    """Who runs an experiment.

    record: of the present or last driver, None if it is not known. is_alive: whether a process runs the experiment now.
    last_seen: when the last driver ended or was last alive, in seconds since the epoch.
    """

    record: DriverRecord | None
    is_alive: bool
    last_seen: float | None


def read_driver_state(folder: ExperimentFolder) -> DriverState:
    """Who runs the experiment now."""
    record = read_driver(folder)
    return DriverState(record, _is_lock_held(folder) or is_beating(folder, record), last_beat(folder))


def is_beating(folder: ExperimentFolder, driver: DriverRecord | None) -> bool:
    """Whether the driver seems to be alive by its record alone; on its own machine, by its process, too."""
    if driver is None or driver.ended is not None:
        return False
    if driver.host == socket.gethostname() and not is_alive(driver.pid):
        return False
    beat = last_beat(folder)
    return beat is not None and abs(time.time() - beat) < SILENT_SECONDS  # clocks may differ a little


def last_beat(folder: ExperimentFolder) -> float | None:
    """When the record was last touched, in seconds since the epoch; None if there is no record."""
    try:
        return (folder.path / FILE_NAME).stat().st_mtime
    except OSError:
        return None


def _is_lock_held(folder: ExperimentFolder) -> bool:
    try:
        file = open_file(folder.path / LOCK_NAME)
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(file)
    return False


def is_alive(pid: int) -> bool:
    """Whether a process of this machine is alive, or has ended and not been waited for."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True  # it is another user's
    except OSError:
        return False
    return True


def name_user(uid: int) -> str:
    """The name of a user, or the number if it has none (as in containers)."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def format_options(**values: object) -> tuple[str, ...]:
    """Values as options of a command: `--gpus-per-trial 0.5`, `--local` for True; nothing for None and False."""
    options: list[str] = []
    for name, value in values.items():
        if value is not None and value is not False:
            options += [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
    return tuple(options)


def format_command(folder: ExperimentFolder, command: str, options: Sequence[str] = ()) -> str:
    """A command line for an experiment, such as the one that continues it."""
    storage = None if folder.path.parent == DEFAULT_STORAGE else folder.path.parent
    return shlex.join(["alphaprune", command, folder.path.name, *format_options(storage=storage), *options])
