"""The figures of the report: which, in what order, how to read each, and what of them the page needs."""

import html
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import plotly.graph_objects as go

from analysis import figures
from analysis.experiment import Experiment

# The page says what a figure's own title does, in its own type; what is left is room for marks above the axes.
_TOP_PIXELS = 24


@dataclass(frozen=True)
class Drawn:
    """A figure on the page. title: what it shows, in a sentence; note, reading: how to read it. json: of plotly."""

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
        "A mark is a trial: the higher, the more accurate; the further left, the fewer multiply-accumulate "
        "operations. Circles are trials with alpha, coloured by schedule; grey marks are controls. Nothing lies both "
        "above and left of the stepped line, the front.",
    ),
    (
        "accuracy-latency",
        "Accuracy against measured latency",
        partial(figures.accuracy_against_measured, column="batch256_latency_ms"),
        "The same trials by the time that one pass of 256 images took: the further left, the faster. Only trials that "
        "were measured are in it.",
    ),
    (
        "accuracy-memory",
        "Accuracy against measured memory",
        partial(figures.accuracy_against_measured, column="peak_memory_bytes"),
        "The same trials by the most memory that they held while the test set ran: the further left, the less.",
    ),
    (
        "alpha",
        "How alpha fell",
        figures.alpha_curves,
        "A line is a trial: where it is at 1 the network is whole, and at 0 the channels are gone. A high step down "
        "to 0 at the end is a cut of what was not yet faded out.",
    ),
    (
        "epochs",
        "Epoch by epoch",
        figures.epochs_of,
        "A colour is a trial, followed through the panels from above: how accurate it is on images it was not trained "
        "on, how accurate on those it was, where alpha stands, and how large its steps are.",
    ),
    (
        "iterations",
        "Iterations",
        figures.iterations,
        "Each numbered stretch goes on from the one before it with other settings or another learning rate; a gap "
        "between dotted and solid line is how much the network has learnt by heart.",
    ),
    (
        "widths",
        "What is left of each layer",
        figures.widths,
        "Bars are the dense network's channels, layer by layer from the image on; a line's marks are how many of them "
        "a trial kept.",
    ),
    (
        "parameters",
        "Settings and outcome, side by side",
        figures.parallel_coordinates,
        "A line is a trial; where it crosses an axis is the setting that it had there, and the last axes are what "
        "came out. Lines of good trials that bundle on an axis tell which setting to choose.",
    ),
    (
        "importances",
        "Which settings matter",
        figures.importances,
        "The longer the bar, the more the setting tells the best trials from the others, in the ranges searched.",
    ),
    (
        "stopped",
        "What was stopped early",
        figures.stopped_by_rung,
        "Crosses were stopped behind that epoch, rings went on. A cross above rings was stopped for what it costs, or "
        "before the others had caught up with it.",
    ),
    (
        "hypervolume",
        "How the search went on",
        figures.hypervolume_history,
        "A step up is a trial that is better than all before it in accuracy, in cost, or in how it joins the two; a "
        "long flat end says that more trials of this kind would add little.",
    ),
    (
        "timeline",
        "When what ran",
        figures.timeline,
        "A bar is a trial from start to end, in the row of what it ran on; gaps are time in which nothing ran there.",
    ),
)


def drawn(experiment: Experiment) -> Iterator[Drawn]:
    """The figures that have something to show."""
    for name, heading, draw, reading in _FIGURES:
        figure = draw(experiment)
        if figure.data:
            yield _drawn(name, heading, reading, figure)


def _drawn(name: str, heading: str, reading: str, figure: go.Figure) -> Drawn:
    title = figure.layout.title
    texts = (_plain(title.text), _plain(title.subtitle.text))
    spared = (figure.layout.margin.t or 0) - _TOP_PIXELS
    height = int((figure.layout.height or 450) - spared)
    figure.update_layout(title=None, margin={"t": _TOP_PIXELS}, height=height)
    return Drawn(name, heading, *texts, reading, height, in_script(figure.to_json()))


def in_script(json: str) -> str:
    """JSON that says the same but holds nothing that could end the script element it stands in."""
    return re.sub("[<>&\u2028\u2029]", lambda found: f"\\u{ord(found[0]):04x}", json)


def _plain(text: str | None) -> str:
    """A figure's title as plain text: its line breaks are plotly's, all else in it is literal."""
    return html.unescape(" ".join((text or "").split("<br>")))
