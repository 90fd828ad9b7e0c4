"""Experiments for all tests of the analysis, written as searches and trials write them."""

import random
from dataclasses import replace
from pathlib import Path

import pytest
from experiments import DENSE, ExperimentBuilder, make_light_measurement, make_measurement, write_measurement

from analysis import Experiment
from records.trial import BUDGETS, Budget, TrialFolder
from trainable.config import trial_config

CONTROLS = ("one_shot", "random_channels", "from_scratch")


@pytest.fixture
def builder(tmp_path: Path) -> ExperimentBuilder:
    """Of trials of three epochs; the dense network, of 1000 MACs and 500 parameters, is trained."""
    return _small(tmp_path / "demo")


@pytest.fixture
def other(tmp_path: Path) -> ExperimentBuilder:
    """Another such experiment."""
    return _small(tmp_path / "other")


def _small(path: Path) -> ExperimentBuilder:
    dense = replace(DENSE, macs=1000, parameters=500)
    built = ExperimentBuilder(path, epochs=3, epoch_seconds=2.25, dense=dense)
    built.write_dense()
    return built


@pytest.fixture
def synthetic(tmp_path: Path) -> ExperimentBuilder:
    """Of trials of twenty epochs; the dense network, VGG16, is trained."""
    built = ExperimentBuilder(tmp_path / "demo")
    built.write_dense()
    return built


@pytest.fixture
def untrained(tmp_path: Path) -> ExperimentBuilder:
    """Of trials of twelve epochs; nothing has begun."""
    return ExperimentBuilder(tmp_path / "demo", epochs=12, trials=0, devices=("cpu",))


@pytest.fixture(scope="session")
def full(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    """Several families, controls, stopped, failed, running, repeats, twins, branches, measured on two devices."""
    built = ExperimentBuilder(tmp_path_factory.mktemp("full") / "demo")
    built.write_dense()
    controls = [built.add_control(control, amount=amount) for amount in (0.75, 0.9) for control in CONTROLS]
    searched = [built.add_searched(amounts=(0.5, 0.75, 0.9)) for _ in range(30)]
    for epochs in (6, 6, 12, 6, 12):
        built.add_searched(state="stopped", epochs=epochs)
    built.add_searched(state="failed", epochs=4, error="CUDA error: <b>out of memory</b>")
    built.add_searched(state="running", epochs=9)
    fading = [trial for trial in searched if trial_config(trial.read_record().config).alpha_epochs > 0]
    for original in (controls[0], *fading[3:5]):
        for seed in (1, 2, 3):
            built.add_repeat(original, seed)
    first = built.add_branch(built.add_restarting((0.001,)), 10, 0.01)
    built.add_branch(first, 14, 0.1)
    for index, trial in enumerate((*controls, *searched[:12])):
        write_measurement(trial, make_measurement(speedup=1.5 + 0.1 * index))
    write_measurement(searched[12], make_measurement(measured_on="NVIDIA H200"))
    for original in fading[3:5]:
        for seed in (1, 2, 3):
            for budget in BUDGETS:
                built.add_twin(original, budget, seed)
    return built.load()


@pytest.fixture(scope="session")
def rich(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    """30 trials of all families, two amounts with their controls, repeats and twins over 3 seeds, measured, failed."""
    built = ExperimentBuilder(tmp_path_factory.mktemp("rich") / "cifar10-autumn", epochs=12, devices=("cpu",))
    built.change_settings(
        {
            "data": {"source": "cifar10", "validation_fraction": 0.1, "split_seed": 0, "images": None},
            "dense": {"width": 1.0},
            "trial": {"epochs": 12, "alpha": {"family": "piecewise", "segments": [{"rate": 0.05, "ends_at": 0.4}]}},
            "search": {"trials": 32, "objectives": ["pruned_val_accuracy", "macs"]},
        }
    )
    built.write_dense()
    draw = random.Random(7)
    controls = {
        (control, amount): built.add_control(control, base - 0.04 * (amount > 0.8), amount)
        for amount in (0.75, 0.9)
        for control, base in zip(CONTROLS, (0.926, 0.915, 0.90), strict=True)
    }
    searched = {
        (amount, index): built.add_searched(0.92 - 0.04 * (amount > 0.8) + draw.gauss(0, 0.005), amounts=(amount,))
        for index in range(14)
        for amount in (0.75, 0.9)
    }
    best = [
        built.add_searched(0.938, families=("multiplicative",)),
        built.add_searched(0.897, amounts=(0.9,), families=("cosine",)),
    ]
    for epochs in (4, 4, 6):
        built.add_searched(0.8, state="stopped", epochs=epochs)
    error = "CUDA error: out of memory\nat line 3"
    built.add_searched(0.7, state="failed", epochs=2, error=error)
    for trial, test in ((best[0], 0.929), (best[1], 0.886), *((trial, 0.91) for trial in controls.values())):
        write_measurement(trial, make_measurement(test, speedup=2.4 if test > 0.9 else 3.6))
    for index in range(3):
        write_measurement(searched[0.9, index], make_measurement(0.87, speedup=0.9))
    _repeat(built, best[0], 0.931, 0.934, 0.933)
    _repeat(built, best[1], 0.884, 0.889, 0.893)
    _repeat(built, controls["one_shot", 0.75], 0.925, 0.927, 0.924)
    _repeat(built, controls["one_shot", 0.9], 0.886, 0.888, 0.881)
    _add_twins(built, best[0], "epochs", 0.930, 0.934, 0.931)
    _add_twins(built, best[0], "compute", 0.936, 0.938, 0.938)
    _add_twins(built, best[1], "epochs", 0.870, 0.876, 0.879)
    _add_twins(built, best[1], "compute", 0.882, 0.883, 0.890)
    return built.load()


def _repeat(built: ExperimentBuilder, original: TrialFolder, *accuracies: float) -> None:
    for seed, accuracy in enumerate(accuracies, start=1):
        write_measurement(built.add_repeat(original, seed, accuracy), make_light_measurement(accuracy - 0.005))


def _add_twins(built: ExperimentBuilder, original: TrialFolder, budget: Budget, *accuracies: float) -> None:
    for seed, accuracy in enumerate(accuracies, start=1):
        write_measurement(built.add_twin(original, budget, seed, accuracy), make_light_measurement(accuracy - 0.005))
