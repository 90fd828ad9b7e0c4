from dataclasses import replace

from experiments import DENSE, ExperimentBuilder

from analysis import Experiment
from analysis.figures import widths
from analysis.figures.selection import choose_trials
from analysis.figures.widths import widths_info


def test_widths_are_those_of_the_records(full: Experiment, synthetic: ExperimentBuilder) -> None:
    trial = synthetic.add_searched()
    info = widths_info(synthetic.load(), [trial.number])
    [(one, kept)] = info.trials
    assert one.number == trial.number
    cut = trial.read_record().cut
    assert cut is not None
    assert kept == cut.widths
    assert info.dense == (64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)


def test_by_default_the_best_of_each_family(full: Experiment) -> None:
    assert tuple(one for one, _ in widths_info(full).trials) == choose_trials(full)


def test_the_title_counts_channels(synthetic: ExperimentBuilder) -> None:
    trial = synthetic.add_searched()
    record = trial.read_record()
    assert record.cut is not None
    trial.write_record(replace(record, cut=replace(record.cut, widths=(64, 32, *([64] * 11)))))
    title = widths_info(synthetic.load()).title
    assert "cuts 3,424 of 4,224 channels (81%): most in layer 8 (88%), fewest in layer 1 (0%)." in title


def test_the_drawing_has_the_widths(full: Experiment) -> None:
    info, figure = widths_info(full), widths(full)
    assert tuple(figure.data[0].y) == info.dense
    assert [tuple(trace.y) for trace in figure.data[1:]] == [kept for _, kept in info.trials]
    assert all(tuple(trace.x) == tuple(range(1, 14)) for trace in figure.data)


def test_a_trial_that_is_not_cut_is_left_out(synthetic: ExperimentBuilder) -> None:
    synthetic.add_searched(state="running", epochs=1)
    assert widths_info(synthetic.load(), [0]).trials == ()


def test_a_dense_network_of_another_depth(synthetic: ExperimentBuilder) -> None:
    synthetic.add_searched()
    experiment = replace(synthetic.load(), dense=replace(DENSE, widths=(64, 64)))
    assert widths_info(experiment).title.endswith("channels in 13 layers.")
    assert len(widths(experiment).data) == 2


def test_a_record_that_is_lost_after_loading_is_only_missed_where_it_was_not_read(synthetic: ExperimentBuilder) -> None:
    folder = synthetic.add_searched()
    experiment = synthetic.load()
    folder.record_path.unlink()
    assert len(widths_info(experiment).trials) == 1
    assert widths_info(replace(experiment, _records={})).trials == ()
