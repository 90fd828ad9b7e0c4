"""The plan of a search, against numbers worked out by hand."""

import subprocess
import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from records.experiment import ExperimentFolder
from search.backends.base import Node, TrialResources
from search.settings import Settings, resolve_settings
from search.setup.plan import SearchPlan, check_disk, count_used_bytes, plan_search
from trainable.data.size import DataSize

# VGG16-BN on ten classes: 14,710,464 weights and 4,224 biases of convolutions, 8,448 of batch norm, 5,130 of the
# classifier; float32.
DENSE_BYTES = 14_728_266 * 4
# CIFAR-10: 60,000 images of 3,072 bytes.
SIZE = DataSize(classes=10, train=45_000, validation=5_000, test=10_000)
NODES = [Node(4.0, 0.0), Node(16.0, 2.0)]
EACH = TrialResources(1, 0.25, 8)


def planned(settings: Settings, **changed: Any) -> SearchPlan:
    arguments: dict[str, Any] = {"size": SIZE, "image_copies": 1, "dense_epochs": 70, "trials_left": 100, **changed}
    arguments.setdefault("trial_epochs", arguments["trials_left"] * settings.trial.epochs)
    return plan_search(NODES, EACH, settings, **arguments)


def settings(**search: Any) -> Settings:
    return resolve_settings(
        {
            "trial": {"epochs": 60},
            "controls": {"amounts": [0.75, 0.9]},
            "space": {"options": {"amounts": [0.6, 0.75, 0.9]}},
            "search": search,
        }
    )


def test_what_is_planned() -> None:
    got = planned(settings())
    assert (got.nodes, got.cpus, got.gpus) == (2, 20, 2)
    assert (got.concurrency, got.cpus_per_trial, got.gpus_per_trial) == (8, 1, 0.25)
    assert (got.trials, got.trial_epochs, got.dense_epochs) == (100, 6000, 70)


def test_disk_space_is_for_checkpoints_of_running_trials_and_for_models() -> None:
    # The dense network; 100 models, each with at least 0.6 cut; 8 trials with 3 checkpoints of weights and momentum.
    expected = DENSE_BYTES * (1 + 100 * 0.4 + 8 * 3 * 2)
    assert planned(settings()).disk_bytes == pytest.approx(expected)
    # Two more checkpoints of every trial are kept.
    kept = planned(settings(keep_at_alpha=[0.5, 0.1])).disk_bytes
    assert kept - expected == pytest.approx(DENSE_BYTES * 100 * 2 * 2)


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({"amounts": [0.9]}, 0.25),  # the controls cut less than the space
        ({}, 0.5),  # a custom space: the settings of the base count
        ({"amounts": "many"}, 0.5),  # not an amount
    ],
)
def test_model_size_follows_from_the_smallest_amount(options: dict[str, Any], kept: float) -> None:
    values = {"trial": {"pruning": {"amount": 0.5}}, "controls": {"amounts": [0.75]}, "space": {"options": options}}
    one, two = (planned(resolve_settings(values), trials_left=100 + more).disk_bytes for more in (0, 1))
    assert two - one == pytest.approx(DENSE_BYTES * kept)


def test_a_search_without_controls_has_a_plan() -> None:
    assert planned(resolve_settings({"controls": {"amounts": []}})).disk_bytes > 0


def test_concurrency_does_not_exceed_the_trials_left() -> None:
    few = planned(settings(), trials_left=2, dense_epochs=0)
    assert few.concurrency == 2
    assert few.disk_bytes == pytest.approx(DENSE_BYTES * (1 + 2 * 0.4 + 2 * 3 * 2))


def test_a_narrow_network_needs_less() -> None:
    narrow = resolve_settings({"dense": {"width": 0.25}})
    wide = resolve_settings({})
    assert planned(narrow).disk_bytes < planned(wide).disk_bytes / 12


@pytest.mark.parametrize(("image_size", "copies"), [(32, 1), (32, 2), (224, 2)])
def test_memory_is_for_the_images_in_all_their_copies(image_size: int, copies: int) -> None:
    got = planned(settings(), size=replace(SIZE, image_size=image_size), image_copies=copies)
    assert got.memory_bytes == copies * 60_000 * 3 * image_size**2
    assert got.gpu_bytes == 50_000 * 3 * image_size**2


def test_the_lines_for_the_user() -> None:
    assert str(planned(settings(), trials_left=212)).splitlines() == [
        "2 nodes with 20 CPUs and 2 GPUs: 8 trials at once, each on 1 CPU and 0.25 GPUs",
        "212 trials, at most 12,720 epochs in total, after 70 epochs for the dense network",
        "about 184.3 MB of memory for the images, and 153.6 MB of GPU memory for each trial",
        "about 7.9 GB of disk space",
    ]
    alone = plan_search(
        [Node(2.0, 0.0)],
        TrialResources(2, 0, 1),
        settings(),
        size=SIZE,
        image_copies=2,
        dense_epochs=0,
        trials_left=1,
        trial_epochs=60,
    )
    assert str(alone).splitlines() == [
        "1 node with 2 CPUs: 1 trial at once, each on 2 CPUs",
        "1 trial, at most 60 epochs in total",
        "about 368.6 MB of memory for the images",
        "about 436.0 MB of disk space",
    ]


@pytest.mark.parametrize(("count", "lines"), [(0, 0), (1, 1), (5, 5), (6, 6), (12, 6)])
def test_what_is_never_cut_is_listed(count: int, lines: int) -> None:
    """At most five reasons, and how many more there are."""
    whole = tuple(f"layer{number}: no batch normalisation comes after it" for number in range(count))
    listed = str(replace(planned(settings()), whole=whole)).splitlines()[4:]
    assert len(listed) == lines
    assert listed[:5] == [f"never cut: {each}" for each in whole[:5]]
    assert listed[5:] == ([f"never cut: {count - 5} more (dense/dense.json will name all)"] if count > 5 else [])


def test_what_is_never_cut_is_that_of_the_network() -> None:
    blocks = [["squeeze", 4, "relu"], ["plain", 4, "relu"]]
    network = {"name": "networks:build_mixed", "arguments": {"blocks": blocks}}
    assert planned(resolve_settings({"network": network})).whole == (
        "blocks.0.reduce: no batch normalisation comes after it",
    )
    assert planned(settings()).whole == ()


def test_disk_space_is_that_of_the_network() -> None:
    small = planned(resolve_settings({"network": {"name": "resnet20"}}), trials_left=0, dense_epochs=1)
    assert small.disk_bytes == 272_474 * 4


def test_a_disk_that_is_too_small_is_refused(tmp_path: Path) -> None:
    fits = replace(planned(settings()), disk_bytes=1)
    check_disk(fits, tmp_path)
    check_disk(fits, tmp_path / "not" / "there yet")
    with pytest.raises(ValueError, match=r"about 1000000000\.0 GB free .* make room") as refused:
        check_disk(replace(fits, disk_bytes=10**18), tmp_path)
    assert str(tmp_path) in str(refused.value)
    assert "\n" not in str(refused.value)


# A worker that outlived its driver, and replaces its checkpoints as fast as it can.
WRITES = """
import sys
from pathlib import Path
from records.files import replace_file

folder, epoch = Path(sys.argv[1]), 0
print("there", flush=True)
while True:
    epoch += 1
    replace_file(folder / f"checkpoint-{epoch:05}.pt", lambda file: file.write(b"1234"))
    (folder / f"checkpoint-{epoch - 2:05}.pt").unlink(missing_ok=True)
"""


def test_files_that_are_replaced_while_they_are_counted_are_skipped(tmp_path: Path) -> None:
    folder = ExperimentFolder(tmp_path)
    with ExitStack() as stack:
        for number in range(3):
            path = folder.trial_folder(number).path
            path.mkdir(parents=True)
            command = [sys.executable, "-c", WRITES, str(path)]
            writer = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE))
            stack.callback(writer.kill)
            assert writer.stdout is not None
            writer.stdout.readline()
        used = [count_used_bytes(folder) for _ in range(2000)]
    assert set(used) <= {4 * files for files in range(10)}
    assert max(used) > 0
