"""When each trial ran, and where."""

from dataclasses import dataclass, replace

import pandas as pd
import plotly.graph_objects as go

from analysis.experiment import Experiment
from analysis.figures.style import OTHER_COLOUR, STATE_COLOURS, figure, hover, sentence, shown
from analysis.labels import count, numbers_in, texts_in, who


@dataclass(frozen=True)
class Bar:
    """A trial. start, end: UTC; slot: the row of its place that it is drawn in, from 0, so that no two overlap."""

    number: int
    place: str
    slot: int
    start: pd.Timestamp
    end: pd.Timestamp
    state: str
    hover: str


@dataclass(frozen=True)
class Timeline:
    """bars: by place, then by start. A place is a device of a host."""

    title: str
    bars: tuple[Bar, ...]


def timeline_info(experiment: Experiment) -> Timeline:
    """A bar a trial that was started; what has not ended reaches to where its rows do, or the last time known."""
    trials = experiment.trials[experiment.trials["started"].notna()]
    if trials.empty:
        return Timeline("No trial has been started yet, so there is no time to show.", ())
    started, finished = trials["started"], trials["finished"]
    # In microseconds, as the times are: nanoseconds reach to the year 2262 only, and a record can say more.
    took = pd.to_timedelta(numbers_in(trials, "seconds").clip(0, 1e8), unit="s").dt.as_unit("us")
    ran = started + took
    last = pd.concat([ran, finished]).max()
    running = trials["state"] == "running"
    ends = finished.where(finished >= started, ran).where(~running, last)
    places = [
        _place(host, device) for host, device in zip(texts_in(trials, "host"), texts_in(trials, "device"), strict=True)
    ]
    bars = []
    for number, place in zip(trials.index, places, strict=True):
        start, end, state = started[number], ends[number], str(trials.loc[number, "state"])
        when = f"{start:%Y-%m-%d %H:%M:%S} UTC, {_duration((end - start).total_seconds())}"
        lines = [who(experiment.trials, int(number)).label, f"{state} on {place}", when]
        bars.append(Bar(int(number), place, 0, start, end, state, hover(lines)))
    bars = _stacked(sorted(bars, key=lambda bar: (bar.place, bar.start, bar.number)))
    busy = sum((bar.end - bar.start).total_seconds() for bar in bars)
    span = (max(bar.end for bar in bars) - min(bar.start for bar in bars)).total_seconds()
    hosts = len({bar.place.split(" · ")[0] for bar in bars})
    where = f"{count(len(set(places)), 'device')} of {count(hosts, 'host')}"
    title = f"{count(len(bars), 'trial')} ran on {where} within {_duration(span)}"
    return Timeline(title + (f", {busy / span:.1f} at a time on average." if span else "."), tuple(bars))


def timeline(experiment: Experiment) -> go.Figure:
    """Bars from start to end, coloured by state, a row for each trial that a place runs at the same time."""
    info = timeline_info(experiment)
    if not info.bars:
        return sentence(info.title)
    rows = {row: index for index, row in enumerate(dict.fromkeys((bar.place, bar.slot) for bar in _in_rows(info.bars)))}
    drawn = figure(info.title, height=max(160, 110 + 22 * len(rows)))
    for state in dict.fromkeys((*STATE_COLOURS, *(bar.state for bar in info.bars))):
        bars = [bar for bar in info.bars if bar.state == state]
        if bars:
            drawn.add_bar(
                base=[bar.start.isoformat() for bar in bars],
                x=[(bar.end - bar.start).total_seconds() * 1000 for bar in bars],
                y=[rows[bar.place, bar.slot] for bar in bars],
                width=0.85,
                orientation="h",
                marker={"color": STATE_COLOURS.get(state, OTHER_COLOUR), "line": {"color": "white", "width": 1}},
                text=[str(bar.number) for bar in bars],
                **{"textposition": "inside", "insidetextanchor": "middle", "textangle": 0},
                name=state,
                hovertext=[bar.hover for bar in bars],
                hovertemplate="%{hovertext}<extra></extra>",
            )
    first = {place: rows[place, slot] for place, slot in reversed(rows)}
    drawn.update_layout(barmode="overlay", uniformtext={"minsize": 9, "mode": "hide"}, showlegend=True)
    drawn.update_xaxes(type="date", title_text="time (UTC)", tickangle=0, nticks=5)
    drawn.update_yaxes(
        **{"tickvals": list(first.values()), "ticktext": [shown(place, 22) for place in first]},
        **{"autorange": "reversed", "showgrid": False, "ticks": ""},
    )
    return drawn


def _place(host: str | None, device: str | None) -> str:
    """A device of a host, whose process number goes: each trial can have another."""
    name, _, process = (host or "host unknown").rpartition(":")
    return f"{name if name and process.isdecimal() else host or 'host unknown'} · {device or 'device unknown'}"


def _stacked(bars: list[Bar]) -> list[Bar]:
    """The bars, each in the first row of its place that is free when it starts."""
    free: dict[str, list[pd.Timestamp]] = {}
    stacked = []
    for bar in bars:
        ends = free.setdefault(bar.place, [])
        slot = next((slot for slot, end in enumerate(ends) if end <= bar.start), len(ends))
        ends[slot : slot + 1] = [bar.end]
        stacked.append(replace(bar, slot=slot))
    return stacked


def _in_rows(bars: tuple[Bar, ...]) -> list[Bar]:
    return sorted(bars, key=lambda bar: (bar.place, bar.slot))


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"
