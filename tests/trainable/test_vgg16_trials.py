"""VGG16 gives the rows, widths and costs that it gave when it had code of its own.

tests/fixtures/vgg16-trials.json is of the last version that had (9a82af2), on one thread of a CPU: the dense network
and six trials of 600 digits at a tenth of the width. On a CPU and with a torch that round as those did, all rows must
be the same to the bit. Elsewhere sums are rounded in another way, which training amplifies, so what is compared there
is the arithmetic exactly and the first epochs' losses closely.
"""

import json
from collections.abc import Iterator
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from records.dense import read_dense_rows
from trainable.config import DataConfig, DenseConfig, trial_config
from trainable.data.dataset import Data, load_data
from trainable.dense import DenseNetwork, load_dense, train_dense
from trainable.trial import Trial

EXPECTED: dict[str, Any] = json.loads((Path(__file__).parents[1] / "fixtures" / "vgg16-trials.json").read_text())
METRICS = ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "pruned_val_accuracy")
# What rounds_alike computes where the rows are those of the fixture (AVX2, torch 2.14.1, one thread).
PROBE = 18.507818698883057
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


@cache
def rounds_alike() -> bool:
    """Whether convolutions and sums are rounded here as where the fixture was made, by code that is not ours."""
    assert torch.get_num_threads() == 1
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = [(nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU()) for i, o in ((3, 7), (7, 13), (13, 51))]
        network = nn.Sequential(*chain.from_iterable(layers), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(51, 10))
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, nesterov=True)
        images, labels = torch.rand(8, 128, 3, 32, 32), torch.randint(10, (8, 128))
        total = 0.0
        for batch, wanted in zip(images, labels, strict=True):
            loss = nn.functional.cross_entropy(network(batch.contiguous(memory_format=torch.channels_last)), wanted)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
    return total == PROBE


def check_losses(found: list[float], expected: list[dict[str, Any]]) -> None:
    """The first epoch's is close, as rounding has not yet been amplified by many steps."""
    assert len(found) == len(expected)
    assert found[0] == pytest.approx(expected[0]["train_loss"], rel=1e-4)
    if rounds_alike():
        assert found == [row["train_loss"] for row in expected]


def test_the_dense_network_is_what_it_was(vgg16: DenseNetwork) -> None:
    expected = EXPECTED["dense"]
    assert vgg16.record.hash == expected["hash"]
    for name in COUNTED:
        assert json.loads(json.dumps(getattr(vgg16.record, name))) == expected[name], name


# Between them: both gates, three criteria, both scopes, alpha by epoch and by batch, one learning-rate curve and two.
@pytest.mark.parametrize("name", EXPECTED["trials"])
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
        if rounds_alike():
            assert {each: values[each] for each in METRICS} == {each: before[each] for each in METRICS}
        assert {each: values[each] for each in PLANNED} == {each: before[each] for each in PLANNED}
        assert values["lr"] == pytest.approx(before["lr"], rel=1e-9)
    check_losses([row.train_loss for row in trial.rows], expected["rows"])
