from dataclasses import replace

from experiments import ExperimentBuilder

from analysis import Experiment
from analysis.figures import iterations
from analysis.figures.iterations import iterations_info
from analysis.labels import label_trial
from analysis.text import format_percent
from records.trial import Parent


def test_branches_go_on_where_they_began(full: Experiment) -> None:
    info = iterations_info(full)
    begun = full.epochs[(full.epochs.index == 52) & (full.epochs["epoch"] == 10)]["alpha"].item()
    labels = [iteration.label for iteration in info.iterations]
    origins = ["", f" from alpha {begun:.3g}", " from alpha 0"]
    assert labels == [f"{label_trial(full.trials, 52 + step)}{origin}" for step, origin in enumerate(origins)]
    # 20 epochs, then 10 and 6 of their own.
    assert [iteration.epochs for iteration in info.iterations] == [
        tuple(range(1, 21)),
        tuple(range(21, 31)),
        tuple(range(31, 37)),
    ]
    own = full.epochs[(full.epochs.index == 54) & (full.epochs["epoch"] > 14)]
    assert info.iterations[2].val_accuracy == tuple(own["val_accuracy"])
    assert info.iterations[2].train_accuracy == tuple(own["train_accuracy"])
    # 54 began after the cut, so it has none of its own.
    assert info.cuts == (12, 22)
    assert info.trial == label_trial(full.trials, 52)


def test_the_title_says_how_each_ended(full: Experiment) -> None:
    for number in (52, 53, 54):
        assert format_percent(full.trials.loc[number, "val_accuracy"]) in iterations_info(full).title


def test_the_drawing_has_both_curves_of_each(full: Experiment) -> None:
    info, figure = iterations_info(full), iterations(full)
    drawn = {tuple(trace.y) for trace in figure.data}
    assert drawn == {each.val_accuracy for each in info.iterations} | {each.train_accuracy for each in info.iterations}
    assert [trace.x[0] for trace in figure.data if trace.showlegend] == [each.epochs[0] for each in info.iterations]


def test_siblings_are_all_shown_and_other_families_are_not(synthetic: ExperimentBuilder) -> None:
    first, second = synthetic.add_searched(), synthetic.add_searched()
    synthetic.add_branch(first, 2, 0.1)
    synthetic.add_branch(second, 2, 0.1)
    synthetic.add_branch(second, 3, 0.01)
    numbers = [iteration.label.split()[0] for iteration in iterations_info(synthetic.load()).iterations]
    assert numbers == [str(second.number), "3", "4"]


def test_without_branches_the_learning_rates_steps_up_are_the_iterations(synthetic: ExperimentBuilder) -> None:
    trial = synthetic.add_restarting((0.001, 0.01, 0.1))
    info = iterations_info(synthetic.load())
    labels = [iteration.label for iteration in info.iterations]
    assert labels == ["alpha phase, learning rate 0.01", *(f"learning rate {rate}" for rate in (0.001, 0.01, 0.1))]
    rows = synthetic.load().epochs
    assert sum((iteration.val_accuracy for iteration in info.iterations), ()) == tuple(rows["val_accuracy"])
    assert info.cuts == (int((rows["phase"] == "alpha").sum()),)
    assert trial.number == 0


def test_a_running_trial_serves_where_none_is_complete(synthetic: ExperimentBuilder) -> None:
    synthetic.add_restarting((0.001, 0.01), state="running", epochs=3)
    longer = synthetic.add_restarting((0.001, 0.01), state="running", epochs=5)
    info = iterations_info(synthetic.load())
    assert sum(len(iteration.epochs) for iteration in info.iterations) == 5
    assert longer.number == 1


def test_without_either_it_says_so(synthetic: ExperimentBuilder) -> None:
    synthetic.add_searched()
    assert iterations_info(synthetic.load()).title.startswith("No trial has been branched and none restarts")


def test_a_branch_that_has_not_begun_or_whose_parent_is_lost(synthetic: ExperimentBuilder) -> None:
    first = synthetic.add_searched()
    branch = synthetic.add_branch(first, 5, 0.1)
    branch.rows_path.write_bytes(b"")
    assert len(iterations_info(synthetic.load()).iterations) == 1
    first.record_path.unlink()
    assert iterations_info(synthetic.load()).iterations == ()


def test_trials_that_claim_each_other_as_parents(synthetic: ExperimentBuilder) -> None:
    first = synthetic.add_searched()
    second = synthetic.add_branch(first, 5, 0.1)
    first.write_record(replace(first.read_record(), parent=Parent(number=second.number, epoch=1, alpha=0.5)))
    assert len(iterations_info(synthetic.load()).iterations) == 2


def test_a_foreign_list_of_begun_epochs_counts_as_none(synthetic: ExperimentBuilder) -> None:
    first = synthetic.add_searched()
    branch = synthetic.add_branch(first, 5, 0.1)
    for begun in ("many", [[]], {"a": 1}, 7, None):
        record = branch.read_record()
        branch.write_record(replace(record, config=record.config | {"begun": begun}))
        info = iterations_info(synthetic.load())
        assert [len(iteration.epochs) for iteration in info.iterations] == [20, 20]
