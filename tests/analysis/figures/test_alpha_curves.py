from experiments import ExperimentBuilder

from analysis import Experiment
from analysis.figures import alpha_curves
from analysis.figures.alpha_curves import alpha_curves_info
from analysis.figures.selection import choose_trials


def test_a_curve_for_the_best_of_each_family(full: Experiment) -> None:
    info = alpha_curves_info(full)
    assert [curve.trial for curve in info.curves] == [one for one in choose_trials(full) if one.control is None]
    for curve in info.curves:
        rows = full.epochs[full.epochs.index == curve.trial.number]
        assert curve.alpha == (1.0, *rows["alpha"])
        assert curve.epochs == (0, *rows["epoch"])
        assert list(curve.alpha) == sorted(curve.alpha, reverse=True)
    cuts = [sum(alpha > 0 for alpha in curve.alpha[1:] if alpha is not None) for curve in info.curves]
    assert info.cut == max(cuts)


def test_the_title_names_the_most_accurate(full: Experiment) -> None:
    best = full.rank(by="pruned_val_accuracy", where="control == None", top=1).index[0]
    info = alpha_curves_info(full)
    assert info.curves[0].trial.number == best
    assert str(info.curves[0].trial) in info.title


def test_the_drawing_has_the_curves(full: Experiment) -> None:
    """As steps: what is alpha in an epoch is so from the end of the one before it."""
    info, figure = alpha_curves_info(full), alpha_curves(full)
    for trace, curve in zip(figure.data, info.curves, strict=True):
        assert trace.line.shape == "hv"
        assert tuple(trace.x) == (0, *curve.epochs)
        assert tuple(trace.y) == (*curve.alpha, curve.alpha[-1])
        assert trace.meta == curve.trial.number
    assert figure.layout.xaxis.range == (0, 20)


def test_controls_have_no_curve(synthetic: ExperimentBuilder) -> None:
    synthetic.add_control("one_shot")
    assert alpha_curves_info(synthetic.load()).curves == ()
