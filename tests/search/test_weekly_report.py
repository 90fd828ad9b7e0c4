"""The weekly report replayed on a small scale: its schedule, its jump to 0, its restarts, its manual iterations."""

import pytest
from searches import alphaprune

import analysis
from analysis.figures.iterations import iterations_info
from records.experiment import ExperimentFolder

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

SMALL = ("--data", "digits", "--width", 0.0625, "--set", "data.images=200", "--set", "results.measure=false")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> ExperimentFolder:
    storage = tmp_path_factory.mktemp("storage")
    result = alphaprune("run", "weekly-report-5", *SMALL, "--local", "--storage", storage)
    assert (storage / "weekly-report-5" / "report.html").is_file(), result.stderr
    return ExperimentFolder(storage / "weekly-report-5")


def test_the_report_with_the_gate_in_both_positions(folder: ExperimentFolder) -> None:
    records = [trial.read_record() for trial in folder.trial_folders()]
    assert [record.state for record in records] == ["complete"] * 3
    assert [record.control for record in records] == ["one_shot", None, None]
    assert [record.config["pruning"]["gate"] for record in records] == ["bn_output", "bn_output", "conv_weight"]
    for trial in (folder.trial_folder(1), folder.trial_folder(2)):
        rows = trial.read_rows()
        alphas, rates = [row.alpha for row in rows], [row.lr for row in rows[26:]]
        # e^(-0.05 t) until 0.4, then e^(-0.5 t) until 0.018, an epoch each; then the jump, for the same time again.
        assert alphas[:3] == pytest.approx([0.9512, 0.9048, 0.8607], abs=1e-4)
        assert alphas[17:20] == pytest.approx([0.4066, 0.4, 0.2426], abs=1e-4)
        assert alphas[24:] == pytest.approx([0.0199, 0.018] + [0] * 26, abs=1e-4)
        assert rates[0] == 0.001
        assert set(rates) <= {0.001, 0.01, 0.1}
        assert rates == sorted(rates)
        kept = sorted(map(trial.checkpoint_epoch, trial.list_checkpoints()))
        assert [alphas[epoch - 1] for epoch in kept] == pytest.approx([0.4, 0.0328, 0.018, 0], abs=1e-4)
    assert (
        len({folder.trial_folder(number).read_rows()[-1].lr for number in (1, 2)} - {0.001}) > 0
    )  # at least one stagnated


def test_the_iterations_by_hand(folder: ExperimentFolder) -> None:
    """From the model at 0.05 straight to 0, at a different learning rate, as the report's author did."""
    sets = [
        argument
        for each in ("alpha.family=one_shot", "lr.policy=cosine", "lr.peak=0.1")
        for argument in ("--set", each)
    ]
    alphaprune(*("branch", folder.path.name, 1, "--at-alpha", 0.05, *sets, "--local", "--storage", folder.path.parent))
    rows = folder.trial_folder(3).read_rows()
    first = next(row.epoch for row in rows if row.alpha == 0)
    assert rows[first - 2].alpha == pytest.approx(0.0328, abs=1e-4)
    assert rows[: first - 1] == folder.trial_folder(1).read_rows()[: first - 1]
    assert len(rows) == 52
    assert folder.trial_folder(3).read_record().state == "complete"
    assert iterations_info(analysis.load(folder.path))
