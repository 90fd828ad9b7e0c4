"""New experiments and new trials: a free name in a writable storage, a folder created in one step, trials added."""

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from records.experiment import FORMAT, DataRecord, ExperimentFolder, ExperimentRecord
from records.files import name_aside
from records.trial import TrialRecord
from search.settings import Settings, as_settings_json
from search.setup.versions import read_versions
from search.snapshot import TrialSnapshot
from trainable.config import trial_config
from trainable.data.dataset import Data

# File names have at most 255 bytes, and those made from an experiment's name add up to some twenty.
MOST_NAME_BYTES = 200
# Paths have at most 4,096 bytes, and those of the files in an experiment's folder add some hundred.
MOST_PATH_BYTES = 3900


class NewTrial(NamedTuple):
    """A trial that is not yet recorded, and the checkpoint that it starts from."""

    record: TrialRecord
    checkpoint: Path | None = None

    def preview(self, folder: ExperimentFolder) -> TrialSnapshot:
        """The trial as it will be recorded in `folder`."""
        return TrialSnapshot(
            folder.trial_folder(self.record.number), self.record, trial_config(self.record.config), rows=[]
        )


def find_free_folder(storage: Path, preset: str, name: str | None) -> ExperimentFolder:
    """The folder of a new experiment, not yet created: `name`, or the preset's name with the next free number.

    Raises:
        ValueError: if an experiment of that name exists, or the storage is not writable.
    """
    stem = Path(preset).stem if name is None else name
    _check_name(stem, given=name)
    check_writable(storage)
    candidates = [stem] if name else [stem, *(f"{stem}-{number}" for number in range(2, 10_000))]
    free = next((each for each in candidates if not (storage / each).exists()), None)
    if free is None:
        raise ValueError(f"--name must be new, but {str(storage / stem)!r} exists; choose another or remove it")
    folder = ExperimentFolder(storage / free)
    if len(os.fsencode(folder.path.absolute())) > MOST_PATH_BYTES:
        raise ValueError(
            f"--storage and --name must make a path of at most {MOST_PATH_BYTES} bytes, but got {folder.path}"
        )
    return folder


def _check_name(name: str, *, given: str | None) -> None:
    """Refuses what cannot be the name of an experiment's folder, or not be given to the other commands."""
    rule = "--name must be the name of a folder in --storage"
    got = f"got {name!r}" if given is not None else f"the preset's name gives {name!r}; choose one"
    if not name or Path(name).name != name or name[0] in ".-":
        raise ValueError(f"{rule}, which has no / and begins with neither . nor -, but {got}")
    if not name.isprintable():
        raise ValueError(f"{rule}, which has only printable characters and plain spaces, but {got}")
    if len(name.encode()) > MOST_NAME_BYTES:
        raise ValueError(f"{rule}, which has at most {MOST_NAME_BYTES} bytes, but {got} ({len(name.encode())} bytes)")


def _find_existing(storage: Path) -> Path:
    """`storage`, or the nearest folder above it that exists."""
    try:
        storage.lstat()  # not `exists`: a link to nowhere is there, and nothing can be written to it
    except FileNotFoundError:
        return _find_existing(storage.absolute().parent)
    return storage


def check_writable(storage: Path) -> None:
    """Raises ValueError if no experiment can be written to `storage`, which need not exist; creates no folder."""
    try:
        with tempfile.TemporaryFile(dir=_find_existing(storage)) as probe:
            probe.write(b"probe")
    except OSError as error:
        reason = f"{error.strerror or error}"
        raise ValueError(f"--storage must be a writable folder, but {str(storage)!r} is not: {reason}") from error


def create_experiment(folder: ExperimentFolder, settings: Settings, data: Data, preset: str) -> None:
    """Creates the folder with its experiment.json, all at once or not at all.

    Raises:
        ValueError: if another process has created it since.
    """
    record = ExperimentRecord(
        name=folder.path.name,
        preset=_as_unicode(preset),
        settings=as_settings_json(settings),
        data=DataRecord(
            name=data.name,
            fingerprint=data.fingerprint,
            classes=data.classes,
            train_images=len(data.train.labels),
            validation_images=len(data.validation.labels),
            test_images=len(data.test.labels),
            class_names=tuple(map(_as_unicode, data.class_names)),
        ),
        versions=read_versions(),
        format=FORMAT,
    )
    aside = ExperimentFolder(name_aside(folder.path))
    aside.path.mkdir(parents=True)
    try:
        aside.write_record(record)
        aside.path.rename(folder.path)
    except OSError as error:
        shutil.rmtree(aside.path, ignore_errors=True)
        if not folder.path.exists():
            raise
        raise ValueError(f"--name must be new, but {str(folder.path)!r} was just created; choose another") from error


def _as_unicode(name: str) -> str:
    """JSON has no names that are not Unicode, but files and folders may have them."""
    return name.encode(errors="backslashreplace").decode()


def add_trials(folder: ExperimentFolder, new: Sequence[NewTrial]) -> list[TrialSnapshot]:
    """Records new trials and returns them; the caller holds the experiment's lock.

    Raises:
        ValueError: if one of their numbers has been taken since.
    """
    for trial in new:
        if folder.trial_folder(trial.record.number).path.exists():
            raise ValueError(f"{folder.path.name!r} got new trials while this command was being prepared; run it again")
    for trial in new:
        folder.trial_folder(trial.record.number).create(trial.record, trial.checkpoint)
    return [trial.preview(folder) for trial in new]
