"""How many channels each layer kept, beside the dense network."""

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from analysis.experiment import Experiment
from analysis.figures.style import control_colour, family_colour, figure, sentence, shade, shown
from analysis.labels import Who, chosen, count, percentage


@dataclass(frozen=True)
class Widths:
    """dense: output channels of each convolution, from the input on; empty where not known. trials: likewise."""

    title: str
    dense: tuple[int, ...]
    trials: tuple[tuple[Who, tuple[int, ...]], ...]


def widths_info(experiment: Experiment, numbers: Sequence[int] | None = None) -> Widths:
    """Widths of these trials' pruned networks; by default of the best of each family and of the best control.

    They are read from the trials' records; a trial without a cut is left out. Raises ValueError, in one line, for a
    number that no trial has.
    """
    trials = tuple((one, widths) for one in chosen(experiment, numbers) if (widths := _cut_widths(experiment, one)))
    if not trials:
        return Widths("No channels have been removed yet, so there are no widths to show.", (), ())
    dense = experiment.dense.widths if experiment.dense else ()
    return Widths(_title(dense, *trials[0]), dense, trials)


def widths(experiment: Experiment, numbers: Sequence[int] | None = None) -> go.Figure:
    """Channels by layer: the dense network's as bars, each trial's as a line of marks."""
    info = widths_info(experiment, numbers)
    if not info.trials:
        return sentence(info.title)
    drawn = figure(info.title)
    if info.dense:
        drawn.add_bar(
            x=list(range(1, len(info.dense) + 1)),
            y=info.dense,
            name="dense network",
            marker={"color": "#E3E3E3"},
            hovertemplate="dense network<br>layer %{x}: %{y} channels<extra></extra>",
        )
    colours = [
        family_colour(one.family) if one.control is None else control_colour(one.control) for one, _ in info.trials
    ]
    for index, (one, kept) in enumerate(info.trials):
        colour = shade(colours[index], colours[:index].count(colours[index]), colours.count(colours[index]))
        drawn.add_scatter(
            x=list(range(1, len(kept) + 1)),
            y=kept,
            mode="lines+markers",
            line={"color": colour, "width": 1.5, "dash": "solid" if one.control is None else "dot"},
            # Larger marks behind smaller ones, or the last of equal networks would hide all others.
            marker={"size": 5 + 9 * (len(info.trials) - 1 - index) / max(1, len(info.trials) - 1)},
            name=shown(one.label),
            hovertemplate="%{fullData.name}<br>layer %{x}: %{y} channels<extra></extra>",
        )
    layers = max(len(kept) for kept in (info.dense, *(kept for _, kept in info.trials)))
    drawn.update_xaxes(
        title_text="convolutional layer, from the input on", range=[0.3, layers + 0.7], dtick=1, showgrid=False
    )
    drawn.update_yaxes(title_text="output channels", rangemode="tozero")
    return drawn


def _cut_widths(experiment: Experiment, one: Who) -> tuple[int, ...]:
    try:
        cut = experiment.trial_record(one.number).cut
    except ValueError:  # damaged or lost since the experiment was loaded
        return ()
    return cut.widths if cut else ()


def _title(dense: tuple[int, ...], one: Who, kept: tuple[int, ...]) -> str:
    if len(dense) != len(kept) or not all(dense):
        return f"{one.label} keeps {count(sum(kept), 'channel')} in {count(len(kept), 'layer')}."
    shares = [after / before for after, before in zip(kept, dense, strict=True)]
    text = f"{one.label} keeps {sum(kept):,} of {sum(dense):,} channels ({percentage(sum(kept) / sum(dense), 0)})"
    low, high = min(shares), max(shares)
    if high - low < 0.1:
        return f"{text}, about as many in each layer."
    fewest, most = shares.index(low) + 1, shares.index(high) + 1
    return f"{text}: most in layer {most} ({percentage(high, 0)}), fewest in layer {fewest} ({percentage(low, 0)})."
