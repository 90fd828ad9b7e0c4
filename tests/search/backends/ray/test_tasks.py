"""Work on one node of a cluster: what comes back, and what happens when the node is lost."""

from pathlib import Path
from typing import Any

import pytest
from ray.cluster_utils import Cluster
from searches import wait_for

from records.dense import DenseEpochRow, read_dense_rows
from search.backends.ray import tasks
from search.backends.ray.cluster import living_nodes
from search.backends.ray.tasks import train_dense_remotely
from search.settings import Settings
from trainable.config import DataConfig, DenseConfig, OptimizerConfig
from trainable.data.dataset import load_data
from trainable.dense import load_dense

pytestmark = [pytest.mark.filterwarnings("ignore")]
TINY = Settings(dense=DenseConfig(width=0.0625, epochs=40, optimizer=OptimizerConfig(batch_size=32)))


@pytest.mark.parametrize(
    ("nodes", "best"),
    [
        ([(2, 0)], 0),
        ([(2, 0), (16, 0), (8, 0)], 1),
        ([(64, 0), (2, 1)], 1),  # a GPU is worth more than any number of CPUs
        ([(64, 0), (2, 8), (16, 1)], 2),  # and only one GPU is used
        ([(64, None), (None, 1)], 1),
    ],
)
def test_the_best_node_has_a_gpu_and_the_most_cpus(
    nodes: list[tuple[float | None, float | None]], best: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    described = [
        {
            "NodeID": place,
            "Resources": {name: has for name, has in zip(("CPU", "GPU"), node, strict=True) if has},
        }
        for place, node in enumerate(nodes)
    ]
    monkeypatch.setattr(tasks, "living_nodes", lambda: described)
    assert tasks.choose_best_node()["NodeID"] == best


@pytest.fixture(scope="module")
def data() -> Any:
    return load_data(DataConfig(images=300, validation_fraction=0.2))


@pytest.mark.slow
def test_the_dense_network_outlives_its_node(nodes: Cluster, data: Any, tmp_path: Path) -> None:
    best = nodes.add_node(num_cpus=16, num_gpus=2)
    wait_for(lambda: len(living_nodes()) == 3, what="the node to join")
    seen: list[int] = []

    def on_epoch(row: DenseEpochRow) -> None:
        seen.append(row.epoch)
        if seen == [1, 2, 3]:
            nodes.remove_node(best, allow_graceful=False)

    train_dense_remotely(TINY, data, tmp_path / "dense", on_epoch)
    # What the lost node did after its last checkpoint is done again.
    assert sorted(set(seen)) == list(range(1, 41))
    assert seen[-1] == 40
    assert [row.epoch for row in read_dense_rows(tmp_path / "dense")] == list(range(1, 41))
    assert load_dense(tmp_path / "dense").record.epochs == 40


@pytest.mark.slow
def test_an_error_in_training_the_dense_network_is_raised_as_it_was(nodes: Cluster, data: Any, tmp_path: Path) -> None:
    (tmp_path / "dense").write_text("a file where a folder should be")
    with pytest.raises(FileExistsError) as error:
        train_dense_remotely(TINY, data, tmp_path / "dense", lambda row: None)
    assert type(error.value) is FileExistsError  # and not one of ray's, whose text is a traceback
