"""How many channels were cut from each layer of the dense network.

Layers whose channels are only removed together, such as those of a residual stream, count as one: the first of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from analysis.experiment import Experiment
from analysis.figures.selection import choose_trials
from analysis.figures.style import BARS, FigureInfo, blank_figure, literal_text, sentence_figure, trial_colours
from analysis.labels import TrialLabel
from analysis.text import format_count, format_percent


@dataclass(frozen=True)
class WidthsInfo(FigureInfo):
    """dense: output channels of each layer, starting at the input; empty where not known. trials: likewise. names: of
    the layers in the network; empty in records of earlier versions."""

    dense: tuple[int, ...] = ()
    trials: tuple[tuple[TrialLabel, tuple[int, ...]], ...] = ()
    names: tuple[str, ...] = ()


def widths_info(experiment: Experiment, numbers: Sequence[int] | None = None) -> WidthsInfo:
    """Widths of these trials' pruned networks; by default of the best of each family and of the best control.

    They are read from the trials' records; a trial that was never cut is left out. Raises ValueError, in one line, for
    a number that no trial has.
    """
    chosen = choose_trials(experiment, numbers)
    trials = tuple((trial, widths) for trial in chosen if (widths := _cut_widths(experiment, trial)))
    if not trials:
        return WidthsInfo("No channels have been removed yet, so there are no widths to show.")
    if experiment.dense is None:
        return WidthsInfo(_write_title((), *trials[0]), "", (), trials)
    dense, names = experiment.dense.widths, experiment.dense.groups
    return WidthsInfo(_write_title(dense, *trials[0]), _list_whole(experiment.dense.whole), dense, trials, names)


def widths(experiment: Experiment, numbers: Sequence[int] | None = None) -> go.Figure:
    """Channels by layer: the dense network's as bars, each trial's as a line of marks."""
    info = widths_info(experiment, numbers)
    if not info.trials:
        return sentence_figure(info.title)
    drawn = blank_figure(info.title)
    layers = max(len(kept) for kept in (info.dense, *(kept for _, kept in info.trials)))
    named = len(info.names) == layers
    layer = "layer %{x}, %{customdata}" if named else "layer %{x}"
    names = [literal_text(name) for name in info.names] if named else None
    if info.dense:
        drawn.add_bar(
            x=list(range(1, len(info.dense) + 1)),
            y=info.dense,
            name="dense network",
            marker={"color": BARS},
            customdata=names,
            hovertemplate=f"dense network<br>{layer}: %{{y}} channels<extra></extra>",
        )
    colours = trial_colours([trial for trial, _ in info.trials])
    for index, (trial, kept) in enumerate(info.trials):
        drawn.add_scatter(
            x=list(range(1, len(kept) + 1)),
            y=kept,
            mode="lines+markers",
            line={"color": colours[index], "width": 1.5, "dash": "solid" if trial.control is None else "dot"},
            # Larger marks behind smaller ones, or the last of equal networks would hide all others.
            marker={"size": 5 + 9 * (len(info.trials) - 1 - index) / max(1, len(info.trials) - 1)},
            name=literal_text(trial.text),
            meta=trial.number,
            customdata=names,
            hovertemplate=f"%{{fullData.name}}<br>{layer}: %{{y}} channels<extra></extra>",
        )
    drawn.update_xaxes(
        title_text="convolutional layer, starting at the input",
        range=[0.3, layers + 0.7],
        dtick=1 + layers // 30,
        showgrid=False,
    )
    drawn.update_yaxes(title_text="output channels", rangemode="tozero")
    return drawn


def _list_whole(whole: tuple[str, ...]) -> str:
    return f"Never cut: {'; '.join(whole)}." if whole else ""


def _cut_widths(experiment: Experiment, trial: TrialLabel) -> tuple[int, ...]:
    try:
        cut = experiment.trial_record(trial.number).cut
    except ValueError:
        return ()  # damaged or lost since the experiment was loaded
    return () if cut is None else cut.widths


def _write_title(dense: tuple[int, ...], trial: TrialLabel, kept: tuple[int, ...]) -> str:
    if len(dense) != len(kept) or not all(dense):
        return f"After its cut, {trial} has {format_count(sum(kept), 'channel')} in {format_count(len(kept), 'layer')}."
    shares = [1 - after / before for after, before in zip(kept, dense, strict=True)]
    cut = sum(dense) - sum(kept)
    text = f"{trial} cuts {cut:,} of {sum(dense):,} channels ({format_percent(cut / sum(dense), 0)})"
    low, high = min(shares), max(shares)
    if high - low < 0.1:
        return f"{text}, about the same share of each layer."
    most, fewest = (f"layer {shares.index(share) + 1} ({format_percent(share, 0)})" for share in (high, low))
    return f"{text}: most in {most}, fewest in {fewest}."
