"""A trial of an experiment as a handle: everything about it in one place."""

from pathlib import Path

import pytest
from experiments import ExperimentBuilder, make_measurement, write_measurement
from networks import create_vgg16

import analysis
from analysis import Experiment
from analysis.trial import ExperimentTrial
from trainable.config import TrialConfig, trial_config
from trainable.network.architecture import Architecture
from trainable.network.weights import save_network


def test_a_trial_has_all_that_its_records_tell(builder: ExperimentBuilder) -> None:
    files = builder.add_trial(0)
    write_measurement(files, make_measurement(0.8))
    trial = builder.load().trial(0)
    assert isinstance(trial, ExperimentTrial)
    assert (trial.number, trial.state, trial.path) == (0, "complete", files.path)
    assert TrialConfig(**trial.config) == trial_config(trial.config)
    assert trial.rows.index.tolist() == [1, 2, 3]
    assert trial.rows.index.name == "epoch"
    assert trial.values["pruned_val_accuracy"] == trial.rows["pruned_val_accuracy"].iloc[-1]
    assert trial.cut == files.read_record().cut
    assert trial.measurement is not None
    assert trial.measurement.pruned is not None
    assert trial.measurement.pruned.test is not None
    assert trial.measurement.pruned.test.accuracy == 0.8
    assert repr(trial) == f"<Trial {trial.label} of 'demo': complete>"


def test_a_trial_that_is_not_there_is_refused(builder: ExperimentBuilder) -> None:
    with pytest.raises(ValueError, match=r"there is no trial 0 in 'demo' \(none yet\)"):
        builder.load().trial(0)
    builder.add_trial(3)
    with pytest.raises(ValueError, match=r"there is no trial 0 in 'demo' \(3 to 3\)"):
        builder.load().trial(0)


def test_its_network_is_that_of_its_folder(builder: ExperimentBuilder) -> None:
    files = builder.add_trial(0)
    network, architecture = create_vgg16((4,) * 13, 10, 0), Architecture("vgg16", 10)
    save_network(network, files.model_path, architecture, (4,) * 13, mean=(0.5,) * 3, std=(0.2,) * 3)
    assert builder.load().trial(0).network().widths == (4,) * 13
    builder.add_trial(1, state="running", accuracies=(0.5,))
    with pytest.raises(ValueError, match="only complete trials have a network, and trial 1 is running"):
        builder.load().trial(1).network()


def test_its_figure_and_its_html_are_its_own(full: Experiment) -> None:
    trial = full.trial(8)
    assert str(trial.label) in trial.figure().to_json()
    html = trial._repr_html_()
    assert str(trial.label) in html
    assert "<details>" in html
    assert "alpha.family" in html


def test_what_a_record_says_is_no_markup(builder: ExperimentBuilder) -> None:
    files = builder.add_trial(0)
    files.write_record(files.read_record())
    (files.path / "trial.json").write_text(
        (files.path / "trial.json").read_text().replace('"host": "node', '"host": "<script>')
    )
    experiment = analysis.load(Path(builder.path))
    for html in (
        experiment._repr_html_(),
        *(experiment.trial(int(number))._repr_html_() for number in experiment.trials.index),
    ):
        assert "<script>" not in html
