"""Files of an experiment cut short or overwritten anywhere, and things in their place that are no files.

They are reported, never silently replaced; nothing hangs, and the other trials continue.
"""

import functools
import os
import random
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest
import torch
from experiments import make_measurement, write_measurement
from searches import SETTINGS, check_whole, untimed
from typer.testing import CliRunner, Result

import analysis
from records.experiment import ExperimentFolder
from records.files import MOST_TEXT_BYTES
from records.trial import TrialFolder, TrialRecord
from search.cli import app
from search.snapshot import TrialSnapshot
from trainable.config import as_json, trial_config
from trainable.data import sources
from trainable.dense import load_dense
from trainable.recorded_trial import RecordedTrial

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(900)]

# What the network learns does not matter, and hundreds of commands train it.
SMALL = (
    SETTINGS.replace("epochs = 8", "epochs = 4")
    .replace("trials = 8", "trials = 2")
    .replace("images = 300", "images = 100")
    .replace("epochs = 4", "epochs = 2", 1)
)


# A command on this small experiment takes seconds, on a busy machine a minute; one that waits for a FIFO never ends.
LONGEST_SECONDS = 240


def alphaprune(*arguments: object) -> Result:
    with fail_after(LONGEST_SECONDS):
        return CliRunner().invoke(app, [str(argument) for argument in arguments])


@contextmanager
def fail_after(seconds: float) -> Iterator[None]:
    def fail(number: int, frame: FrameType | None) -> None:
        raise AssertionError(f"it hangs: not over after {seconds} s")

    before = signal.signal(signal.SIGALRM, fail)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module", autouse=True)
def _digits_in_memory() -> Iterator[None]:
    """Hundreds of commands read the digits, which takes a fifth of their time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "read_digits", functools.cache(sources.read_digits))
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> ExperimentFolder:
    storage = tmp_path_factory.mktemp("storage")
    (storage / "search.toml").write_text(SMALL)
    result = alphaprune("run", storage / "search.toml", "--storage", storage, "--local")
    assert result.exit_code == 0, result.output
    folder = ExperimentFolder(storage / "search")
    write_measurement(folder.trial_folder(1), make_measurement())
    for path in folder.path.rglob("*"):
        os.utime(path, (1.7e9, 1.7e9))  # long ago, so that tables are made of them
    assert alphaprune("report", "search", "--storage", storage).exit_code == 0
    return folder


@pytest.fixture(scope="module")
def interrupted(finished: ExperimentFolder, tmp_path_factory: pytest.TempPathFactory) -> ExperimentFolder:
    """Like `finished`, but trial 4 is half done, with two checkpoints."""
    from search.setup.validation import recorded_settings
    from trainable.data.dataset import load_data

    folder = ExperimentFolder(tmp_path_factory.mktemp("interrupted") / "search")
    shutil.copytree(finished.path, folder.path)
    settings = recorded_settings(folder, folder.read_record())
    record = folder.trial_folder(4).read_record()
    shutil.rmtree(folder.trial_folder(4).path)
    asked = {"params": record.params, "distributions": record.distributions}
    folder.trial_folder(4).create(TrialRecord(4, as_json(trial_config(record.config)), **asked))  # type: ignore[arg-type]
    trial = RecordedTrial(folder.trial_folder(4), load_data(settings.data), load_dense(folder.dense_path))
    trial.run_epoch()
    trial.run_epoch()
    assert len(folder.trial_folder(4).list_checkpoints()) == 2
    return folder


@pytest.fixture
def copy(interrupted: ExperimentFolder, tmp_path: Path) -> ExperimentFolder:
    shutil.copytree(interrupted.path, tmp_path / "search")
    return ExperimentFolder(tmp_path / "search")


def damages(content: bytes, draw: random.Random) -> Iterator[bytes]:
    """The content cut short, overwritten in part, emptied, and twice with one letter or digit changed.

    The last two mostly leave valid JSON that says something else.
    """
    place = draw.randrange(len(content))
    yield content[:place]
    yield content[:place] + draw.randbytes(draw.randrange(1, 32)) + content[place + 1 :]
    yield b""
    for kind in (str.isalpha, str.isdecimal):
        alike = [place for place, byte in enumerate(content) if byte < 128 and kind(chr(byte))] or [0]
        place = draw.choice(alike)
        changed = b"xy" if kind is str.isalpha else b"78"
        yield content[:place] + changed.replace(content[place : place + 1], b"")[:1] + content[place + 1 :]


def assert_plain(result: Result) -> None:
    """It succeeded or was refused; anything else is a defect."""
    assert result.exit_code in (0, 1, 2), result.output
    assert isinstance(result.exception, SystemExit | None), result.exception
    assert "Traceback" not in result.output


def files(folder: ExperimentFolder) -> list[Path]:
    return sorted(path for path in folder.path.rglob("*") if path.is_file() and path.stat().st_size)


def test_status_and_rank_survive_any_damage(copy: ExperimentFolder) -> None:
    draw = random.Random(5)
    storage, cases = copy.path.parent, 0
    whole = analysis.load(copy.path)
    for path in files(copy):
        if path.suffix in (".pt", ".safetensors") and "trials" in path.parts:
            continue  # neither reads them
        content = path.read_bytes()
        for _ in range(3):
            for damage in damages(content, draw):
                path.write_bytes(damage)
                cases += 1
                results = [alphaprune(command, "search", "--storage", storage) for command in ("status", "rank")]
                for result in results:
                    assert_plain(result)
                if damage == b"" and path.name in ("trial.json", "experiment.json", "dense.json"):
                    assert path.name in results[0].stderr
                if path != copy.record_path and results[0].exit_code == 0:
                    others = analysis.load(copy.path).trials
                    hurt = {int(part) for part in path.parts if part.isdecimal() and len(part) == 5}
                    assert set(whole.trials.index) - hurt <= set(others.index)
        path.write_bytes(content)
    assert cases >= 330  # with the 100 of `resume` and the 252 of what is no file, nearly seven hundred


def test_resume_survives_any_damage(interrupted: ExperimentFolder, tmp_path: Path) -> None:
    """What can be repaired is (torn rows and checkpoints), the rest is reported, and no other trial is touched."""
    draw = random.Random(6)
    names = [path.relative_to(interrupted.path) for path in files(interrupted)]
    for number in range(100):
        folder = ExperimentFolder(tmp_path / str(number) / "search")
        shutil.copytree(interrupted.path, folder.path)
        name = names[number % len(names)] if number < len(names) else draw.choice(names)
        path = folder.path / name
        content = path.read_bytes()
        damage = list(damages(content, draw))[number % 5]
        path.write_bytes(damage)
        result = alphaprune("resume", "search", "--storage", folder.path.parent, "--local")
        assert_plain(result)
        if (
            name.name in ("experiment.json", "dense.json", "layout.json", "model.safetensors", "arch.json")
            and "trials" not in name.parts
        ):
            if result.exit_code:
                assert name.name in result.stderr
                assert path.read_bytes() == damage  # not replaced by a fresh start
            continue
        assert result.exit_code == 0, (name, result.output)
        hurt = name.parts[1] if name.parts[0] == "trials" else ""
        for trial in folder.trial_folders():
            before = interrupted.trial_folder(trial.number)
            try:
                record = TrialSnapshot.read(trial).record
            except ValueError:
                assert path == trial.record_path
                assert f"{path} is damaged: " in result.stderr
                assert path.read_bytes() == damage
                continue
            # A configuration with a letter changed may fail.
            assert record.state in (("complete", "failed") if path == trial.record_path else ("complete",))
            if trial.path.name != hurt and trial.number != 4:
                assert trial.read_rows() == before.read_rows()
            if path == trial.rows_path and len(trial.read_rows()) < len(before.read_rows()):
                assert f"{path.parent.name}/{path.name}" in result.stderr
        if hurt == "00004" and name.suffix == ".pt":
            notes = folder.trial_folder(4).read_record().problems
            newest = interrupted.trial_folder(4).list_checkpoints()[0].name
            assert bool(notes) == (name.name == newest)
            assert all(name.name in note for note in notes)
        shutil.rmtree(folder.path.parent)


def make_huge(path: Path) -> None:
    """More than any text may have, and not more: what is not text is read, by three commands for each."""
    with path.open("wb") as file:
        file.truncate(MOST_TEXT_BYTES + 1)


ODD_THINGS: dict[str, Callable[[Path], object]] = {
    "folder": Path.mkdir,
    "full folder": lambda path: shutil.copytree(Path(__file__).parent / "setup", path),
    "FIFO": os.mkfifo,
    "endless device": lambda path: path.symlink_to("/dev/zero"),
    "loop of links": lambda path: path.symlink_to(path),
    "link to nowhere": lambda path: path.symlink_to("nowhere"),
    "256 MB": make_huge,
    "deep nesting": lambda path: path.write_text("[" * 100_000),
    "binary": lambda path: path.write_bytes(random.Random(0).randbytes(5000)),
}
EMPTY, CONTENTS = ("folder", "full folder", "link to nowhere"), ("256 MB", "deep nesting", "binary")
# One of each kind of file and folder. Trial 1 is complete, trial 4 half done.
RECORDS = (
    *("experiment.json", "dense", "dense/dense.json", "dense/arch.json", "dense/model.safetensors"),
    *("trials", "trials/00001", "trials/00001/trial.json", "trials/00001/epochs.jsonl"),
    *("trials/00004", "trials/00004/trial.json", "trials/00004/epochs.jsonl", "trials/00004/.lock"),
    *("trials/00004/checkpoint-00001.pt", "trials/00004/checkpoint-00002.pt"),
    *("trials/00001/model", "trials/00001/model/arch.json", "trials/00001/model/model.safetensors"),
    "trials/00001/model/measure.json",
)
# Whatever stands there, results and ranking do not depend on it.
DERIVED = (
    *("study.journal", "report.html", "tables", "tables/trials.parquet", "tables/epochs.parquet"),
    *(".driver.lock", "dense/.lock", "dense/epochs.jsonl", "trials/00001/.lock"),
)


def replace_with(path: Path, make: Callable[[Path], object]) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    make(path)


def describe(path: Path) -> tuple[int, int, int]:
    """The kind, the size and the number of what stands there."""
    status = path.lstat()
    return status.st_mode, status.st_size, status.st_ino


@pytest.mark.parametrize("odd", ODD_THINGS)
def test_what_is_no_file_of_ours_is_named_and_left_alone(
    odd: str, interrupted: ExperimentFolder, tmp_path: Path
) -> None:
    whole = analysis.load(interrupted.path).trials
    for name in (*RECORDS, *DERIVED):
        folder = ExperimentFolder(tmp_path / name.replace("/", "-") / "search")
        shutil.copytree(interrupted.path, folder.path)
        path, storage = folder.path / name, folder.path.parent
        replace_with(path, ODD_THINGS[odd])
        before = describe(path)
        status, rank = (alphaprune(command, "search", "--storage", storage) for command in ("status", "rank"))
        for result in (status, rank):
            assert_plain(result)
            assert result.exit_code == 0 or name in RECORDS, (name, result.output)
        if name in RECORDS and status.exit_code == 0:
            changed = not analysis.load(folder.path).trials.equals(whole)
            told = name in status.stderr + rank.stderr or (name == "dense" and "not trained yet" in status.stdout)
            # As before the first trial, and as before it was measured.
            is_valid = name in ("trials", "trials/00001/model") and odd in EMPTY
            assert not changed or told or is_valid, (name, status.output)
        if name.startswith("trials/00001/model"):
            assert_plain(alphaprune("export", "search", "1", "--to", storage / "network", "--storage", storage))
        if name in DERIVED and odd not in ("folder", "FIFO", "binary"):
            shutil.rmtree(storage)
            continue  # as the others: `resume` takes the longest
        result = alphaprune("resume", "search", "--storage", storage, "--local")
        assert_plain(result)
        assert name in DERIVED or result.exit_code in (0, 2), (name, result.output)
        problems = [problem for trial in folder.trials_path.glob("*/trial.json") for problem in read_problems(trial)]
        told = result.stderr + "\n".join(problems)
        if name in RECORDS and not name.startswith("trials/00001/model"):
            told += status.stdout if name == "dense" else ""
            assert Path(name).name in told, (name, result.output, problems)
            # Torn rows and damaged checkpoints of a running trial are repaired.
            if path.suffix != ".pt" and not (name == "trials/00004/epochs.jsonl" and odd in CONTENTS):
                assert describe(path) == before
        if result.exit_code == 0:
            for number in {0, 1, 2, 3, 4} - {int(part) for part in Path(name).parts if part.isdecimal()}:
                record = folder.trial_folder(number).read_record()
                assert record.state == "complete", (name, number, record)
                if number != 4:
                    rows = folder.trial_folder(number).read_rows(record.rows_digest)
                    assert untimed(rows) == untimed(interrupted.trial_folder(number).read_rows())
        shutil.rmtree(storage)


def read_problems(path: Path) -> list[str]:
    try:
        record = TrialFolder(path.parent).read_record()
    except ValueError:
        return []
    return [*record.problems, record.error or ""]


def test_the_interrupted_trial_ends_with_the_same_rows(
    copy: ExperimentFolder, finished: ExperimentFolder, tmp_path: Path
) -> None:
    newest = copy.trial_folder(4).list_checkpoints()[0]
    newest.write_bytes(newest.read_bytes()[:-100])
    result = alphaprune("resume", "search", "--storage", tmp_path, "--local")
    assert result.exit_code == 0, result.output
    assert untimed(copy.trial_folder(4).read_rows()) == untimed(finished.trial_folder(4).read_rows())
    check_whole(copy, trials=5)
    problems = analysis.load(copy.path).problems
    assert any(newest.name in problem for problem in problems)


def test_a_checkpoint_never_runs_code(copy: ExperimentFolder, tmp_path: Path) -> None:
    """A pickle that would write a file when loaded is refused, even if its digest matches."""
    import hashlib
    import io

    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.write_text, (tmp_path / "evil", "was here"))

    buffer = io.BytesIO()
    torch.save({"config": Evil()}, buffer)
    for checkpoint in copy.trial_folder(4).list_checkpoints():
        checkpoint.write_bytes(hashlib.sha256(buffer.getvalue()).digest() + buffer.getvalue())
    result = alphaprune("resume", "search", "--storage", tmp_path, "--local")
    assert_plain(result)
    assert not (tmp_path / "evil").exists()
    assert copy.trial_folder(4).read_record().state == "complete"
