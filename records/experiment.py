"""An experiment's folder and its experiment.json."""

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import ConfigDict, TypeAdapter

from records.digest import check_digest
from records.files import now, read_json, read_record, write_record
from records.numbers import Count
from records.trial import TrialFolder

# Rises whenever an older version could no longer read, or would misread, what this one writes.
# 2: digests. 3: twins, and what the learning rate spans. 4: other networks, sizes of images, and names of classes.
FORMAT = 4
# The format of records from before the number existed.
FIRST_FORMAT = 1

_STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, kw_only=True)
class DataRecord:
    """The data that an experiment was started on; fingerprint: of its images and labels (data.dataset.Data).

    class_names: by label, for people only; the source may not name them.
    What is not recorded is empty or 0: the experiment can be looked at, but not continued.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    name: str = "unknown"
    fingerprint: str = ""
    classes: Count = 0
    train_images: Count = 0
    validation_images: Count = 0
    test_images: Count = 0
    class_names: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ExperimentRecord:
    """experiment.json. settings: resolved, as JSON; versions: of Python and of the packages that results depend on.

    digest: of all the others (records.files); filled in by whoever writes the record. An experiment whose record has
    changed can be looked at, but not continued.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    name: str
    settings: dict[str, Any]
    data: DataRecord = field(default_factory=DataRecord)
    preset: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    created: str = field(default_factory=now)
    format: int = FIRST_FORMAT
    digest: str | None = field(default=None, compare=False)


_SCHEMA = TypeAdapter(ExperimentRecord)


@dataclass(frozen=True)
class ExperimentFolder:
    """An experiment's files."""

    path: Path

    @classmethod
    def find(cls, storage: Path, name: str) -> Self:
        """The experiment `name` in `storage`.

        Raises:
            ValueError: if there is none (the message lists those there are), or a newer version of alphaprune wrote it.
        """
        folder = cls(storage / name)
        if not os.path.lexists(folder.record_path):
            names = experiment_names(storage)
            there = f"it holds: {', '.join(names)}" if names else "it holds none yet; `alphaprune run` makes one"
            raise ValueError(f"{str(storage)!r} holds no experiment {name!r}; {there}")
        folder.check_format()
        return folder

    @property
    def record_path(self) -> Path:
        return self.path / "experiment.json"

    @property
    def dense_path(self) -> Path:
        return self.path / "dense"

    @cached_property  # joining paths is a tenth of reading a thousand trials
    def trials_path(self) -> Path:
        return self.path / "trials"

    def check_format(self) -> None:
        """Raises ValueError if a newer version wrote the experiment, which this one might misread."""
        try:
            written = read_json(self.record_path).get("format", FIRST_FORMAT)
        except ValueError:
            return  # whoever reads the record says what is wrong with it
        if type(written) is int and written > FORMAT:
            raise ValueError(
                f"{self.record_path} was written by a newer version of alphaprune (format {written}, and this version "
                f"reads up to {FORMAT}); use that version or a later one"
            )

    def read_record(self) -> ExperimentRecord:
        """The experiment's record.

        Raises:
            ValueError: if it is missing, damaged or written by a newer version, in one line that names the file.
        """
        self.check_format()
        return read_record(self.record_path, _SCHEMA)

    def check_digest(self) -> None:
        """Raises ValueError if the experiment's record has changed since it was written."""
        check_digest(read_json(self.record_path))

    def write_record(self, record: ExperimentRecord) -> None:
        """Replaces the experiment's record."""
        write_record(self.record_path, asdict(record))

    def trial_folder(self, number: int) -> TrialFolder:
        return TrialFolder(self.trials_path / f"{number:05}")

    def trial_names(self) -> list[str]:
        """The names of all trials' folders, in numerical order.

        Raises:
            ValueError: if the folder of the trials cannot be read, in one line that names it.
        """
        try:
            names = os.listdir(self.trials_path)  # noqa: PTH208  # a Path for each takes ten times as long
        except OSError as error:
            if isinstance(error, FileNotFoundError) and not self.trials_path.is_symlink():
                return []  # the search has not begun
            raise ValueError(f"{self.trials_path} cannot be read: {error.strerror}") from error
        numbered = [name for name in names if name.isascii() and name.isdecimal()]
        return sorted(numbered, key=lambda name: (int(name), name))

    def trial_folders(self) -> Iterator[TrialFolder]:
        """The folders of all trials, in numerical order; raises ValueError as `trial_names` does."""
        for name in self.trial_names():
            yield TrialFolder(self.trials_path / name)


def experiment_names(storage: Path) -> list[str]:
    """The names of the experiments in `storage`, sorted. Folders with a dot are being created or removed."""
    return sorted(path.parent.name for path in storage.glob("*/experiment.json") if path.parent.name[0] != ".")
