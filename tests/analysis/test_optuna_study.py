import datetime
import json
import logging
import time
import warnings
from collections.abc import Iterator

import optuna
import pytest
from experiments import ExperimentBuilder, RecordFields
from optuna.distributions import CategoricalDistribution, FloatDistribution, distribution_to_json
from optuna.trial import TrialState

import analysis
from analysis.optuna_study import study_of
from records.trial import Parent

DISTRIBUTIONS = {
    "alpha.rate": distribution_to_json(FloatDistribution(1.0, 8.0)),
    "lr.policy": distribution_to_json(CategoricalDistribution(("cosine", "plateau"))),
}


def asked(rate: float, policy: str = "cosine") -> RecordFields:
    """What a record holds of a trial that the study asked for."""
    return {"params": {"alpha.rate": rate, "lr.policy": policy}, "distributions": DISTRIBUTIONS}


def objectives(builder: ExperimentBuilder, *names: str) -> None:
    builder.change_settings({"search": {"trials": 9, "objectives": list(names)}, "trial": {"epochs": 3}})


def study(builder: ExperimentBuilder) -> optuna.Study:
    return study_of(analysis.load(builder.path))


@pytest.fixture
def searched(builder: ExperimentBuilder) -> ExperimentBuilder:
    """Two objectives; a control, a branch and a repeat; trials that ended in every way."""
    objectives(builder, "pruned_val_accuracy", "macs")
    builder.write_dense(macs=400)
    builder.add_trial(0, control="one_shot")
    for number, accuracy in enumerate((0.9, 0.8, 0.7, 0.85), start=1):
        policy = "plateau" if number % 2 else "cosine"
        fields = asked(number + 0.5, policy)
        builder.add_trial(number, accuracies=(0.3, 0.4, accuracy), mac_sparsity=1 - number / 4, **fields)
    builder.add_trial(5, state="stopped", accuracies=(0.3, 0.4), **asked(1.5))
    builder.add_trial(6, state="failed", accuracies=(0.3,), error="CUDA out of memory", **asked(2.5))
    builder.add_trial(7, state="running", accuracies=(0.3, 0.4), **asked(3.5))
    builder.add_trial(8, parent=Parent(number=1, epoch=1))
    builder.add_trial(9, confirms=1, **asked(1.5))
    lost = builder.add_trial(10, **asked(4.5))
    lost.replace_rows(lost.read_rows()[:-1])
    return builder


def test_what_the_search_asked_for_is_in_the_study_as_it_ended(searched: ExperimentBuilder) -> None:
    found = study(searched)
    assert found.study_name == "demo"
    assert [direction.name for direction in found.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert found.metric_names == ["pruned_val_accuracy", "macs"]
    assert [trial.number for trial in found.trials] == list(range(8))
    assert [trial.user_attrs["number"] for trial in found.trials] == [1, 2, 3, 4, 5, 6, 7, 10]
    states = [TrialState.COMPLETE] * 4 + [TrialState.PRUNED, TrialState.FAIL, TrialState.RUNNING, TrialState.FAIL]
    assert [trial.state for trial in found.trials] == states
    assert [trial.values for trial in found.trials[:4]] == [[0.9, 100.0], [0.8, 200.0], [0.7, 300.0], [0.85, 400.0]]
    assert [trial.values for trial in found.trials[4:]] == [None] * 4
    assert all(trial.intermediate_values == {} for trial in found.trials)
    assert found.trials[0].params == {"alpha.rate": 1.5, "lr.policy": "plateau"}
    assert found.trials[0].distributions["alpha.rate"] == FloatDistribution(1.0, 8.0)
    assert [trial.number for trial in found.best_trials] == [0]


def test_attributes_say_what_is_known_and_fit_into_json(searched: ExperimentBuilder) -> None:
    trials = study(searched).trials
    first = trials[0].user_attrs
    assert first["accuracy_drop"] == pytest.approx(0.04)
    assert (first["seconds"], first["mac_sparsity"], first["epochs_done"]) == (6.75, 0.75, 3)
    assert "error" not in first
    assert trials[5].user_attrs["error"] == "CUDA out of memory"
    assert json.loads(json.dumps([trial.user_attrs for trial in trials])) == [trial.user_attrs for trial in trials]


@pytest.fixture
def tokyo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("tokyo")
def test_times_are_those_of_the_records(builder: ExperimentBuilder) -> None:
    builder.add_trial(0, finished="2026-01-02T03:05:05.678+00:00", **asked(1.5))
    created = "2026-01-02T00:00:00.000+00:00"
    builder.add_trial(1, state="running", accuracies=(), started=None, created=created, **asked(1.5))
    builder.add_trial(2, state="running", accuracies=(), **asked(1.5))
    first, second, third = study(builder).trials
    started = datetime.datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=datetime.UTC)
    assert first.datetime_start is not None
    assert first.datetime_start.astimezone(datetime.UTC) == started
    assert first.datetime_start == datetime.datetime(2026, 1, 2, 12, 4, 5, 678000)
    assert first.duration == datetime.timedelta(minutes=1)
    assert second.datetime_start is not None
    assert second.datetime_start.astimezone(datetime.UTC) == datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)
    assert third.datetime_complete is None


def test_one_objective_has_its_values_after_each_epoch(builder: ExperimentBuilder) -> None:
    objectives(builder, "pruned_val_accuracy")
    builder.add_trial(0, accuracies=(0.3, 0.4, 0.9), **asked(1.5))
    builder.add_trial(1, state="stopped", accuracies=(0.2, 0.25), **asked(2.5))
    builder.add_trial(2, state="stopped", accuracies=(), **asked(2.5))
    found = study(builder)
    assert [trial.intermediate_values for trial in found.trials] == [{1: 0.3, 2: 0.4, 3: 0.9}, {1: 0.2, 2: 0.25}, {}]
    assert [trial.state.name for trial in found.trials] == ["COMPLETE", "PRUNED", "PRUNED"]
    assert [trial.values for trial in found.trials] == [[0.9], [0.25], None]
    assert found.best_trial.number == 0
    assert len(optuna.visualization.plot_intermediate_values(found).data) == 2


def test_optunas_own_figures_and_importances_run_on_it(searched: ExperimentBuilder) -> None:
    found = study(searched)
    front = optuna.visualization.plot_pareto_front(found)
    assert [front.layout.xaxis.title.text, front.layout.yaxis.title.text] == ["pruned_val_accuracy", "macs"]
    assert sum(len(trace.x) for trace in front.data) == 4

    def wrong(trial: optuna.trial.FrozenTrial) -> float:
        return -trial.values[0]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that PED-ANOVA asks what makes the target low
        importances = optuna.importance.get_param_importances(found, target=wrong)
        figure = optuna.visualization.plot_param_importances(found, target=wrong, target_name="wrong")
    assert set(importances) == {"alpha.rate", "lr.policy"}
    assert sum(importances.values()) == pytest.approx(1.0)
    assert set(figure.data[0].y) == {"alpha.rate", "lr.policy"}
    history = optuna.visualization.plot_optimization_history(found, target=wrong, target_name="wrong")
    assert list(history.data[0].y) == [-0.9, -0.8, -0.7, -0.85]


def test_a_study_can_be_asked_for_more(searched: ExperimentBuilder) -> None:
    found = study(searched)
    found.sampler = optuna.samplers.TPESampler(seed=0, n_startup_trials=1)
    assert 1.0 <= found.ask({"alpha.rate": FloatDistribution(1.0, 8.0)}).params["alpha.rate"] <= 8.0


def test_making_it_says_nothing(searched: ExperimentBuilder) -> None:
    experiment = analysis.load(searched.path)
    said: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = said.append  # type: ignore[method-assign]
    logger = logging.getLogger("optuna")
    logger.addHandler(handler)
    optuna.logging.set_verbosity(optuna.logging.INFO)
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            study_of(experiment)
        assert optuna.logging.get_verbosity() == optuna.logging.INFO
        assert (said, warned) == ([], [])
        optuna.create_study()
        assert len(said) == 1  # what was kept quiet
    finally:
        logger.removeHandler(handler)


@pytest.mark.parametrize(
    "record",
    [
        {"params": {"x": 1.0}, "distributions": {}},
        {"params": {"x": 9.0}, "distributions": {"x": distribution_to_json(FloatDistribution(0.0, 1.0))}},
        {"params": {"x": 1.0}, "distributions": {"x": "\x1b[2Jno JSON"}},
        {"params": {"x": 1.0}, "distributions": {"x": "[]"}},
        {"params": {"x": 1.0}, "distributions": {"x": "7"}},
        {"params": {"x": 1.0}, "distributions": {"x": '{"name": "Nothing", "attributes": {}}'}},
        {"params": {"x": 1.0}, "distributions": {"x": '{"name": "FloatDistribution", "attributes": {"lower": 1}}'}},
        {"params": {"x": "a"}, "distributions": {"x": distribution_to_json(FloatDistribution(0.0, 1.0))}},
    ],
)
def test_what_optuna_did_not_write_is_left_out_with_a_warning(builder: ExperimentBuilder, record: RecordFields) -> None:
    builder.add_trial(0, **record)
    builder.add_trial(1, **asked(1.5))
    with pytest.warns(UserWarning, match=r"^trial 0 is not in the study: [^\x1b\n]*$"):
        found = study(builder)
    assert [trial.user_attrs["number"] for trial in found.trials] == [1]


def test_without_trials_or_objectives_it_is_an_empty_study(builder: ExperimentBuilder) -> None:
    builder.change_settings({})
    found = study(builder)
    assert found.trials == []
    assert found.metric_names == ["pruned_val_accuracy", "macs"]  # what a search optimises by default


def test_an_objective_that_is_no_column_is_said_once(builder: ExperimentBuilder) -> None:
    objectives(builder, "pruned_val_acuracy")
    with pytest.raises(ValueError, match="no column 'pruned_val_acuracy'; did you mean 'pruned_val_accuracy'"):
        study(builder)


def test_a_parameter_whose_choices_or_range_changed_has_all_of_them(builder: ExperimentBuilder) -> None:
    """Optuna compares only trials whose distributions are equal, so that the parameter would not count."""
    objectives(builder, "pruned_val_accuracy")
    changed = {
        "alpha.rate": distribution_to_json(FloatDistribution(4.0, 16.0)),
        "lr.policy": distribution_to_json(CategoricalDistribution(("plateau", "one_cycle"))),
    }
    for number in range(12):
        fields = asked(1 + number / 2, "cosine" if number % 2 else "plateau")
        if number > 5:
            fields["distributions"] = changed
            fields["params"] = {"alpha.rate": 4.0 + number, "lr.policy": "one_cycle" if number % 2 else "plateau"}
        builder.add_trial(number, accuracies=(0.3, 0.4, 0.5 + number / 30), **fields)
    found = study(builder)
    united = {
        "alpha.rate": FloatDistribution(1.0, 16.0),
        "lr.policy": CategoricalDistribution(("cosine", "plateau", "one_cycle")),
    }
    assert [trial.distributions for trial in found.trials] == [united] * 12
    assert found.trials[11].params == {"alpha.rate": 15.0, "lr.policy": "one_cycle"}
    assert set(optuna.importance.get_param_importances(found)) == set(united)


def test_a_parameter_that_became_another_kind_stays_as_recorded(builder: ExperimentBuilder) -> None:
    objectives(builder, "pruned_val_accuracy")
    logarithmic = {"alpha.rate": distribution_to_json(FloatDistribution(1.0, 8.0, log=True))}
    builder.add_trial(0, accuracies=(0.3, 0.4, 0.5), **asked(2.5))
    builder.add_trial(1, accuracies=(0.3, 0.4, 0.5), params={"alpha.rate": 2.5}, distributions=logarithmic)
    found = study(builder)
    assert [trial.distributions["alpha.rate"] for trial in found.trials] == [
        FloatDistribution(1.0, 8.0),
        FloatDistribution(1.0, 8.0, log=True),
    ]
