"""VGG16 gives the rows, widths and costs that it gave when it had code of its own.

tests/fixtures/vgg16-trials.json is of the last version that had (9a82af2), on one thread of a CPU: the dense network
and six trials of 600 digits at a tenth of the width. The general code gave the same to the bit there; its digests are
of the JSON of a trial's rows, without times, and of its weights. On another CPU sums are rounded in another way, which
training amplifies, so what is compared here is the arithmetic exactly and the first epochs' losses closely.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from records.dense import read_dense_rows
from trainable.config import DataConfig, DenseConfig, trial_config
from trainable.data.dataset import Data, load_data
from trainable.dense import DenseNetwork, load_dense, train_dense
from trainable.trial import Trial

EXPECTED: dict[str, Any] = json.loads((Path(__file__).parents[1] / "fixtures" / "vgg16-trials.json").read_text())
COUNTED = ("widths", "channels", "parameters", "macs")
# Rows of what is arithmetic, whatever was learnt.
PLANNED = ("epoch", "phase", "alpha", "channel_sparsity", "parameter_sparsity", "mac_sparsity", "training_cost")


@pytest.fixture(scope="module")
def digits() -> Data:
    return load_data(DataConfig("digits", images=600))


@pytest.fixture(scope="module")
def vgg16(digits: Data, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DenseNetwork]:
    folder = tmp_path_factory.mktemp("vgg16")
    threads = torch.get_num_threads()
    train_dense(DenseConfig(width=0.1, epochs=3), digits, folder, threads=1)
    check_losses([row.train_loss for row in read_dense_rows(folder)], EXPECTED["dense"]["rows"])
    yield load_dense(folder)
    torch.set_num_threads(threads)


def check_losses(found: list[float], expected: list[dict[str, Any]]) -> None:
    """The first epoch's is close, as rounding has not yet been amplified by many steps."""
    assert len(found) == len(expected)
    assert found[0] == pytest.approx(expected[0]["train_loss"], rel=1e-4)


def test_the_dense_network_is_what_it_was(vgg16: DenseNetwork) -> None:
    expected = EXPECTED["dense"]
    assert vgg16.record.hash == expected["hash"]
    for name in COUNTED:
        assert json.loads(json.dumps(getattr(vgg16.record, name))) == expected[name], name


# Between them: both gates, three criteria, both scopes, alpha by epoch and by batch, one learning-rate curve and two.
@pytest.mark.parametrize("name", ["exp", "taylor", "conv"])
def test_a_trial_is_what_it_was(name: str, digits: Data, vgg16: DenseNetwork) -> None:
    expected = EXPECTED["trials"][name]
    trial = Trial(trial_config(expected["config"]), digits, vgg16, threads=1)
    while not trial.is_finished:
        trial.run_epoch()
    assert trial.cut is not None
    for each in COUNTED:
        assert json.loads(json.dumps(getattr(trial.cut, each))) == expected[each], each
    for row, before in zip(trial.rows, expected["rows"], strict=True):
        values = row.as_values()
        assert {each: values[each] for each in PLANNED} == {each: before[each] for each in PLANNED}
        assert values["lr"] == pytest.approx(before["lr"], rel=1e-9)
    check_losses([row.train_loss for row in trial.rows], expected["rows"])
