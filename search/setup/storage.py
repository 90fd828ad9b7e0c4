"""Where experiments are: a free name for a new one, in a folder that can be written."""

import tempfile
from pathlib import Path

from records.experiment import ExperimentFolder


def new_folder(storage: Path, preset: str, name: str | None) -> ExperimentFolder:
    """The folder of a new experiment, not yet made: `name`, or the preset's name with the next free number.

    Raises:
        ValueError: if there is an experiment of that name, or nothing can be written there.
    """
    stem = name or Path(preset).stem
    if not stem or Path(stem).name != stem or stem.startswith("."):
        raise ValueError(f"--name must be the name of a folder in --storage, but got {name!r}")
    candidates = [stem] if name else [stem, *(f"{stem}-{number}" for number in range(2, 10_000))]
    free = next((each for each in candidates if not (storage / each).exists()), None)
    if free is None:
        raise ValueError(f"--name must be new, but {str(storage / stem)!r} exists; choose another or remove it")
    check_writable(storage)
    return ExperimentFolder(storage / free)


def check_writable(storage: Path) -> None:
    """Raises ValueError if no experiment can be written to `storage`; leaves no folder that was not there."""
    new = not storage.exists()
    try:
        storage.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=storage) as probe:
            probe.write(b"probe")
        if new:
            storage.rmdir()
    except OSError as error:
        reason = f"{error.strerror or error}"
        raise ValueError(f"--storage must be a folder that can be written, but {str(storage)!r}: {reason}") from error
