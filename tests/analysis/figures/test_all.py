"""What holds for every figure, whatever the experiment."""

import html
import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest
from experiments import ExperimentBuilder
from golden import assert_golden

from analysis import Experiment, figures
from analysis.figures.style import TEMPLATE
from records.files import write_json
from records.trial import State

DRAW = [getattr(figures, name) for name in figures.__all__ if name != "CONFIG"]
each_figure = pytest.mark.parametrize("draw", DRAW, ids=lambda draw: draw.__name__)
Draw = Callable[[Experiment], go.Figure]


def texts_of(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for each in value.values() for text in texts_of(each)]
    if isinstance(value, list):
        return [text for each in value for text in texts_of(each)]
    return [value] if isinstance(value, str) else []


def is_sentence(figure: go.Figure) -> bool:
    return not figure.data and figure.layout.title.text.endswith(".") and not figure.layout.xaxis.visible


@each_figure
def test_a_full_experiment_is_drawn_in_the_house_style(full: Experiment, draw: Draw) -> None:
    figure = draw(full)
    assert figure.data
    assert figure.layout.template == go.Figure(layout={"template": TEMPLATE}).layout.template
    assert figure.layout.title.text.endswith(".")
    assert figure.layout.width is None
    assert "NaN" not in figure.to_json()


@each_figure
def test_figures_change_nothing_of_the_experiment(full: Experiment, draw: Draw) -> None:
    trials, epochs = full.trials.copy(deep=True), full.epochs.copy(deep=True)
    assert draw(full).to_json() == draw(full).to_json()
    assert full.trials.equals(trials)
    assert full.epochs.equals(epochs)


@each_figure
def test_an_empty_experiment_is_a_sentence(synthetic: ExperimentBuilder, draw: Draw) -> None:
    assert is_sentence(draw(synthetic.load()))


@each_figure
def test_an_experiment_without_a_dense_network_is_a_sentence(synthetic: ExperimentBuilder, draw: Draw) -> None:
    (synthetic.folder.dense_path / "dense.json").unlink()
    assert is_sentence(draw(synthetic.load()))


@each_figure
@pytest.mark.parametrize("state", ["complete", "running", "stopped", "failed"])
@pytest.mark.parametrize("epochs", [0, 1, 9])
def test_one_trial(synthetic: ExperimentBuilder, draw: Draw, state: State, epochs: int) -> None:
    epochs = 20 if state == "complete" else epochs
    synthetic.add_searched(state=state, epochs=epochs, error="it <i>failed</i>")
    figure = draw(synthetic.load())
    assert figure.data or is_sentence(figure)


@each_figure
def test_an_experiment_that_runs(synthetic: ExperimentBuilder, draw: Draw) -> None:
    synthetic.add_control("one_shot")
    synthetic.add_searched()
    synthetic.add_searched(state="stopped", epochs=6)
    synthetic.add_searched(state="running", epochs=3)
    synthetic.add_searched(state="running", epochs=0)
    figure = draw(synthetic.load())
    assert figure.data or is_sentence(figure)


@each_figure
def test_controls_alone(synthetic: ExperimentBuilder, draw: Draw) -> None:
    for kind in ("one_shot", "random_channels", "from_scratch"):
        synthetic.add_control(kind)
    figure = draw(synthetic.load())
    assert figure.data or is_sentence(figure)


@each_figure
def test_foreign_configurations_and_torn_rows(synthetic: ExperimentBuilder, draw: Draw) -> None:
    trials = [synthetic.add_searched() for _ in range(24)]
    for trial, config in zip(trials, ({}, {"alpha": 3, "lr": None, "epochs": "many"}, {"begun": {}}), strict=False):
        write_json(trial.record_path, {"number": trial.number, "config": config, "state": "complete"})
    trials[4].rows_path.write_bytes(b'{"epoch": 1, "phase": "alpha"}\n{"epo')
    trials[5].record_path.write_text("{")
    trials[6].rows_path.unlink()
    write_json(synthetic.folder.dense_path / "dense.json", {"val_accuracy": "high", "macs": True, "widths": "wide"})
    figure = draw(synthetic.load())
    assert figure.data or is_sentence(figure)


HOSTILE = "<a href='javascript:alert(1)'>x</a>\x1b[2J<b>%{x}"


@each_figure
def test_nothing_out_of_a_record_is_markup(full: Experiment, draw: Draw) -> None:
    trials = full.trials.copy()
    for name in ("host", "device", "alpha.family", "lr.policy", "pruning.scope", "measured_on"):
        trials[name] = trials[name].where(trials[name].isna(), trials[name].astype("object") + HOSTILE)
    trials["control"] = trials["control"].where(trials["control"].isna(), HOSTILE)
    trials = trials.rename(columns={"alpha_lr": f"lr.{HOSTILE}"})
    figure = draw(replace(full, trials=trials))
    assert figure.data
    for text in texts_of(json.loads(figure.to_json())):
        assert "\x1b" not in text
        assert not re.search(r"<(?!br>|/?b>|extra>|/extra>)", text)
    # What a template says in %{} is looked up and formatted, so no record may write one.
    assert not any("alert" in (trace.hovertemplate or "") for trace in figure.data)


def titles_of(experiment: Experiment) -> str:
    def plain(text: str | None) -> str:
        return html.unescape((text or "").replace("<br>", " ").replace("\N{NO-BREAK SPACE}", " "))

    titles = ((draw.__name__, draw(experiment).layout.title) for draw in DRAW)
    return "\n\n".join(f"{name}\n  {plain(title.text)}\n  {plain(title.subtitle.text)}" for name, title in titles)


def test_titles_and_notes_read_as_they_should(full: Experiment) -> None:
    assert_golden("figures.txt", titles_of(full))


def test_figures_without_anything_to_draw_say_why(synthetic: ExperimentBuilder) -> None:
    assert_golden("figures-empty.txt", titles_of(synthetic.load()))


def test_importing_analysis_imports_no_plotly() -> None:
    code = "import analysis, sys; print([name for name in ('plotly', 'optuna', 'jinja2') if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_importing_figures_imports_neither_torch_nor_ray_nor_optuna() -> None:
    code = "import analysis.figures, sys; print([n for n in ('torch', 'ray', 'optuna', 'search') if n in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@each_figure
def test_figures_are_written_as_offline_html(full: Experiment, draw: Draw, tmp_path: Path) -> None:
    path = tmp_path / "figure.html"
    draw(full).write_html(path, include_plotlyjs="directory", config=figures.CONFIG)
    assert '"displayModeBar": false' in path.read_text()
