import sys
from dataclasses import replace

import pandas as pd
import pytest
from experiments import ExperimentBuilder
from hypothesis import given
from hypothesis import strategies as st

from analysis import Experiment
from analysis.figures import timeline
from analysis.figures.timeline import TrialBar, _device_of_host, _stack_bars, timeline_info


def test_bars_are_the_trials_times(full: Experiment) -> None:
    bars = {bar.number: bar for bar in timeline_info(full).bars}
    assert sorted(bars) == full.trials.index.tolist()
    assert (bars[8].start, bars[8].end) == (full.trials.loc[8, "started"], full.trials.loc[8, "finished"])
    assert {bar.place for bar in bars.values()} == {"node-0 · cpu", "node-1 · NVIDIA H200"}
    assert bars[41].state == "failed"


def test_a_running_trial_reaches_to_the_last_time_known(full: Experiment) -> None:
    bar = next(bar for bar in timeline_info(full).bars if bar.state == "running")
    assert bar.end == full.trials["finished"].max()


def test_the_only_running_trial_reaches_to_where_its_rows_do(synthetic: ExperimentBuilder) -> None:
    synthetic.add_searched(state="running", epochs=9)
    [bar] = timeline_info(synthetic.load()).bars
    assert bar.end - bar.start == pd.Timedelta(seconds=9 * 6)


def test_the_drawing_has_the_bars(full: Experiment) -> None:
    info, figure = timeline_info(full), timeline(full)
    drawn = {
        (pd.Timestamp(start), length): trace.name
        for trace in figure.data
        for start, length in zip(trace.base, trace.x, strict=True)
    }
    assert drawn == {(bar.start, (bar.end - bar.start).total_seconds() * 1000): bar.state for bar in info.bars}


times = st.integers(0, 20).map(lambda hours: pd.Timestamp("2026-01-01", tz="UTC") + pd.Timedelta(hours=hours))


@given(st.lists(st.tuples(st.sampled_from("ab"), times, times), max_size=12))
def test_no_two_bars_of_a_row_overlap(values: list[tuple[str, pd.Timestamp, pd.Timestamp]]) -> None:
    bars = [TrialBar(n, place, 0, min(a, b), max(a, b), "complete", "") for n, (place, a, b) in enumerate(values)]
    stacked = _stack_bars(sorted(bars, key=lambda bar: (bar.place, bar.start, bar.number)))
    assert len(stacked) == len(bars)
    for one in stacked:
        for other in stacked:
            if one.number < other.number and (one.place, one.slot) == (other.place, other.slot):
                assert one.end <= other.start or other.end <= one.start


@pytest.mark.parametrize(
    ("host", "device", "place"),
    [
        ("node:123", "cpu", "node · cpu"),
        ("fe80::1:77", "NVIDIA H200", "fe80::1 · NVIDIA H200"),
        ("node", None, "node · device unknown"),
        (":5", "cpu", ":5 · cpu"),
        (None, "cpu", "host unknown · cpu"),
    ],
)
def test_a_place_is_a_device_of_a_host(host: str | None, device: str | None, place: str) -> None:
    assert _device_of_host(host, device) == place


@pytest.mark.parametrize(
    ("started", "finished"),
    [
        ("0001-01-01T00:00:00+00:00", "9999-12-31T23:59:59+00:00"),
        ("2026-01-02T00:00:00+00:00", "2026-01-01T00:00:00+00:00"),
        ("9999-12-31T23:59:59+00:00", None),
    ],
)
def test_times_that_cannot_be(synthetic: ExperimentBuilder, started: str, finished: str | None) -> None:
    folder = synthetic.add_searched()
    folder.write_record(replace(folder.read_record(), started=started, finished=finished))
    [bar] = timeline_info(synthetic.load()).bars
    assert bar.end >= bar.start
    timeline(synthetic.load())


def test_a_trial_that_was_not_started_has_no_bar(synthetic: ExperimentBuilder) -> None:
    synthetic.add_searched(state="running", epochs=0, started=None)
    assert timeline_info(synthetic.load()).title.startswith("No trial has been started yet")


def test_of_very_many_trials_the_last_are_drawn(full: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = timeline_info(full)
    monkeypatch.setattr(sys.modules[timeline.__module__], "MOST_BARS", 10)
    info = timeline_info(full)
    assert len(info.bars) == 10
    assert min(bar.end for bar in info.bars) >= max(bar.end for bar in set(whole.bars) - set(info.bars))
    assert info.title == whole.title
    assert info.note == "Only the last 10 of them are drawn."
