"""Accuracy against each searched parameter by itself."""

import math
from dataclasses import dataclass

import plotly.graph_objects as go

from analysis.experiment import Experiment
from analysis.figures.parameters.parallel_coordinates import ParameterAxis, parallel_coordinates_info
from analysis.figures.selection import view_floor
from analysis.figures.style import (
    INK,
    FigureInfo,
    blank_figure,
    hover_text,
    literal_text,
    sentence_figure,
    trial_colour,
)
from analysis.labels import TrialLabel
from analysis.text import format_count, format_percent

_PANELS_IN_A_ROW, _PANEL_PIXELS = 4, 200


@dataclass(frozen=True)
class SlicesInfo(FigureInfo):
    """axes: a panel each. accuracies: of the trials, on the validation images. floor: see selection.view_floor."""

    trials: tuple[TrialLabel, ...] = ()
    accuracies: tuple[float, ...] = ()
    axes: tuple[ParameterAxis, ...] = ()
    floor: float | None = None


def slices_info(experiment: Experiment) -> SlicesInfo:
    """The trials and parameters of the parallel coordinates."""
    lines = parallel_coordinates_info(experiment)
    axes = lines.axes[:-2]
    if not axes:
        return SlicesInfo(
            "No parameter varies among the complete trials of the search."
            if lines.axes
            else "Fewer than two trials of the search are complete, so no parameter can be set against accuracy."
        )
    title = f"Validation accuracy against each of the {format_count(len(axes), 'parameter')} that vary."
    title = "Validation accuracy against the only parameter that varies." if len(axes) == 1 else title
    floor, note = view_floor(lines.accuracies), lines.note
    if floor is not None:
        below = format_count(sum(accuracy < floor for accuracy in lines.accuracies), "trial")
        note = f"{note} {below} below {format_percent(floor, 1)} out of view.".strip()
    return SlicesInfo(title, note, lines.trials, lines.accuracies, axes, floor)


def slices(experiment: Experiment) -> go.Figure:
    """A panel for each parameter, with a mark for each trial in the colour of its family."""
    info = slices_info(experiment)
    if not info.axes:
        return sentence_figure(info.title)
    columns = min(_PANELS_IN_A_ROW, len(info.axes))
    rows = math.ceil(len(info.axes) / columns)
    drawn = blank_figure(info.title, info.note, height=60 + _PANEL_PIXELS * rows)
    drawn.set_subplots(
        **{
            "rows": rows,
            "cols": columns,
            "shared_yaxes": True,
            "subplot_titles": [literal_text(axis.name, 30) for axis in info.axes],
        },
        specs=[
            [{} if row * columns + column < len(info.axes) else None for column in range(columns)]
            for row in range(rows)
        ],
        **{"horizontal_spacing": 0.02, "vertical_spacing": 80 / (60 + _PANEL_PIXELS * rows)},
    )
    families: dict[str, list[int]] = {}
    for index, trial in enumerate(info.trials):
        families.setdefault(trial.group, []).append(index)
    for place, axis in enumerate(info.axes):
        panel = {"row": place // columns + 1, "col": place % columns + 1}
        for family, indices in sorted(families.items()):
            drawn.add_scatter(
                **panel,
                x=[axis.positions[index] for index in indices],
                y=[info.accuracies[index] for index in indices],
                mode="markers",
                marker={"color": trial_colour(info.trials[indices[0]]), "size": 6, "opacity": 0.8},
                name=literal_text(family),
                legendgroup=literal_text(family),
                showlegend=place == 0,
                customdata=[info.trials[index].number for index in indices],
                hovertext=[
                    hover_text(
                        [
                            info.trials[index].text,
                            f"{axis.name}: {axis.texts[index]}",
                            f"{format_percent(info.accuracies[index])} of the validation images",
                        ]
                    )
                    for index in indices
                ],
                hovertemplate="%{hovertext}<extra></extra>",
            )
        drawn.update_xaxes(
            **panel,
            tickfont={"size": 10},
            range=[-0.08, 1.08],
            tickvals=[position for position, _ in axis.ticks],
            ticktext=[literal_text(text, 12) for _, text in axis.ticks],
        )
    drawn.update_annotations(font={"size": 12, "color": INK})
    drawn.update_yaxes(tickformat=".0%")
    drawn.update_yaxes(title_text="validation accuracy", col=1)
    if info.floor is not None:
        high = max(info.accuracies)
        margin = 0.06 * max(high - info.floor, 0.01)
        drawn.update_yaxes(range=[info.floor - margin, high + margin])
    return drawn
