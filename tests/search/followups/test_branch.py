"""Branches start from a kept checkpoint and continue with their own settings; extending uses the same study."""

import json
from pathlib import Path

import pytest
from searches import SETTINGS, alphaprune

from records.experiment import ExperimentFolder
from records.trial import Parent, TrialFolder

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

# One trial of each kind, whose alphas are known: linear, three stages.
KNOWN = (
    SETTINGS.replace("trials = 8", "trials = 1\nkeep_at_alpha = [0.6, 0.4, 0]")
    .replace("[space.options]\namounts = [0.5, 0.75]", '[space]\nfunction = "spaces.fixed:fixed"')
    .replace("[controls]", "[controls]\nkinds = ['one_shot']")
    .replace("[trial]", "[trial]\nalpha = { family = 'polynomial', rate = 1 }")
)


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    storage = tmp_path_factory.mktemp("storage")
    (storage / "search.toml").write_text(KNOWN)
    alphaprune("run", storage / "search.toml", "--storage", storage, "--local")
    return storage


def trial(storage: Path, number: int) -> TrialFolder:
    return ExperimentFolder(storage / "search").trial_folder(number)


def test_requested_checkpoints_are_kept(storage: Path) -> None:
    assert [row.alpha for row in trial(storage, 1).read_rows()] == [0.75, 0.5, 0.25, 0, 0, 0, 0, 0]
    assert [path.name for path in trial(storage, 1).list_checkpoints()] == [
        "checkpoint-00004.pt",
        "checkpoint-00003.pt",
        "checkpoint-00002.pt",
    ]


def test_a_branch_continues_from_the_alpha_that_it_starts_at(storage: Path) -> None:
    other = ("alpha.family=cosine", "lr.peak=0.01", "epochs=10", "alpha_fraction=0.5")
    sets = [argument for setting in other for argument in ("--set", setting)]
    result = alphaprune("branch", "search", 1, "--at-alpha", 0.6, *sets, "--storage", storage, "--local")
    assert "trial 2 branches from trial 1" in result.stderr
    record, rows = trial(storage, 2).read_record(), trial(storage, 2).read_rows()
    assert record.parent == Parent(number=1, epoch=2, alpha=0.5)
    assert record.state == "complete"
    assert record.config["lr"]["peak"] == 0.01
    assert record.config["begun"] == [0.75, 0.5]
    # Three of five stages remain: half of cos^2(pi u / 2) at u = 1/4, 1/2 and 3/4.
    fades = [0.75, 0.5, 0.426777, 0.25, 0.073223, 0, 0, 0, 0, 0]
    assert [row.alpha for row in rows] == pytest.approx(fades, abs=1e-6)
    assert rows[:2] == trial(storage, 1).read_rows()[:2]
    assert [row.epoch for row in rows] == list(range(1, 11))


def test_a_branch_after_the_cut_retrains_at_another_rate(storage: Path) -> None:
    number = _branch(storage, 1, "--at-alpha", 0, "--set", "lr.peak=0.1", "--set", "lr.warmup_epochs=0")
    record, rows = trial(storage, number).read_record(), trial(storage, number).read_rows()
    assert record.parent == Parent(number=1, epoch=4, alpha=0)
    assert rows[:4] == trial(storage, 1).read_rows()[:4]
    # A cosine from the peak to 0 over the remaining four epochs.
    assert rows[4].lr > 0.09
    assert rows[7].lr < 0.01
    assert record.cut == trial(storage, 1).read_record().cut


def test_a_branch_waits_for_resume(storage: Path) -> None:
    number = _branch(storage, 1, "--at-alpha", 0.4, "--later")
    assert trial(storage, number).read_record().state == "running"
    assert trial(storage, number).read_record().attempt == 0
    alphaprune("resume", "search", "--storage", storage, "--local")
    assert trial(storage, number).read_record().state == "complete"
    again = alphaprune("resume", "search", "--storage", storage, "--local")
    assert "no trials are left to run" in again.stderr
    assert "0 trials" not in again.stderr


def test_an_exhausted_space_ends_an_extended_search(storage: Path) -> None:
    before = len(list(ExperimentFolder(storage / "search").trial_folders()))
    result = alphaprune("resume", "search", "--storage", storage, "--local", "--trials", 3)
    assert "no untried configuration left" in result.stderr
    assert len(list(ExperimentFolder(storage / "search").trial_folders())) == before
    ranked = json.loads(alphaprune("rank", "search", "--storage", storage, "--format", "json").stdout)
    assert {row["parent"] for row in ranked} == {None, 1.0}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([1, "--at-alpha", 0.8], ["epoch 1 has none", "0.5 (epoch 2), 0.25 (epoch 3), 0 (epoch 4)"]),
        ([1, "--at-alpha", -1], ["never got that low", "0.5 (epoch 2)", "keep_at_alpha"]),
        ([99, "--at-alpha", 0.4], ["NUMBER", "99"]),
        ([1, "--at-alpha", 0.6, "--set", "alpha.rte=3"], ["alpha.rte", "did you mean", "alpha.rate"]),
        ([1, "--at-alpha", 0.6, "--set", "alpha.rate=9"], ["alpha.rate", "less than or equal to 4"]),
        ([1, "--at-alpha", 0.6, "--set", "pruning.amount=0.9"], ["pruning", "channels of its parent"]),
        ([1, "--at-alpha", 0.6, "--set", "epochs=2"], ["epochs", "2"]),
    ],
)
def test_an_impossible_branch(storage: Path, arguments: list[object], words: list[str]) -> None:
    before = sorted(storage.rglob("*"))
    result = alphaprune("branch", "search", *arguments, "--storage", storage, "--local", code=2)
    (line,) = result.stderr.strip().splitlines()
    for word in words:
        assert word in line
    assert sorted(storage.rglob("*")) == before


def test_the_number_of_trials_cannot_be_reduced(storage: Path) -> None:
    assert "--trials" in alphaprune("resume", "search", "--storage", storage, "--trials", 0, code=2).stderr


def _branch(storage: Path, number: int, *arguments: object) -> int:
    result = alphaprune("branch", "search", number, *arguments, "--storage", storage, "--local")
    return int(result.stderr.split()[1])
