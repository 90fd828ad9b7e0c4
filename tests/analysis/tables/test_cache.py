"""What comes from the tables is what comes from the records, whatever happened to either in between."""

import os
import random
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from experiments import ExperimentBuilder, make_measurement, write_measurement

import analysis
from analysis.tables import cache, epochs, trials
from analysis.tables.cache import take_fingerprint
from records.epoch import METRICS
from records.files import read_json, write_json
from records.trial import ROWS_NAME, State, TrialFolder
from trainable.schedules.alpha import Cosine, TimeBased
from trainable.schedules.lr_policies import StagnationRestart

ROOT = Path(__file__).parents[3]
FOREIGN = pd.DataFrame({"number": [0, 1, 2, 3], "state": ["complete"] * 4}).to_parquet()


def check(path: Path) -> analysis.Experiment:
    """The experiment, which is the same with and without the tables."""
    found, expected = analysis.load(path), analysis.load(path, cache=False)
    pd.testing.assert_frame_equal(found.trials, expected.trials)
    pd.testing.assert_frame_equal(found.epochs, expected.epochs)
    assert found.problems == expected.problems
    assert found.dense_measure == expected.dense_measure
    assert found.dense == expected.dense
    return found


def age(path: Path, seconds: float = 100.0) -> None:
    """Makes all files of an experiment that were written just now older than they are."""
    now = time.time_ns()
    for each in path.rglob("*"):
        if now - each.stat().st_mtime_ns < 10 * 10**9:
            old = each.stat().st_mtime_ns - int(seconds * 10**9)
            os.utime(each, ns=(old, old))


def overwrite_unseen(path: Path, old: str, new: str) -> None:
    """Changes a file in place in a way that neither its size nor its time tells."""
    assert len(old) == len(new)
    text, before = path.read_text(), path.stat()
    assert old in text
    path.write_text(text.replace(old, new))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def stored(path: Path) -> tuple[int, ...]:
    return tuple((path / "tables" / f"{name}.parquet").stat().st_ino for name in ("trials", "epochs"))


def append_row(trial: TrialFolder) -> None:
    """A row more than there is, and than the trial should have."""
    last = trial.read_rows()[-1]
    trial.append_row(replace(last, epoch=last.epoch + 1))


@pytest.fixture
def four(builder: ExperimentBuilder) -> ExperimentBuilder:
    """An experiment of four trials that ended a while ago, with a problem and a measurement, loaded once."""
    builder.add_trial(0, control="one_shot", problems=["the folder of logs could not be made"])
    builder.add_trial(1, alpha=TimeBased(), lr=StagnationRestart())
    stopped = builder.add_trial(2, alpha=Cosine(), state="stopped", accuracies=(0.5,))
    write_json(stopped.record_path, read_json(stopped.record_path) | {"finished": "yesterday"})
    builder.add_trial(3, confirms=1)
    write_measurement(builder.folder.trial_folder(1), make_measurement(dense_accuracy=0.92))
    age(builder.path)
    check(builder.path)
    return builder


def test_what_has_not_changed_comes_from_the_tables(four: ExperimentBuilder) -> None:
    before = stored(four.path)
    overwrite_unseen(four.folder.trial_folder(1).record_path, '"node"', '"edon"')
    overwrite_unseen(four.folder.trial_folder(1).rows_path, '"epoch_seconds": 2.25', '"epoch_seconds": 3.25')
    experiment = analysis.load(four.path)
    assert experiment.trials["host"].tolist() == ["node"] * 4
    assert experiment.epochs["epoch_seconds"].tolist() == [2.25] * 10
    assert stored(four.path) == before
    assert analysis.load(four.path, cache=False).trials.loc[1, "host"] == "edon"


@pytest.mark.parametrize(
    "name",
    ["trials/00001/trial.json", "trials/00001/epochs.jsonl", "trials/00001/model/measure.json", "dense/dense.json"],
)
def test_once_a_file_has_changed_all_are_read_again(four: ExperimentBuilder, name: str) -> None:
    overwrite_unseen(four.folder.trial_folder(0).record_path, '"node"', '"edon"')
    (four.path / name).touch()
    assert analysis.load(four.path).trials["host"].tolist() == ["edon", "node", "node", "node"]


@pytest.mark.parametrize("name", ["trials/00003", "trials/00001/model/measure.json", "dense/dense.json"])
def test_once_a_file_is_gone_all_are_read_again(four: ExperimentBuilder, name: str) -> None:
    overwrite_unseen(four.folder.trial_folder(0).record_path, '"node"', '"edon"')
    shutil.move(four.path / name, four.path / "elsewhere")
    assert check(four.path).trials.loc[0, "host"] == "edon"


def test_a_copy_of_an_experiment_has_its_tables(four: ExperimentBuilder, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(four.path, copy)
    overwrite_unseen(copy / "trials" / "00001" / "trial.json", '"node"', '"edon"')
    assert analysis.load(copy).trials.loc[1, "host"] == "node"


def test_what_changed_just_now_is_read_again(builder: ExperimentBuilder) -> None:
    """It can change again without its time or its size telling."""
    trial = builder.add_trial(0)
    check(builder.path)
    assert not (builder.path / "tables").exists()
    overwrite_unseen(trial.record_path, '"node"', '"edon"')
    age(builder.path)
    check(builder.path)
    overwrite_unseen(trial.record_path, '"edon"', '"node"')
    assert analysis.load(builder.path).trials.loc[0, "host"] == "edon"


def test_a_clock_that_is_ahead_settles_nothing(builder: ExperimentBuilder) -> None:
    trial = builder.add_trial(0)
    ahead = time.time_ns() + 3600 * 10**9
    os.utime(trial.record_path, ns=(ahead, ahead))
    check(builder.path)
    assert not (builder.path / "tables").exists()


def test_while_a_trial_runs_no_tables_are_written(builder: ExperimentBuilder) -> None:
    builder.add_trial(0)
    running = builder.add_trial(1, accuracies=(0.5,), state="running")
    age(builder.path)
    check(builder.path)
    assert not (builder.path / "tables").exists()
    running.record_end("stopped")
    age(builder.path)
    check(builder.path)
    before = stored(builder.path)
    check(builder.path)
    assert stored(builder.path) == before


def test_what_could_not_be_read_is_tried_again(four: ExperimentBuilder, monkeypatch: pytest.MonkeyPatch) -> None:
    """That a file was out of reach is no change of the file."""
    shutil.rmtree(four.path / "tables")

    read = TrialFolder.read_text

    def refuse_rows(trial: TrialFolder, name: str) -> bytes:
        if name == ROWS_NAME:
            raise PermissionError(13, "Permission denied")
        return read(trial, name)

    with monkeypatch.context() as patched:
        patched.setattr(TrialFolder, "read_text", refuse_rows)
        assert "trials/00001/epochs.jsonl cannot be read: Permission denied" in analysis.load(four.path).problems
    assert len(check(four.path).epochs) == 10


class Mutations:
    """Random things that happen to an experiment and to its tables."""

    def __init__(self, builder: ExperimentBuilder, draw: random.Random) -> None:
        self.builder, self.draw, self.path = builder, draw, builder.path
        self.next = 0
        self.tables: dict[Path, bytes] = {}

    def any(self) -> str:
        mutations = [self.add, self.add, self.append, self.cut, self.cut, self.remove, self.start, self.measure]
        mutations += [self.stray, self.dense, self.damage_table, self.keep_tables, self.put_tables_back]
        mutation = self.draw.choice(mutations)
        mutation()
        if self.draw.random() < 0.7:
            age(self.path, self.draw.uniform(20, 10_000))
        return mutation.__name__

    def trial(self) -> TrialFolder:
        """One that is there."""
        trials = [trial for trial in self.builder.folder.trial_folders() if trial.record_path.is_file()]
        if not trials:
            self.add()
        return self.draw.choice(trials or list(self.builder.folder.trial_folders()))

    def add(self) -> None:
        states: tuple[State, ...] = ("complete", "complete", "stopped", "failed")
        state = self.draw.choice(states)
        accuracies = [self.draw.random() for _ in range(3 if state == "complete" else self.draw.randrange(4))]
        self.builder.add_trial(self.next, accuracies, state=state, alpha=self.draw.choice((Cosine(), TimeBased())))
        self.next += self.draw.choice([1, 1, 1, 2])

    def append(self) -> None:
        trial = self.trial()
        rows = trial.read_rows()
        if rows:
            trial.append_row(replace(rows[-1], epoch=self.draw.randrange(1, 5)))

    def cut(self) -> None:
        trial = self.trial()
        path = self.draw.choice([trial.record_path, trial.rows_path, trial.measurement_path])
        if path.is_file():
            path.write_bytes(path.read_bytes()[: self.draw.randrange(path.stat().st_size + 1)])

    def remove(self) -> None:
        shutil.rmtree(self.trial().path)

    def start(self) -> None:
        """Runs a trial again, which may end at once or not."""
        trial = self.trial()
        try:
            trial.reopen()
        except ValueError:
            return
        if self.draw.random() < 0.8:
            trial.record_end("complete")

    def measure(self) -> None:
        write_measurement(self.trial(), make_measurement(measured_on=self.draw.choice(["a CPU", "a GPU"])))

    def stray(self) -> None:
        name = self.draw.choice(["notes", "1", "000001", ".00003.abcd", f"{10**30}"])
        (self.path / "trials" / name).mkdir(parents=True, exist_ok=True)

    def dense(self) -> None:
        self.builder.write_dense(val_accuracy=self.draw.choice([0.9, 0.95]))

    def damage_table(self) -> None:
        for path in self.path.glob(f"tables/{self.draw.choice(['trials', 'epochs'])}.parquet"):
            text = bytearray(path.read_bytes())
            for _ in range(self.draw.choice([1, 1, 30])):
                text[self.draw.randrange(len(text))] ^= 1 << self.draw.randrange(8)
            path.write_bytes(text[: self.draw.choice([len(text), self.draw.randrange(len(text))])])

    def keep_tables(self) -> None:
        self.tables |= {path: path.read_bytes() for path in self.path.glob("tables/*") if self.draw.random() < 0.7}

    def put_tables_back(self) -> None:
        for path, content in self.tables.items():
            path.write_bytes(content)


@pytest.mark.parametrize("seed", range(12))
def test_with_tables_all_is_as_without_whatever_happens(builder: ExperimentBuilder, seed: int) -> None:
    mutations = Mutations(builder, random.Random(seed))
    happened = []
    for _ in range(40):
        happened.append(mutations.any())
        for _ in range(mutations.draw.randrange(3)):
            try:
                check(builder.path)
            except AssertionError:
                print(happened)
                raise


def test_any_byte_of_the_tables_may_be_damaged(four: ExperimentBuilder) -> None:
    draw = random.Random(3)
    expected = analysis.load(four.path, cache=False)
    for name in ("trials.parquet", "epochs.parquet"):
        path = four.path / "tables" / name
        whole = path.read_bytes()
        for place in [*range(0, len(whole), len(whole) // 60), len(whole) - 5]:
            text = bytearray(whole)
            text[place] ^= 1 << draw.randrange(8)
            path.write_bytes(text)
            found = analysis.load(four.path)
            pd.testing.assert_frame_equal(found.trials, expected.trials)
            pd.testing.assert_frame_equal(found.epochs, expected.epochs)
            assert found.problems == expected.problems
            assert found.dense_measure == expected.dense_measure
            path.write_bytes(whole)


@pytest.mark.parametrize("text", [b"", b"PAR1", b"PAR1PAR1", b"{}", b"\0" * 1000, FOREIGN])
@pytest.mark.parametrize("name", ["trials.parquet", "epochs.parquet"])
def test_what_is_no_table_is_written_again(four: ExperimentBuilder, name: str, text: bytes) -> None:
    (four.path / "tables" / name).write_bytes(text)
    check(four.path)
    before = stored(four.path)
    check(four.path)
    assert stored(four.path) == before
    assert (four.path / "tables" / name).read_bytes() != text


def test_tables_of_another_format_are_written_again(four: ExperimentBuilder, monkeypatch: pytest.MonkeyPatch) -> None:
    before = stored(four.path)
    monkeypatch.setattr(cache, "FORMAT", cache.FORMAT + 1)
    check(four.path)
    assert stored(four.path) != before


@pytest.mark.parametrize("module", [trials, epochs])
@pytest.mark.parametrize("kind", [None, pa.large_binary()], ids=["added", "of another type"])
def test_tables_of_other_columns_are_of_no_use(
    four: ExperimentBuilder, monkeypatch: pytest.MonkeyPatch, module: ModuleType, kind: pa.DataType | None
) -> None:
    """Whoever adds a column, or changes one, need not think of the tables that there are."""
    now = take_fingerprint(four.folder)
    last = len(module.SCHEMA) - 1
    before = module.SCHEMA.remove(last)
    if kind is not None:
        before = before.append(pa.field(module.SCHEMA.names[last], kind))
    monkeypatch.setattr(module, "SCHEMA", before)
    assert take_fingerprint(four.folder) not in (now, None)


def test_no_tables_are_made_of_nothing(builder: ExperimentBuilder, tmp_path: Path) -> None:
    analysis.load(builder.path)
    (builder.path / "trials" / "00000").mkdir(parents=True)
    assert analysis.load(builder.path).problems == ["trials/00000/trial.json is missing"]
    assert not (builder.path / "tables").exists()
    with pytest.raises(ValueError, match="holds no experiment"):
        analysis.load(tmp_path)
    foreign = tmp_path / "foreign"
    shutil.copytree(builder.add_trial(1).path, foreign / "trials" / "00001")
    write_json(foreign / "experiment.json", {"title": "x"})
    with pytest.raises(ValueError, match="is damaged"):
        analysis.load(foreign)
    assert not list(tmp_path.rglob("tables"))


def test_without_the_cache_no_table_is_read_or_written(four: ExperimentBuilder) -> None:
    before = stored(four.path)
    overwrite_unseen(four.folder.trial_folder(1).record_path, '"node"', '"edon"')
    assert analysis.load(four.path, cache=False).trials.loc[1, "host"] == "edon"
    assert stored(four.path) == before
    shutil.rmtree(four.path / "tables")
    analysis.load(four.path, cache=False)
    assert not (four.path / "tables").exists()


def test_where_nothing_can_be_written_the_records_are_read(builder: ExperimentBuilder) -> None:
    builder.add_trial(0)
    (builder.path / "tables").write_text("a file")
    check(builder.path)
    (builder.path / "tables").unlink()
    (builder.path / "tables" / "epochs.parquet").mkdir(parents=True)
    check(builder.path)
    check(builder.path)


def test_a_full_disk_leaves_the_tables_as_they_were(four: ExperimentBuilder) -> None:
    before = stored(four.path)
    append_row(four.folder.trial_folder(0))
    age(four.path)
    code = f"""
import resource, signal, analysis
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
print(len(analysis.load({str(four.path)!r}).epochs))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert (done.stdout.strip(), done.stderr) == ("11", "")
    assert stored(four.path) == before
    assert sorted(path.name for path in (four.path / "tables").iterdir()) == ["epochs.parquet", "trials.parquet"]
    check(four.path)
    assert stored(four.path) != before


def test_epochs_are_those_of_the_moment_the_trials_were_read(four: ExperimentBuilder) -> None:
    experiment = analysis.load(four.path)
    append_row(four.folder.trial_folder(0))
    age(four.path)
    assert len(analysis.load(four.path).epochs) == 11
    assert len(experiment.epochs) == 10


def test_several_processes_load_at_the_same_time(four: ExperimentBuilder) -> None:
    code = f"""
import analysis, pandas as pd
expected = analysis.load({str(four.path)!r}, cache=False)
for _ in range(30):
    found = analysis.load({str(four.path)!r})
    pd.testing.assert_frame_equal(found.epochs, expected.epochs)
    pd.testing.assert_frame_equal(found.trials, expected.trials)
"""
    others = [subprocess.Popen([sys.executable, "-c", code], cwd=ROOT) for _ in range(3)]
    while any(other.poll() is None for other in others):
        shutil.rmtree(four.path / "tables", ignore_errors=True)  # so that each of them writes
        time.sleep(0.02)
    assert [other.returncode for other in others] == [0, 0, 0]
    check(four.path)
    check(four.path)


def test_other_programs_read_the_tables(four: ExperimentBuilder) -> None:
    experiment = analysis.load(four.path)
    trials, epochs = (str(four.path / "tables" / f"{name}.parquet") for name in ("trials", "epochs"))
    leaves = [name for name in experiment.trials.columns if name not in ("created", "started", "finished", "measured")]
    for frame in (
        pd.read_parquet(trials),
        pl.read_parquet(trials).to_pandas(),
        duckdb.sql(f"select * from '{trials}'").to_arrow_table().to_pandas(),
    ):
        assert frame["number"].tolist() == [0, 1, 2, 3]
        for name in leaves:
            expected = [None if pd.isna(value) else value for value in experiment.trials[name]]
            assert [None if pd.isna(value) else value for value in frame[name]] == expected, name
        for name in ("created", "started", "measured"):
            assert pd.to_datetime(frame[name], utc=True).tolist() == experiment.trials[name].tolist()
    for frame in (
        pd.read_parquet(epochs),
        pl.read_parquet(epochs).to_pandas(),
        duckdb.sql(f"select * from '{epochs}'").to_arrow_table().to_pandas(),
    ):
        pd.testing.assert_frame_equal(frame.set_index("number"), experiment.epochs, check_dtype=False)
    best = duckdb.sql(f"select number, max(pruned_val_accuracy) from '{epochs}' group by number order by number")
    assert best.fetchall() == [(0, 0.9), (1, 0.9), (2, 0.5), (3, 0.9)]
    of_rate = duckdb.sql(f"""select "alpha.family" from '{trials}' where "alpha.rate" > 9""")
    assert of_rate.fetchall() == [("time_based",)]
    assert pl.scan_parquet(epochs).select(METRICS).collect().shape == (10, len(METRICS))


def test_a_configuration_of_hostile_names_is_stored(builder: ExperimentBuilder) -> None:
    config = {
        "": 1,
        ".": 2,
        "a.b": 3,
        "a": {"": 4},
        "kind": "x",
        "ä\n": None,
        "a.list.element": 5,
    }
    trial = builder.add_trial(0)
    trial.write_record(replace(trial.read_record(), config=config))
    age(builder.path)
    found = check(builder.path)
    assert found.trials.loc[0, ["a.b", "a.", "config.kind"]].tolist() == [3, 4, "x"]
    before = stored(builder.path)
    check(builder.path)
    assert stored(builder.path) == before
