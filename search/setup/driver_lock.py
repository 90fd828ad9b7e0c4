"""One driver per experiment at a time."""

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from records.experiment import ExperimentFolder
from records.files import now


@contextmanager
def hold_driver_lock(folder: ExperimentFolder) -> Iterator[None]:
    """Holds the experiment's lock; the operating system releases it when this process ends, however it ends.

    Raises:
        ValueError: if another driver holds it, naming its host and process id, or the file system has no locks.
    """
    with (folder.path / ".driver.lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise ValueError(
                f"{folder.path.name!r} is already being run by {_describe_holder(file.read())}; wait for it or stop it"
            ) from error
        except OSError as error:
            raise ValueError(
                f"--storage must be on a file system that supports locks (flock), but {str(folder.path.parent)!r}: "
                f"{error.strerror}"
            ) from error
        file.seek(0)
        file.truncate()
        json.dump({"host": socket.gethostname(), "pid": os.getpid(), "since": now()}, file)
        file.flush()
        yield


def _describe_holder(text: str) -> str:
    try:
        holder = json.loads(text)
        return f"process {holder['pid']} on {holder['host']} since {holder['since']}"
    except (ValueError, KeyError, TypeError):
        return "another process"
