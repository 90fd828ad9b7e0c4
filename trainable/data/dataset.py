"""A data set as a trial sees it: three splits of square RGB images in memory, wherever they come from.

numpy arrays, because they go through Ray's object store without a copy: decoded once per node, shared by its trials.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trainable.config import DataConfig
from trainable.data.images import ImageArray, LabelArray, decode_images
from trainable.data.size import DataSize, check_memory, count_images
from trainable.data.sources import open_source


@dataclass(frozen=True, eq=False)
class Split:
    """images: uint8 [N, size, size, 3], RGB, C-contiguous. labels: int64 [N], 0 to classes - 1. Both are read-only."""

    images: ImageArray
    labels: LabelArray


@dataclass(frozen=True, eq=False)
class Data:
    """The splits and how they are augmented and normalized. name: the source, as given.

    pad, flip: pixels of the reflect-padded random crop; whether images are mirrored at random.
    mean, std: of the red, green and blue pixels of the training split, in [0, 1], if no others were asked for; the std
        of a constant colour is set to 1, so that it can always be divided by.
    fingerprint: sha256 (hex) of the splits' images and labels, pad and flip, and of what else was asked for; the same
        wherever the files are.
    class_names: by label; none if the source does not name them.
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
    class_names: tuple[str, ...] = ()

    @property
    def image_size(self) -> int:
        """Height and width of the images, in pixels."""
        return int(self.train.images.shape[1])

    @property
    def size(self) -> DataSize:
        train, validation, test = (len(split.labels) for split in (self.train, self.validation, self.test))
        return DataSize(self.classes, train, validation, test, self.image_size)


def load_data(config: DataConfig, *, cache: Path | None = None, copies: int = 1) -> Data:
    """Reads the source and splits it; train and validation are in random order.

    A source other than `digits`, `cifar10` and `cifar100` is a folder with either Parquet files or train/<class>/* and
    test/<class>/*, where labels number the classes in the order of their names. The Parquet files are train.parquet and
    test.parquet or parts such as train-00000-of-00002.parquet, in the folder or one of its sub-folders, with a column
    `img` or `image` (the encoded image, or a struct with it as `bytes`) and `label`, `labels` or `fine_label` (integers
    or text). A validation split in the folder is not used. Images of another size or mode are converted to RGB (an
    alpha channel is dropped) and resized bilinearly by Pillow to a square of `image_size`, whatever their proportions.

    Args:
        config: of the data.
        cache: the folder in which downloads are kept, by default alphaprune in $XDG_CACHE_HOME or ~/.cache.
        copies: how many copies of the images this machine is going to hold.

    Raises:
        ValueError: in one line, for anything wrong with the source (all of its images are read, even if only some are
            used), if more images are asked for than there are, or so few that a split would be empty, and, before any
            is decoded, if the images do not fit into memory.
    """
    source = open_source(config.source, cache)
    training, test = source.train.labels, source.test.labels
    size = count_images(
        config, classes=_count_classes(config.source, training, test), training=len(training), test=len(test)
    )
    check_memory(size, copies)
    # Left shuffled: folders are read class by class, and the first training batches are used to recalibrate BN.
    order = np.random.default_rng(config.split_seed).permutation(len(training))[: size.validation + size.train]
    rows = np.full(len(training), -1)
    rows[order] = np.arange(len(order))
    images = decode_images(source.train.read_blocks(), rows, config.image_size)
    splits = (
        _create_split(images[size.validation :], training[order[size.validation :]]),
        _create_split(images[: size.validation], training[order[: size.validation]]),
        _create_split(decode_images(source.test.read_blocks(), np.arange(len(test)), config.image_size), test),
    )
    flip = config.source != "digits" if config.flip is None else config.flip
    own_mean, own_std = _mean_and_std(splits[0].images)
    mean, std = _as_colours(config.mean or own_mean), _as_colours(config.std or own_std)
    settings = f"pad={config.pad} flip={flip}"
    if config.image_size != 32:  # what was the only size when the first experiments were recorded
        settings += f" image_size={config.image_size}"
    if config.mean or config.std:
        settings += f" mean={mean} std={std}"
    fingerprint = _compute_fingerprint(splits, settings)
    names = source.class_names[: size.classes]  # the last ones may have no image
    return Data(config.source, size.classes, *splits, config.pad, flip, mean, std, fingerprint, names)


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
    if training.min() > 0:
        raise ValueError(
            f"labels must begin with 0, but the lowest of the {len(training)} in train of {source!r} is "
            f"label={training.min()}; subtract {training.min()} from all"
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


def _as_colours(values: Sequence[float]) -> tuple[float, float, float]:
    red, green, blue = values
    return red, green, blue


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
