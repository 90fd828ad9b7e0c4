"""How all figures look: one template, a fixed colour a family, titles that wrap, texts that cannot do anything.

Plotly renders a subset of HTML, links among it, in every text of a figure; so whatever comes out of a record goes
through `shown` before it is drawn. Figures have no width of their own: they fill what they are put into.
"""

import html
import re
import textwrap
from collections.abc import Iterable

import plotly.graph_objects as go

from analysis.text import printable

INK, MUTED, GRID = "#222222", "#666666", "#E6E6E6"
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

_FONT = "Inter, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'Liberation Sans', sans-serif"
_AXIS = {
    "automargin": True,
    "gridcolor": GRID,
    "zeroline": False,
    "linecolor": "#999999",
    "showline": True,
    "ticks": "outside",
    "tickcolor": "#999999",
    "ticklen": 4,
    "title": {"standoff": 8},
}
_TITLE_PIXELS, _NOTE_PIXELS = 15, 12
# So many characters fit on a line of a figure that is 380 pixels wide.
_TITLE_CHARACTERS, _NOTE_CHARACTERS = 48, 62

# For `write_html` and `show`: figures follow the width of their page, and no buttons lie over their titles. Dragging
# zooms, a double click resets.
CONFIG = {"responsive": True, "displayModeBar": False}

TEMPLATE = go.layout.Template(
    layout={
        "font": {"family": _FONT, "size": 12, "color": INK},
        "colorway": list(FAMILY_COLOURS.values()),
        "paper_bgcolor": "white",
        "plot_bgcolor": "white",
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
        "hoverlabel": {"align": "left", "bgcolor": "white", "font": {"family": _FONT, "size": 12}},
        "hovermode": "closest",
        # Where buttons are shown all the same, none may send the figure to plotly's servers.
        "modebar": {"remove": ["sendChartToCloud", "lasso2d", "select2d"]},
        "annotationdefaults": {"showarrow": False, "font": {"size": 11, "color": MUTED}},
    }
)


def figure(title: str, note: str = "", height: int = 440) -> go.Figure:
    """A figure without traces. title: the sentence that says what is seen; note: what the reader must know to read it.

    Both are plain text: what a record says in them is shown as it stands there. height: in pixels.
    """
    titles, notes = _lines(title, _TITLE_CHARACTERS), _lines(note, _NOTE_CHARACTERS)
    # Plotly makes no room for titles of several lines.
    top = 26 + round(1.3 * (len(titles) * _TITLE_PIXELS + len(notes) * _NOTE_PIXELS)) + (8 if notes else 0)
    drawn = go.Figure()
    drawn.update_layout(
        template=TEMPLATE,
        title={"text": "<br>".join(titles), "subtitle": {"text": "<br>".join(notes)}},
        margin={"l": 12, "r": 16, "t": top, "b": 12},
        height=height + top,
        autosize=True,
    )
    return drawn


def sentence(text: str) -> go.Figure:
    """A figure of one sentence, for where there is nothing to draw."""
    drawn = figure(text, height=20)
    drawn.update_layout(xaxis={"visible": False}, yaxis={"visible": False})
    drawn.update_layout(title={"font": {"size": _TITLE_PIXELS - 1, "color": MUTED}})
    return drawn


def shown(text: str, longest: int = 60) -> str:
    """Text out of a record as a figure may have it: on one line, at most `longest` characters, all of them literal."""
    plain = printable(text)
    return html.escape(plain if len(plain) <= longest else plain[: longest - 1] + "…", quote=False)


def hover(lines: Iterable[str]) -> str:
    """Plain lines as the text of a hover label."""
    return "<br>".join(shown(line, 90) for line in lines if line)


def family_colour(family: str | None) -> str:
    """The family's colour, the same in all figures."""
    return FAMILY_COLOURS.get(family or "", OTHER_COLOUR)


def control_colour(control: str) -> str:
    """The grey of a kind of control, the same in all figures."""
    return CONTROL_COLOURS.get(control, OTHER_COLOUR)


def control_symbol(control: str) -> str:
    """The mark of a kind of control, the same in all figures."""
    return CONTROL_SYMBOLS.get(control, OTHER_SYMBOL)


def shade(colour: str, step: int, steps: int) -> str:
    """The step-th of `steps` shades of a colour (#RRGGBB), from itself (step 0) towards a pale one."""
    part = 0.55 * step / max(1, steps - 1)
    channels = (int(colour[index : index + 2], 16) for index in (1, 3, 5))
    return "#" + "".join(f"{round(channel + (255 - channel) * part):02X}" for channel in channels)


def _lines(text: str, characters: int) -> list[str]:
    """The text escaped, in as few lines as fit and those of about equal length."""
    plain = re.sub(r"(?<=[0-9]) (?=%|(s|ms|M|MB|MiB)\b)", "\N{NO-BREAK SPACE}", printable(text))
    fewest = len(textwrap.wrap(plain, characters))
    while fewest and characters > 10 and len(textwrap.wrap(plain, characters - 1)) == fewest:
        characters -= 1
    return [html.escape(line, quote=False) for line in textwrap.wrap(plain, characters)]
