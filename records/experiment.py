"""An experiment's folder and its experiment.json."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import ConfigDict, TypeAdapter

from records.files import now, read_json, read_record, write_json
from records.trial import TrialFolder

# One more whenever this version could no longer read, or would misread, what the next one writes. Records from before
# the number existed have format 1.
FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class DataRecord:
    """The data that an experiment was begun on; fingerprint: of its images and labels (data.dataset.Data)."""

    name: str
    fingerprint: str
    classes: int
    train_images: int
    validation_images: int
    test_images: int


@dataclass(frozen=True, kw_only=True)
class ExperimentRecord:
    """experiment.json. settings: resolved, as JSON; versions: of Python and of the packages that compute."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    name: str
    settings: dict[str, Any]
    data: DataRecord
    preset: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    created: str = field(default_factory=now)
    format: int = FORMAT


_SCHEMA = TypeAdapter(ExperimentRecord)


@dataclass(frozen=True)
class ExperimentFolder:
    """An experiment's files."""

    path: Path

    @classmethod
    def find(cls, storage: Path, name: str) -> Self:
        """The experiment `name` in `storage`; raises ValueError listing those there are where it is none."""
        folder = cls(storage / name)
        if not folder.record_path.is_file():
            names = sorted(path.parent.name for path in storage.glob("*/experiment.json"))
            there = f"there are: {', '.join(names)}" if names else "there is none; `alphaprune run` makes one"
            raise ValueError(f"{str(storage)!r} holds no experiment {name!r}; {there}")
        return folder

    @property
    def record_path(self) -> Path:
        return self.path / "experiment.json"

    @property
    def dense(self) -> Path:
        return self.path / "dense"

    @property
    def trials_path(self) -> Path:
        return self.path / "trials"

    def read(self) -> ExperimentRecord:
        """The experiment's record.

        Raises:
            ValueError: in one line that names the file, where it is missing, damaged or written by a newer version.
        """
        try:
            written = read_json(self.record_path).get("format", FORMAT)
        except OSError:
            written = FORMAT  # what is wrong is said below
        if type(written) is int and written > FORMAT:
            raise ValueError(
                f"{self.record_path} was written by a newer version of alphaprune (format {written}, and this version "
                f"reads up to {FORMAT}); use that version or a later one"
            )
        return read_record(self.record_path, _SCHEMA)

    def write(self, record: ExperimentRecord) -> None:
        write_json(self.record_path, asdict(record))

    def trial(self, number: int) -> TrialFolder:
        return TrialFolder(self.trials_path / f"{number:05}")

    def trials(self) -> Iterator[TrialFolder]:
        """The folders of all trials, in the order of their numbers."""
        names = [path.name for path in self.trials_path.glob("[0-9]*") if path.name.isdecimal()]
        for name in sorted(names, key=int):
            yield TrialFolder(self.trials_path / name)
