"""What is refused before anything starts: spaces, controls, other data, damaged settings."""

import json
import logging
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest

from records.experiment import ExperimentFolder
from search.settings import Settings, as_settings_json, resolve_settings
from search.setup import validation
from search.setup.creation import create_experiment
from search.setup.validation import (
    check_settings,
    find_dense_layout,
    read_data,
    read_recorded_data,
    recorded_settings,
)
from trainable.config import TrialConfig
from trainable.cpus import memory_bytes

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
SETTINGS = resolve_settings({"data": {"images": 40}, "dense": {"width": 0.0625}, "trial": {"pruning": {"round_to": 1}}})


def longer(trial: optuna.Trial, base: TrialConfig) -> TrialConfig:
    return replace(base, epochs=base.epochs + trial.suggest_int("more", 0, 3))


def failing(trial: optuna.Trial, base: TrialConfig) -> TrialConfig:
    raise ValueError("the space knows no mercy")


def gentle(trial: optuna.Trial, base: TrialConfig) -> TrialConfig:
    return replace(base, alpha_lr=trial.suggest_float("rate", 0.001, 0.1))


def rejecting(trial: optuna.Trial, base: TrialConfig) -> TrialConfig:
    return replace(base, alpha_lr=trial.suggest_categorical("rate", [np.longdouble(0.01)]))


def broken(trial: optuna.Trial, base: TrialConfig) -> TrialConfig:
    return replace(base, alpha_lr=base.alpha_rate)  # type: ignore[attr-defined]


def with_numpy(trial: optuna.Trial, base: TrialConfig) -> TrialConfig:
    return replace(base, alpha_lr=trial.suggest_categorical("rate", list(np.linspace(0.01, 0.05, 3))))


def with_space(space: Callable[..., TrialConfig], monkeypatch: pytest.MonkeyPatch, **search: Any) -> Settings:
    monkeypatch.setattr(validation, "load_space", lambda name, options: space)
    return replace(SETTINGS, search=replace(SETTINGS.search, **search))


def test_a_space_is_tried_out(monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_settings(with_space(gentle, monkeypatch)) is gentle
    with pytest.raises(ValueError, match=r"the space must leave trial.epochs unchanged, .* changed 18 to (19|2[01]);"):
        check_settings(with_space(longer, monkeypatch))
    with pytest.raises(ValueError, match="no mercy"):
        check_settings(with_space(failing, monkeypatch))
    with pytest.raises(ValueError, match="the choices of 'rate' must be text, finite numbers, booleans or None"):
        check_settings(with_space(rejecting, monkeypatch))
    with pytest.raises(ValueError, match=r"^the space failed with AttributeError: .*alpha_rate.* \(.*, line \d+\)"):
        check_settings(with_space(broken, monkeypatch))
    assert check_settings(with_space(with_numpy, monkeypatch)) is with_numpy


def test_a_space_that_is_not_used_is_not_tried_out(monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_settings(with_space(failing, monkeypatch, trials=0)) is failing


def test_whose_sampler_will_run_is_said_before_it_does(caplog: pytest.LogCaptureFixture) -> None:
    """Also of a module that has long been imported."""
    settings = replace(SETTINGS, search=replace(SETTINGS.search, sampler="math:sqrt"))
    with caplog.at_level(logging.INFO, "alphaprune"), pytest.raises(ValueError, match="'math:sqrt' must return an Opt"):
        check_settings(settings)
    assert [text.partition(" from ")[0] for text in caplog.messages] == ["importing the sampler math:sqrt"]


def test_a_control_that_cannot_cut_that_much_is_refused() -> None:
    settings = replace(SETTINGS, controls=replace(SETTINGS.controls, amounts=(0.5, 0.9999)))
    with pytest.raises(ValueError, match=r"pruning\.amount must be at most .* but got 0.9999"):
        check_settings(settings)


@pytest.fixture
def folder(tmp_path: Path) -> ExperimentFolder:
    folder = ExperimentFolder(tmp_path / "search")
    create_experiment(folder, SETTINGS, read_data(SETTINGS.data), "mine")
    return folder


def test_recorded_settings_are_read_back(folder: ExperimentFolder) -> None:
    assert recorded_settings(folder, folder.read_record()) == SETTINGS


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"model": "resnet"}, "unknown setting 'model'"),
        ({"search": {"trials": -1}}, "search.trials"),
        ({"trial": {"alpha": {"family": "expnential"}}}, "trial.alpha.family"),
        ({"search": None}, "search"),
    ],
)
def test_damaged_settings_are_reported(folder: ExperimentFolder, settings: dict[str, Any], says: str) -> None:
    folder.record_path.write_text(json.dumps({**asdict(folder.read_record()), "settings": settings, "digest": None}))
    with pytest.raises(ValueError, match=rf"^{folder.record_path} is damaged: .*{says}") as error:
        recorded_settings(folder, folder.read_record())
    assert "\n" not in str(error.value)


def test_different_data_is_refused_wherever_it_is(folder: ExperimentFolder) -> None:
    record = folder.read_record()
    assert read_recorded_data(folder, record, SETTINGS, None).fingerprint == record.data.fingerprint
    assert read_recorded_data(folder, record, SETTINGS, "digits").fingerprint == record.data.fingerprint
    other = resolve_settings({**as_settings_json(SETTINGS), "data": {"images": 50}})
    with pytest.raises(
        ValueError, match=r"--data must be what 'search' was started on, but 'digits' has different images"
    ):
        read_recorded_data(folder, record, other, None)
    with pytest.raises(ValueError, match="nowhere"):
        read_recorded_data(folder, record, SETTINGS, "nowhere")


def test_reading_the_data_is_announced_first(logged: Callable[[], list[str]]) -> None:
    read_data(SETTINGS.data)
    assert logged() == ["reading digits"]


def test_the_network_is_planned_for_the_size_of_the_images() -> None:
    large = replace(SETTINGS, data=replace(SETTINGS.data, image_size=64))
    small_layout, large_layout = (find_dense_layout(each, classes=10) for each in (SETTINGS, large))
    assert small_layout.widths == large_layout.widths
    small, much = (layout.count("macs", layout.widths) for layout in (small_layout, large_layout))
    assert much == pytest.approx(4 * small, rel=0.01)


def test_images_that_do_not_fit_in_all_their_copies_are_refused(folder: ExperimentFolder) -> None:
    copies = memory_bytes() // read_data(SETTINGS.data).size.bytes
    with pytest.raises(
        ValueError, match=r"^the images must fit into 80% of the .* in \d+ copies; lower data.image_size"
    ):
        read_data(SETTINGS.data, copies=copies)
    with pytest.raises(ValueError, match=r"^the images must fit into 80%"):
        read_recorded_data(folder, folder.read_record(), SETTINGS, None, copies=copies)
