import json
from dataclasses import replace
from typing import Any

import plotly.graph_objects as go
import pytest
from experiments import ExperimentBuilder
from hypothesis import given
from hypothesis import strategies as st

from analysis import Experiment
from analysis.report.figure_html import draw_figures, escape_script
from trainable.config import trial_config
from trainable.schedules.alpha import Cosine


def test_the_figures_of_a_rich_experiment(rich: Experiment) -> None:
    figures = {figure.id: figure for figure in draw_figures(rich)}
    # No branches and no rate that restarts: the iterations have nothing to show.
    assert list(figures) == [
        *("accuracy-macs", "accuracy-latency", "accuracy-memory", "accuracy-cost", "twins", "families", "policies"),
        *("alpha", "epochs", "widths", "parameters", "slices", "importances", "stopped", "hypervolume", "timeline"),
    ]
    for figure in figures.values():
        assert figure.title.endswith((".", "!"))
        assert "<br>" not in figure.title + figure.note
        assert "&" not in figure.title
        drawing = go.Figure(json.loads(figure.json))
        assert drawing.layout.title.text is None
        assert drawing.layout.height == figure.height > 100


def test_a_figure_says_its_title_on_the_page_as_it_is(untrained: ExperimentBuilder) -> None:
    config = trial_config(untrained.add_searched(0.9).read_record().config)
    untrained.add_config(replace(config, alpha=Cosine()), 0.95, control="<b>&amp;")
    figures = {figure.id: figure for figure in draw_figures(untrained.load())}
    assert "<b>&amp;" in figures["accuracy-macs"].title + figures["epochs"].title


def test_nothing_is_drawn_of_nothing(untrained: ExperimentBuilder) -> None:
    assert list(draw_figures(untrained.load())) == []


values = st.recursive(
    st.text() | st.none() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
)


@given(values)
def test_json_in_a_script_says_the_same_and_cannot_end_it(value: Any) -> None:
    text = escape_script(json.dumps(value, ensure_ascii=False))
    assert json.loads(text) == value
    assert not set(text) & set("<>&\u2028\u2029")


@pytest.mark.parametrize("text", ["</script><script>alert(1)</script>", "<!--<script>", "]]>"])
def test_nothing_of_a_tag_is_left(text: str) -> None:
    assert text not in escape_script(json.dumps(text))
