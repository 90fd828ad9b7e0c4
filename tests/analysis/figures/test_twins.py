import pytest
from experiments import ExperimentBuilder

from analysis import Experiment
from analysis.figures import twins
from analysis.figures.twins import twins_info
from analysis.rank.pairs import compare_with_twins
from trainable.schedules.alpha import Cosine, Exponential


@pytest.fixture
def paired(builder: ExperimentBuilder) -> Experiment:
    """A trial at 90% that gains, one at 75% that loses at equal compute and has a single pair at equal epochs."""
    many = builder.add_trial(1, (0.1, 0.2, 0.8), alpha=Cosine(), mac_sparsity=0.9)
    few = builder.add_trial(2, (0.1, 0.2, 0.9), alpha=Exponential())
    builder.add_trial(3, (0.1, 0.2, 0.9))
    for seed, accuracy in enumerate((0.8, 0.82, 0.81), start=1):
        builder.add_repeat(many, seed, accuracy)
        builder.add_twin(many, "compute", seed, accuracy - 0.02 + 0.001 * seed)
        builder.add_repeat(few, seed, accuracy)
        builder.add_twin(few, "compute", seed, accuracy + 0.02 + 0.001 * seed)
    builder.add_twin(few, "epochs", 1, 0.79)
    return builder.load()


def test_trials_are_grouped_by_the_amount_that_they_cut(paired: Experiment) -> None:
    info = twins_info(paired)
    assert [label.number for label, _, _ in info.trials] == [2, 1]
    assert [cut for _, cut, _ in info.trials] == pytest.approx([0.75, 0.9])
    assert info.ends == (1,)
    compared = [one for _, _, comparisons in info.trials for one in comparisons]
    assert sorted(compared, key=lambda one: one.number) == compare_with_twins(paired.trials)
    assert info.title == (
        "At equal compute, fading gains accuracy in 1 of 2 trials and loses it in 1; "
        "at equal epochs, it gains accuracy in 0 of 1 trial and loses it in 0."
    )
    assert info.note.endswith("Without whiskers: a single pair.")


def test_the_drawing_has_both_budgets_in_points_around_0(paired: Experiment) -> None:
    figure = twins(paired)
    compute, epochs = figure.data
    assert (compute.name, epochs.name) == ("equal compute", "equal epochs")
    assert compute.customdata == (2, 1)
    assert compute.x == pytest.approx((-2.2, 1.8))
    # Differences of -2.1, -2.2 and -2.3 points: s = 0.1 points, and Student's t is 4.303.
    assert compute.error_x.array == pytest.approx((0.2484, 0.2484), abs=1e-4)
    assert epochs.x == pytest.approx((1.0,))
    assert epochs.error_x.array == (None,)
    assert [shape.x0 for shape in figure.layout.shapes if shape.x0 == shape.x1] == [0]
    # A trial's two marks are in its row, the one of equal compute above.
    assert [round(y) for y in compute.y] == [1, 0]
    assert epochs.y[0] < compute.y[0]
    assert figure.layout.yaxis.ticktext[1] == "1 cosine<br>90% fewer MACs"
