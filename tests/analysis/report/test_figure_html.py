import json
from typing import Any

import plotly.graph_objects as go
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.report.figure_html import drawn, in_script


def test_the_figures_of_a_rich_experiment(rich: Any) -> None:
    figures = {figure.id: figure for figure in drawn(rich)}
    # No branches and no rate that restarts: the iterations have nothing to show.
    assert list(figures) == [
        *("accuracy-macs", "accuracy-latency", "accuracy-memory", "alpha", "epochs", "widths", "parameters"),
        *("importances", "stopped", "hypervolume", "timeline"),
    ]
    for figure in figures.values():
        assert figure.title.endswith((".", "!"))
        assert "<br>" not in figure.title + figure.note
        assert "&" not in figure.title
        drawing = go.Figure(json.loads(figure.json))
        assert drawing.layout.title.text is None
        assert drawing.layout.height == figure.height > 100


def test_a_figure_says_its_title_on_the_page_as_it_is(search: Any) -> None:
    config = search.folder.trial(search.asked(0.9)).read().config
    search.trial(config | {"alpha": {"family": "cosine"}, "lr": config["lr"]}, 0.95, control="<b>&amp;")
    figures = {figure.id: figure for figure in drawn(search.load())}
    assert "<b>&amp;" in figures["accuracy-macs"].title + figures["epochs"].title


def test_nothing_is_drawn_of_nothing(search: Any) -> None:
    assert list(drawn(search.load())) == []


values = st.recursive(
    st.text() | st.none() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
)


@given(values)
def test_json_in_a_script_says_the_same_and_cannot_end_it(value: Any) -> None:
    text = in_script(json.dumps(value, ensure_ascii=False))
    assert json.loads(text) == value
    assert not set(text) & set("<>&\u2028\u2029")


@pytest.mark.parametrize("text", ["</script><script>alert(1)</script>", "<!--<script>", "]]>"])
def test_nothing_of_a_tag_is_left(text: str) -> None:
    assert text not in in_script(json.dumps(text))
