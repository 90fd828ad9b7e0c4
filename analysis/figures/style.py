"""How all figures look: one template, a fixed colour for each family, titles that wrap, texts that are inert.

Plotly renders a subset of HTML, links among it, in every text of a figure; so whatever comes out of a record goes
through `literal_text` before it is drawn. Figures have no width of their own: they fill what they are put into.
"""

import html
import re
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import plotly.graph_objects as go

from analysis.labels import TrialLabel
from analysis.text import printable, shorten_text

INK, MUTED, GRID, PAPER, AXIS = "#222222", "#666666", "#E6E6E6", "#FFFFFF", "#999999"
FAINT, BARS, HOLLOW = "#BBBBBB", "#E3E3E3", "rgba(255, 255, 255, 0.7)"
# Okabe & Ito (2008), told apart with any colour vision; controls are grey.
FAMILY_COLOURS = {
    "exponential": "#0072B2",
    "multiplicative": "#E69F00",
    "time_based": "#009E73",
    "polynomial": "#D55E00",
    "cosine": "#CC79A7",
    "piecewise": "#56B4E9",
}
CONTROL_COLOURS = {"one_shot": "#333333", "random_channels": "#777777", "from_scratch": "#A3A3A3"}
CONTROL_SYMBOLS = {"one_shot": "diamond", "random_channels": "square", "from_scratch": "triangle-up"}
STATE_COLOURS = {"complete": "#4C78A8", "running": "#F0B94A", "stopped": "#B8B8B8", "failed": "#B5304A"}
OTHER_COLOUR, OTHER_SYMBOL = "#8C6D46", "pentagon"
# From the lowest values to the highest.
SCALE_COLOURS = ("#C3D0DC", "#93B3D0", "#5E93C4", "#2A6BAE", "#0B3C6F")
# What stands on a dark page for the colours that need a light one.
DARK_COLOURS = {
    **{INK: "#E6EAEE", MUTED: "#A3ADB7", GRID: "#2B323A", PAPER: "#14181D", AXIS: "#66707A", FAINT: "#4A525A"},
    **{BARS: "#303840", HOLLOW: "rgba(20, 24, 29, 0.7)"},
    **{"#0072B2": "#3D9BD9", "#4C78A8": "#7AA3CF"},
    **{"#333333": "#DADADA", "#777777": "#A8A8A8", "#A3A3A3": "#7F7F7F"},
    **dict(zip(SCALE_COLOURS, ("#37434F", "#3F6388", "#4C86BC", "#7DB2E3", "#D2E8FF"), strict=True)),
}

_FONT = "Inter, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'Liberation Sans', sans-serif"
_AXIS = {
    **{"automargin": True, "title": {"standoff": 8}, "gridcolor": GRID, "zeroline": False},
    **{"showline": True, "linecolor": AXIS, "ticks": "outside", "tickcolor": AXIS, "ticklen": 4},
}
_TITLE_PIXELS, _NOTE_PIXELS = 15, 12
# How many characters fit on a line of a figure that is 380 pixels wide.
_TITLE_CHARACTERS, _NOTE_CHARACTERS = 48, 62

# For `write_html` and `show`: figures follow the width of their page, and no buttons lie over their titles. Dragging
# zooms, a double click resets.
CONFIG = {"responsive": True, "displayModeBar": False}

TEMPLATE = go.layout.Template(
    layout={
        "font": {"family": _FONT, "size": 12, "color": INK},
        "colorway": list(FAMILY_COLOURS.values()),
        "paper_bgcolor": PAPER,
        "plot_bgcolor": PAPER,
        "xaxis": _AXIS,
        "yaxis": _AXIS,
        "title": {
            **{"x": 0, "xref": "container", "xanchor": "left", "y": 1, "yref": "container", "yanchor": "top"},
            "pad": {"l": 12, "t": 18},
            "font": {"size": _TITLE_PIXELS, "color": INK},
            "subtitle": {"font": {"size": _NOTE_PIXELS, "color": MUTED}},
        },
        "legend": {
            **{"orientation": "h", "x": 0, "xref": "container", "xanchor": "left"},
            **{"y": 0, "yref": "container", "yanchor": "bottom"},
            **{"itemsizing": "constant", "font": {"size": 11}, "itemwidth": 30, "tracegroupgap": 0},
        },
        "hoverlabel": {"align": "left", "bgcolor": PAPER, "font": {"family": _FONT, "size": 12}},
        "hovermode": "closest",
        # Where buttons are shown all the same, none may send the figure to plotly's servers.
        "modebar": {"remove": ["sendChartToCloud", "lasso2d", "select2d"]},
        "annotationdefaults": {"showarrow": False, "font": {"size": 11, "color": MUTED}},
    }
)


@dataclass(frozen=True)
class FigureInfo:
    """What a figure shows. title: in a sentence, or why there is nothing to draw; note: how to read it."""

    title: str
    note: str = ""


def blank_figure(title: str, note: str = "", height: int = 440) -> go.Figure:
    """A figure without traces. title: a sentence that says what it shows; note: what the reader must know to read it.

    Both are plain text: any markup from a record is shown as it is. height: in pixels.
    """
    titles, notes = _wrap_lines(title, _TITLE_CHARACTERS), _wrap_lines(note, _NOTE_CHARACTERS)
    # Plotly makes no room for titles of several lines.
    top = 26 + round(1.3 * (len(titles) * _TITLE_PIXELS + len(notes) * _NOTE_PIXELS)) + (8 if notes else 0)
    return go.Figure(
        layout={
            "template": TEMPLATE,
            "title": {"text": "<br>".join(titles), "subtitle": {"text": "<br>".join(notes)}},
            "margin": {"l": 12, "r": 16, "t": top, "b": 12},
            **{"height": height + top, "autosize": True},
        }
    )


def sentence_figure(text: str) -> go.Figure:
    """A figure of one sentence, for where there is nothing to draw."""
    drawn = blank_figure(text, height=20)
    drawn.update_layout(xaxis={"visible": False}, yaxis={"visible": False})
    drawn.update_layout(title={"font": {"size": _TITLE_PIXELS - 1, "color": MUTED}})
    return drawn


def literal_text(text: str, longest: int = 60) -> str:
    """Text out of a record as a figure may have it: on one line, at most `longest` characters, all of them literal."""
    return html.escape(shorten_text(text, longest), quote=False)


def hover_text(lines: Iterable[str]) -> str:
    """Plain lines as the text of a hover label."""
    return "<br>".join(literal_text(line, 90) for line in lines if line)


def step_line(epochs: Sequence[int], values: Sequence[float]) -> dict[str, tuple[float, ...]]:
    """x and y of a line of shape `hv` for what does not change within an epoch: epoch e reaches from e - 1 to e."""
    return {"x": (max(0, epochs[0] - 1), *epochs), "y": (*values, values[-1])}


def trial_colour(trial: TrialLabel) -> str:
    """The colour of the trial's family, or the grey of its kind of control: the same in all figures."""
    if trial.control is not None:
        return CONTROL_COLOURS.get(trial.control, OTHER_COLOUR)
    return FAMILY_COLOURS.get(trial.family or "", OTHER_COLOUR)


def trial_colours(trials: Sequence[TrialLabel]) -> list[str]:
    """The colour of each trial, in shades where several have the same."""
    plain = [trial_colour(trial) for trial in trials]
    return [
        shade_colour(colour, plain[:index].count(colour), plain.count(colour)) for index, colour in enumerate(plain)
    ]


def control_symbol(trial: TrialLabel) -> str:
    """The mark of the trial's kind of control, a circle for all others: the same in all figures."""
    return "circle" if trial.control is None else CONTROL_SYMBOLS.get(trial.control, OTHER_SYMBOL)


def shade_colour(colour: str, step: int, steps: int) -> str:
    """The step-th of `steps` shades of a colour (#RRGGBB), from itself (step 0) towards a pale one."""
    part = 0.55 * step / max(1, steps - 1)
    channels = (int(colour[index : index + 2], 16) for index in (1, 3, 5))
    return "#" + "".join(f"{round(channel + (255 - channel) * part):02X}" for channel in channels)


def _wrap_lines(text: str, characters: int) -> list[str]:
    """The text escaped, in as few lines as fit and those of about equal length."""
    plain = re.sub(r"(?<=[0-9]) (?=(s|ms|M|MB)\b)", "\N{NO-BREAK SPACE}", printable(text))
    wrap = partial(textwrap.wrap, plain, break_on_hyphens=False)
    fewest = len(wrap(characters))
    while fewest and characters > 10 and len(wrap(characters - 1)) == fewest:
        characters -= 1
    return [html.escape(line, quote=False) for line in wrap(characters)]
