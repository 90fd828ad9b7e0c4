import sys

import pytest
from experiments import ExperimentBuilder

from analysis import Experiment
from analysis.figures import stopped_by_rung
from analysis.figures.stopped_by_rung import stopped_by_rung_info


def test_stopped_trials_stand_beside_those_that_continued(full: Experiment) -> None:
    info = stopped_by_rung_info(full)
    assert info.title == "5 of 38 trials stopped early: 3 at epoch 6, 2 at epoch 12."
    early, late = info.rungs
    assert (early.epoch, late.epoch) == (6, 12)
    assert [at.number for at in early.stopped] == [36, 37, 39]
    assert [at.number for at in late.stopped] == [38, 40]
    # The failed one had four epochs, the running one nine.
    assert [at.number for at in early.continued] == [*range(6, 36), 38, 40, 42, 52]
    assert [at.number for at in late.continued] == [*range(6, 36), 52]
    rows = full.epochs[full.epochs["epoch"] == 6]["pruned_val_accuracy"]
    assert [at.accuracy for at in early.continued] == rows[[at.number for at in early.continued]].tolist()


def test_the_drawing_has_them_all(full: Experiment) -> None:
    info, figure = stopped_by_rung_info(full), stopped_by_rung(full)
    stopped, continued = figure.data
    assert sorted(stopped.y) == sorted(at.accuracy for rung in info.rungs for at in rung.stopped)
    assert sorted(continued.y) == sorted(at.accuracy for rung in info.rungs for at in rung.continued)
    # Each at its rung, the stopped to the left.
    assert all(round(x) in (0, 1) and x < round(x) for x in stopped.x)
    assert all(round(x) in (0, 1) and x > round(x) for x in continued.x)


def test_nothing_stopped_is_said_in_words(synthetic: ExperimentBuilder) -> None:
    synthetic.add_searched()
    assert stopped_by_rung_info(synthetic.load()).title == "No trial was stopped early."


def test_of_very_many_trials_some_are_drawn(full: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[stopped_by_rung.__module__], "MOST_MARKS", 10)
    info, figure = stopped_by_rung_info(full), stopped_by_rung(full)
    assert "Only about 10 marks of each kind are drawn" in info.note
    assert len(figure.data[0].y) == 5
    assert len(figure.data[1].y) <= 20
    assert "34 continued" in figure.layout.xaxis.ticktext[0]
