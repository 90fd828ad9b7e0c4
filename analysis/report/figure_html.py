"""The figures of the report: which, in what order, how to read each, and what of them the page needs."""

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
    """A figure on the page. title: what it shows, in a sentence; note, reading: how to read it. json: plotly's."""

    id: str
    heading: str
    title: str
    note: str
    reading: str
    height: int
    json: str


_FIGURES: tuple[tuple[str, str, Callable[[Experiment], go.Figure], str], ...] = (
    (
        "accuracy-macs",
        "Accuracy against computation",
        figures.accuracy_against_macs,
        "Each mark is a trial: higher is more accurate, further left needs fewer multiply-accumulate operations. "
        "Circles are trials with alpha, coloured by schedule; grey marks are controls. Nothing lies both above and to "
        "the left of the stepped line, the Pareto front.",
    ),
    (
        "accuracy-latency",
        "Accuracy against measured latency",
        figures.accuracy_against_measured,
        "The same trials by the time one pass of 256 images took: further left is faster. Only measured trials are "
        "shown.",
    ),
    (
        "accuracy-memory",
        "Accuracy against measured memory",
        partial(figures.accuracy_against_measured, column="peak_memory_bytes"),
        "The same trials by the most memory they held while the test set ran: further left is less.",
    ),
    (
        "alpha",
        "How alpha fell",
        figures.alpha_curves,
        "Each line is a trial: at 1 the network is whole, at 0 the channels are gone. A large step down to 0 at the "
        "end cuts channels that had not yet faded out.",
    ),
    (
        "epochs",
        "Epoch by epoch",
        figures.epochs_of,
        "Each colour is a trial, followed through the panels from top to bottom: accuracy on images it was not trained "
        "on, accuracy on those it was, alpha, and the learning rate.",
    ),
    (
        "iterations",
        "Iterations",
        figures.iterations,
        "Each numbered stretch continues the one before it with other settings or another learning rate; the gap "
        "between the dotted and the solid line shows how far the network has merely memorised its training images.",
    ),
    (
        "widths",
        "What is left of each layer",
        figures.widths,
        "Bars are the dense network's channels, layer by layer from the image on; the marks of a line are how many of "
        "them a trial kept.",
    ),
    (
        "parameters",
        "Settings and results side by side",
        figures.parallel_coordinates,
        "Each line is a trial: where it crosses an axis is its value of that setting, and the last axes are its "
        "results. Where the lines of good trials meet on an axis, that setting is worth choosing.",
    ),
    (
        "importances",
        "Which settings matter",
        figures.importances,
        "The longer the bar, the more the setting separates the best trials from the others, within the ranges "
        "searched.",
    ),
    (
        "stopped",
        "What was stopped early",
        figures.stopped_by_rung,
        "Crosses are trials stopped after that epoch, rings those that continued. A cross above rings was stopped for "
        "its cost, or before the others had caught up.",
    ),
    (
        "hypervolume",
        "How the search progressed",
        figures.hypervolume_history,
        "Each step up is a trial that improves on all earlier ones in accuracy, in cost or in the balance of the two; "
        "a long flat end suggests that more trials of this kind would add little.",
    ),
    (
        "timeline",
        "What ran when",
        figures.timeline,
        "Each bar is a trial from start to end, in the row of the device it ran on; gaps are times when nothing ran "
        "there.",
    ),
)


def draw_figures(experiment: Experiment) -> Iterator[PageFigure]:
    """The figures that have something to show."""
    for name, heading, draw, reading in _FIGURES:
        figure = draw(experiment)
        if figure.data:
            yield _page_figure(name, heading, reading, figure)


def _page_figure(name: str, heading: str, reading: str, figure: go.Figure) -> PageFigure:
    title = figure.layout.title
    texts = (_plain_title(title.text), _plain_title(title.subtitle.text))
    saved = (figure.layout.margin.t or 0) - _TOP_PIXELS
    height = int((figure.layout.height or 450) - saved)
    figure.update_layout(title=None, margin={"t": _TOP_PIXELS}, height=height)
    return PageFigure(name, heading, *texts, reading, height, escape_script(figure.to_json()))


def escape_script(json: str) -> str:
    """The same JSON, without anything that could end the script element it stands in."""
    return re.sub("[<>&\u2028\u2029]", lambda found: f"\\u{ord(found[0]):04x}", json)


def _plain_title(text: str | None) -> str:
    """A figure's title as plain text: its line breaks are plotly's, all else in it is literal."""
    return html.unescape(" ".join((text or "").split("<br>")))
