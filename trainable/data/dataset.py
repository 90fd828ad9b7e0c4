"""A data set as a trial sees it: three splits of 32x32 RGB images in memory, wherever they come from.

numpy arrays, because they go through Ray's object store without a copy: decoded once per node, shared by its trials.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trainable.config import DataConfig
from trainable.data.images import ImageArray, LabelArray
from trainable.data.sources import read_source


@dataclass(frozen=True, eq=False)
class Split:
    """images: uint8 [N, 32, 32, 3], RGB, C-contiguous. labels: int64 [N], 0 to classes - 1. Both are read-only."""

    images: ImageArray
    labels: LabelArray


@dataclass(frozen=True, eq=False)
class Data:
    """The splits and how they are augmented and normalized. name: the source, as given.

    pad, flip: pixels of the reflect-padded random crop; whether images are mirrored at random.
    mean, std: of the red, green and blue pixels of the training split, in [0, 1]; the std of a constant colour is
        set to 1, so that it can always be divided by.
    fingerprint: sha256 (hex) of the splits' images and labels, pad and flip; the same wherever the files are.
    """

    name: str
    classes: int
    train: Split
    validation: Split
    test: Split
    pad: int
    flip: bool
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    fingerprint: str


def load_data(config: DataConfig, *, cache: Path | None = None) -> Data:
    """Reads the source and splits it; train and validation are in random order.

    A source other than `digits` and `cifar10` is a folder with either Parquet files or train/<class>/* and
    test/<class>/*, where labels number the classes in the order of their names. The Parquet files are train.parquet and
    test.parquet or parts such as train-00000-of-00002.parquet, in the folder or one of its sub-folders, with a column
    `img` or `image` (the encoded image, or a struct with it as `bytes`) and `label`, `labels` or `fine_label` (integers
    or text). Images that are not 32x32 RGB are converted to RGB (an alpha channel is dropped) and resized bilinearly by
    Pillow.

    cache: the folder in which cifar10 is kept, by default alphaprune in $XDG_CACHE_HOME or ~/.cache.
    Raises ValueError, in one line, for anything wrong with the source (all of its images are read, even if only some
    are used), and if more images are asked for than there are, or so few that a split would be empty.
    """
    training, test = read_source(config.source, cache)
    classes = _count_classes(config.source, training[1], test[1])
    validation, train = (
        _create_split(training[0][rows], training[1][rows]) for rows in _draw_rows(config, len(training[1]))
    )
    splits = train, validation, _create_split(*test)
    flip = config.source != "digits" if config.flip is None else config.flip
    mean, std = _mean_and_std(train.images)
    fingerprint = _compute_fingerprint(splits, f"pad={config.pad} flip={flip}")
    return Data(config.source, classes, *splits, config.pad, flip, mean, std, fingerprint)


def _draw_rows(config: DataConfig, total: int) -> tuple[LabelArray, LabelArray]:
    """The rows of the validation and of the training images among the `total` there are."""
    images = total if config.images is None else config.images
    if images > total:
        raise ValueError(
            f"`images <= {total}` must hold, the number of training images of {config.source!r}, but got {images}"
        )
    held_out = round(config.validation_fraction * images)
    if not 0 < held_out < images:
        raise ValueError(
            f"train and validation must both get images, but validation_fraction={config.validation_fraction} gives "
            f"{held_out} of {images} images to validation; change the fraction or use more images"
        )
    # Left shuffled: folders are read class by class, and the first training batches are used to recalibrate BN.
    order = np.random.default_rng(config.split_seed).permutation(total)[:images]
    return order[:held_out], order[held_out:]


def _create_split(images: ImageArray, labels: LabelArray) -> Split:
    split = Split(np.ascontiguousarray(images), np.ascontiguousarray(labels))
    # Ray's object store returns read-only arrays: a write should fail without a cluster, too.
    split.images.setflags(write=False)
    split.labels.setflags(write=False)
    return split


def _count_classes(source: str, training: LabelArray, test: LabelArray) -> int:
    for name, labels in (("train", training), ("test", test)):
        if not len(labels):
            raise ValueError(f"train and test of {source!r} must both hold images, but {name} is empty")
        if labels.min() < 0:
            raise ValueError(
                f"labels must be 0 or more, but {name} of {source!r} has label={labels.min()} in row {labels.argmin()} "
                "(from 0); remove the images that have no label"
            )
    classes = int(training.max()) + 1
    if not 2 <= classes <= len(training):
        raise ValueError(
            "labels must be 0 to classes - 1, with at least 2 classes and no more classes than images, but the highest "
            f"of the {len(training)} in train of {source!r} is label={classes - 1}; number the classes from 0"
        )
    if test.max() >= classes:
        raise ValueError(
            f"test labels must be among the training classes 0 to {classes - 1}, but test of {source!r} has "
            f"label={test.max()} in row {test.argmax()} (from 0); remove that class or add training images of it"
        )
    return classes


def _mean_and_std(images: ImageArray) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    # Counts each value of each colour: exact, and float64 copies of all pixels would take eight times the memory.
    counts = np.zeros((3, 256), np.int64)
    for block in np.array_split(images, len(images) // 1000 + 1):
        for colour in range(3):
            counts[colour] += np.bincount(block[..., colour].ravel(), minlength=256)
    values = np.arange(256) / 255
    share = counts / counts.sum(axis=1, keepdims=True)
    means = share @ values
    stds = np.sqrt((share * (values - means[:, None]) ** 2).sum(axis=1))
    red, green, blue = (float(std) if np.count_nonzero(row) > 1 else 1.0 for std, row in zip(stds, counts, strict=True))
    return (float(means[0]), float(means[1]), float(means[2])), (red, green, blue)


def _compute_fingerprint(splits: Sequence[Split], settings: str) -> str:
    digest = hashlib.sha256(settings.encode())
    for split in splits:
        digest.update(f" {len(split.labels)} ".encode())  # so that an image cannot change splits unnoticed
        digest.update(split.images.data)
        digest.update(split.labels.astype("<i8").data)
    return digest.hexdigest()
