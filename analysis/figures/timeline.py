"""When each trial ran, and where."""

from dataclasses import dataclass, replace

import pandas as pd
import plotly.graph_objects as go

from analysis.columns import iterate_rows
from analysis.experiment import Experiment
from analysis.figures.style import (
    PAPER,
    STATE_COLOURS,
    FigureInfo,
    blank_figure,
    hover_text,
    literal_text,
    sentence_figure,
)
from analysis.labels import label_row
from analysis.text import format_count, format_duration

MOST_BARS = 1000


@dataclass(frozen=True)
class TrialBar:
    """A trial. start, end: UTC; slot: its row within its place, from 0, so that no two bars overlap."""

    number: int
    place: str
    slot: int
    start: pd.Timestamp
    end: pd.Timestamp
    state: str
    hover: str


@dataclass(frozen=True)
class TimelineInfo(FigureInfo):
    """bars: by place, then by start. A place is a device of a host."""

    bars: tuple[TrialBar, ...] = ()


def timeline_info(experiment: Experiment) -> TimelineInfo:
    """A bar for each trial that was started; one that has not ended reaches to its last row, or the last time known."""
    trials = experiment.trials[experiment.trials["started"].notna()]
    if trials.empty:
        return TimelineInfo("No trial has been started yet, so there is nothing to show.")
    started, finished = trials["started"], trials["finished"]
    # In microseconds, as the times are: nanoseconds reach to the year 2262 only, and a record can say more.
    took = pd.to_timedelta(trials["seconds"].fillna(0).clip(0, 1e8), unit="s").dt.as_unit("us")
    ran = started + took
    last = pd.concat([ran, finished]).max()
    ends = finished.where(finished >= started, ran).mask(trials["state"] == "running", last)
    bars = []
    for number, row in iterate_rows(trials):
        start, end, state = started[number], ends[number], str(row["state"])
        place = _device_of_host(*(None if pd.isna(row[name]) else row[name] for name in ("host", "device")))
        when = f"{start:%Y-%m-%d %H:%M:%S} UTC, {format_duration((end - start).total_seconds())}"
        lines = [label_row(number, row).text, f"{state} on {place}", when]
        bars.append(TrialBar(number, place, 0, start, end, state, hover_text(lines)))
    bars = _stack_bars(sorted(bars, key=lambda bar: (bar.place, bar.start, bar.number)))
    busy = sum((bar.end - bar.start).total_seconds() for bar in bars)
    span = (max(bar.end for bar in bars) - min(bar.start for bar in bars)).total_seconds()
    places = {bar.place for bar in bars}
    machines = {place.split(" · ")[0] for place in places}
    where = f"{format_count(len(places), 'device')} of {format_count(len(machines), 'host')}"
    title = f"{format_count(len(bars), 'trial')} ran on {where} within {format_duration(span)}"
    title += f", {busy / span:.2g} at a time on average." if span else "."
    newest = sorted(bars, key=lambda bar: (bar.end, bar.number))[-MOST_BARS:]
    if len(newest) == len(bars):
        return TimelineInfo(title, bars=tuple(bars))
    note = f"Only the last {len(newest):,} of them are drawn."
    return TimelineInfo(title, note, tuple(sorted(newest, key=lambda bar: (bar.place, bar.start, bar.number))))


def timeline(experiment: Experiment) -> go.Figure:
    """Bars from start to end, coloured by state; a place has a row for each trial that it runs at the same time."""
    info = timeline_info(experiment)
    if not info.bars:
        return sentence_figure(info.title)
    rows = {slot: index for index, slot in enumerate(sorted({(bar.place, bar.slot) for bar in info.bars}))}
    drawn = blank_figure(info.title, info.note, height=max(160, 110 + 22 * len(rows)))
    for state, colour in STATE_COLOURS.items():
        if bars := [bar for bar in info.bars if bar.state == state]:
            drawn.add_bar(
                base=[bar.start.isoformat() for bar in bars],
                x=[(bar.end - bar.start).total_seconds() * 1000 for bar in bars],
                y=[rows[bar.place, bar.slot] for bar in bars],
                width=0.85,
                orientation="h",
                marker={"color": colour, "line": {"color": PAPER, "width": 1}},
                text=[str(bar.number) for bar in bars],
                customdata=[bar.number for bar in bars],
                **{"textposition": "inside", "insidetextanchor": "middle", "textangle": 0},
                name=state,
                hovertext=[bar.hover for bar in bars],
                hovertemplate="%{hovertext}<extra></extra>",
            )
    first = {place: rows[place, slot] for place, slot in reversed(rows)}
    drawn.update_layout(barmode="overlay", uniformtext={"minsize": 9, "mode": "hide"}, showlegend=True)
    drawn.update_xaxes(type="date", title_text="time (UTC)", tickangle=0, nticks=5)
    drawn.update_yaxes(
        **{"tickvals": list(first.values()), "ticktext": [literal_text(place, 22) for place in first]},
        **{"autorange": "reversed", "showgrid": False, "ticks": ""},
    )
    return drawn


def _device_of_host(host: str | None, device: str | None) -> str:
    """A device of a host without the process number, which can differ from trial to trial."""
    name, _, process = (host or "host unknown").rpartition(":")
    return f"{name if name and process.isdecimal() else host or 'host unknown'} · {device or 'device unknown'}"


def _stack_bars(bars: list[TrialBar]) -> list[TrialBar]:
    """The bars, each in the first row of its place that is free when it starts."""
    free: dict[str, list[pd.Timestamp]] = {}
    stacked = []
    for bar in bars:
        ends = free.setdefault(bar.place, [])
        slot = next((slot for slot, end in enumerate(ends) if end <= bar.start), len(ends))
        ends[slot : slot + 1] = [bar.end]
        stacked.append(replace(bar, slot=slot))
    return stacked
