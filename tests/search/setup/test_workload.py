"""What a search has to compute, and what earlier experiments tell of its time."""

from dataclasses import asdict, replace
from pathlib import Path

import pytest
from examples import make_row
from searches import write_experiment

from records.dense import DenseRecord, write_dense_record
from records.experiment import ExperimentFolder
from records.trial import TrialRecord
from search.backends.base import Node, TrialResources
from search.backends.local import LocalBackend
from search.estimate import Hardware, Workload
from search.settings import Settings, resolve_settings
from search.setup.workload import count_left, create_workload, describe_hardware, describe_time, find_epoch_seconds
from search.snapshot import Snapshot
from spaces.space import load_space
from trainable.config import TrialConfig, as_json
from trainable.device import default_device, device_name
from trainable.schedules.alpha import OneShot

CPU = Hardware("CPU", dense=2, trial=1, concurrency=2)
SETTINGS = resolve_settings(
    {
        "trial": {"epochs": 12},
        "space": {"options": {"amounts": [0.5, 0.75]}},
        "controls": {"amounts": [0.5]},
        "search": {"trials": 20, "early_stopping": {"enabled": True}},
    }
)


def workload(settings: Settings, storage: Path) -> Workload:
    space, backend = load_space(settings.space.function, settings.space.options), LocalBackend()
    share = TrialResources(1, 0, 1)
    return create_workload(settings, space, backend, share, storage, classes=10, train_images=150)


def add_dense(storage: Path, name: str, **changed: object) -> None:
    """An experiment with a dense network of 10 epochs of 4 seconds each, on this device with two threads."""
    folder = ExperimentFolder(storage / name)
    write_experiment(folder, SETTINGS)
    record = DenseRecord(
        hash="0123",
        epochs=10,
        train_loss=0.1,
        train_accuracy=0.9,
        val_loss=0.1,
        val_accuracy=0.9,
        widths=(8,),
        channels=8,
        parameters=100,
        macs=1000,
        seconds=40.0,
        device=device_name(default_device()),
        threads=2,
    )
    write_dense_record(folder.dense_path, DenseRecord(**(asdict(record) | changed)))


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    for name in ("a", "b"):
        (tmp_path / name / "dense").mkdir(parents=True)
    return tmp_path


def test_controls_and_searched_trials_are_told_apart(tmp_path: Path) -> None:
    found = workload(SETTINGS, tmp_path)
    assert len(found.controls) == 3
    assert all(cost < 1 for control in found.controls for cost in control.costs)  # they have no alpha phase
    assert len(found.searched.costs) == 12
    assert found.searched.costs[0] > found.searched.costs[-1]  # many have an alpha phase, at the start
    # Some are stopped early, none before the first rung.
    assert found.searched.chances[0] == found.searched.chances[4] == 1
    assert found.searched.chances[-1] < 0.6
    assert found.epoch_seconds is None
    gentle = replace(SETTINGS.search, early_stopping=replace(SETTINGS.search.early_stopping, enabled=False))
    assert set(workload(replace(SETTINGS, search=gentle), tmp_path).searched.chances) == {1.0}


def test_a_search_without_trials_has_controls_alone(tmp_path: Path) -> None:
    none = replace(SETTINGS, search=replace(SETTINGS.search, trials=0))
    left = count_left(workload(none, tmp_path), Snapshot((), frozenset()), 3)
    assert len(left.waiting) == 3


def test_what_is_left_is_counted_from_the_records(tmp_path: Path) -> None:
    expected, folder = workload(SETTINGS, tmp_path), ExperimentFolder(tmp_path / "e")
    config = as_json(TrialConfig(epochs=12, alpha=OneShot()))
    folder.trial_folder(0).create(TrialRecord(0, config, control="one_shot", state="complete"))
    folder.trial_folder(1).create(TrialRecord(1, config, control="random_channels"))
    for epoch in (1, 2):
        folder.trial_folder(1).append_row(make_row(epoch))
    left = count_left(expected, Snapshot.read(folder), 22)
    assert len(left.waiting) == 22
    assert left.waiting[:2] == (expected.controls[1].count_cost(2), expected.controls[2].count_cost())
    assert set(left.waiting[2:]) == {expected.searched.count_cost()}


def test_hardware_is_counted_in_gpus_where_trials_have_any() -> None:
    nodes = [Node(4.0, 0.0), Node(16.0, 2.0)]
    assert describe_hardware(nodes, TrialResources(1, 0.25, 8)) == Hardware("GPU", 1, 0.25, 8)
    assert describe_hardware(nodes, TrialResources(2, 0, 10)) == Hardware("CPU", 16, 2, 10)


def test_the_nearest_earlier_experiment_tells_the_time(storage: Path) -> None:
    assert find_epoch_seconds(storage, CPU, 1000, 150) is None
    add_dense(storage, "a")
    assert find_epoch_seconds(storage, CPU, 1000, 150) == (4.0, "a")
    assert find_epoch_seconds(storage, CPU, 3000, 300) == (pytest.approx(24.0), "a")
    add_dense(storage, "b", macs=3100, seconds=100.0)
    assert find_epoch_seconds(storage, CPU, 3100, 150) == (10.0, "b")


@pytest.mark.parametrize("other", [{"device": "NVIDIA H200"}, {"threads": 16}, {"macs": 0}])
def test_other_devices_tell_nothing(storage: Path, other: dict[str, object]) -> None:
    add_dense(storage, "a", **other)
    assert find_epoch_seconds(storage, CPU, 1000, 150) is None


def test_a_damaged_record_tells_nothing(storage: Path) -> None:
    (storage / "a" / "dense" / "dense.json").write_text("{")
    assert find_epoch_seconds(storage, CPU, 1000, 150) is None


def test_the_plan_says_how_long_or_when_that_will_be_known(tmp_path: Path) -> None:
    unknown = workload(SETTINGS, tmp_path)
    left = count_left(unknown, Snapshot((), frozenset()), 23)
    assert describe_time(unknown, left, 10).endswith("estimated after the first epoch of the dense network")
    assert describe_time(unknown, left, 0).endswith("estimated after the first epochs of the trials")
    known = replace(unknown, epoch_seconds=60.0, source="a")
    assert describe_time(known, left, 10).startswith("about ")
    assert "(dense network 10 min, trials " in describe_time(known, left, 10)
    assert describe_time(known, left, 10).endswith("-hours, going by experiment 'a'")
