"""The figures of the report: which, in what order, and what of them the page needs."""

import html
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import plotly.graph_objects as go

from analysis import figures
from analysis.experiment import Experiment

# The page shows a figure's title in its own type; what is left is room for marks above the axes.
_TOP_PIXELS = 24


@dataclass(frozen=True)
class PageFigure:
    """A figure on the page. title: what it shows, in a sentence; note: how to read it. json: plotly's."""

    id: str
    title: str
    note: str
    height: int
    json: str


# In their order on the page, whose template says how to read each.
_FIGURES: dict[str, Callable[[Experiment], go.Figure]] = {
    "accuracy-macs": figures.accuracy_against_macs,
    "accuracy-latency": figures.accuracy_against_measured,
    "accuracy-memory": partial(figures.accuracy_against_measured, column="peak_memory_bytes"),
    "accuracy-cost": partial(figures.accuracy_against_measured, column="training_cost"),
    "twins": figures.twins,
    "families": figures.best_of_each_family,
    "policies": figures.best_of_each_policy,
    "alpha": figures.alpha_curves,
    "epochs": figures.epochs_of,
    "iterations": figures.iterations,
    "widths": figures.widths,
    "parameters": figures.parallel_coordinates,
    "slices": figures.slices,
    "importances": figures.importances,
    "stopped": figures.stopped_by_rung,
    "hypervolume": figures.hypervolume_history,
    "timeline": figures.timeline,
}


def draw_figures(experiment: Experiment) -> Iterator[PageFigure]:
    """The figures that have something to show."""
    for name, draw in _FIGURES.items():
        figure = draw(experiment)
        if not figure.data:
            continue
        title = figure.layout.title
        texts = (_plain_title(title.text), _plain_title(title.subtitle.text))
        height = int(figure.layout.height - figure.layout.margin.t + _TOP_PIXELS)
        figure.update_layout(title=None, margin={"t": _TOP_PIXELS}, height=height)
        yield PageFigure(name, *texts, height, escape_script(figure.to_json()))


def escape_script(json: str) -> str:
    """The same JSON, without anything that could end the script element it stands in."""
    return re.sub("[<>&\u2028\u2029]", lambda found: f"\\u{ord(found[0]):04x}", json)


def _plain_title(text: str | None) -> str:
    """A figure's title as plain text: its line breaks are plotly's, all else in it is literal."""
    return html.unescape(" ".join((text or "").split("<br>")))
