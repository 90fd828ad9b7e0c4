"""Three splits of whatever there is: disjoint, shuffled, with the statistics of the training images."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from image_data import encode, keys, load, pixels, refused, write_parquet

ROOT = Path(__file__).parents[3]
# Of the images and labels of `folder`.
FINGERPRINT = "3144db09bc1bf87a273afa5c051a2aebfacc859f754b01e3d0c9a70dbadbb679"


def test_parquet(folder: Path) -> None:
    data = load(folder, validation_fraction=0.25)
    assert (data.name, data.classes, data.pad, data.flip) == (str(folder), 4, 4, True)
    assert [len(split.labels) for split in (data.train, data.validation, data.test)] == [30, 10, 10]
    assert np.array_equal(data.test.images, pixels(10, seed=1))
    assert data.test.labels.tolist() == [n % 4 for n in range(10)]
    labelled = {image.tobytes(): n % 4 for n, image in enumerate(pixels(40))}
    for split in (data.train, data.validation, data.test):
        assert split.images.dtype == np.uint8
        assert split.labels.dtype == np.int64
        assert split.images.shape == (len(split.labels), 32, 32, 3)
        assert split.images.flags.c_contiguous
        for array in (split.images, split.labels):
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 0
        if split is not data.test:
            assert [labelled[image.tobytes()] for image in split.images] == split.labels.tolist()


def test_splits_are_disjoint_and_follow_the_seed(folder: Path) -> None:
    data = load(folder, validation_fraction=0.25)
    assert len(keys(data.train) | keys(data.validation)) == 40
    again, other = load(folder, validation_fraction=0.25), load(folder, validation_fraction=0.25, split_seed=1)
    assert np.array_equal(data.train.images, again.train.images)
    assert np.array_equal(data.validation.labels, again.validation.labels)
    assert keys(data.validation) == keys(again.validation) != keys(other.validation)
    assert np.array_equal(data.test.images, other.test.images)
    rows = {image.tobytes(): row for row, image in enumerate(pixels(40))}
    order = [rows[image.tobytes()] for image in data.train.images]
    assert order != sorted(order)  # the first batches are not of a single class


def test_images_limits_train_and_validation_together(folder: Path) -> None:
    whole, some = load(folder, validation_fraction=0.25), load(folder, validation_fraction=0.25, images=12)
    assert [len(split.labels) for split in (some.train, some.validation, some.test)] == [9, 3, 10]
    assert len(keys(some.train) | keys(some.validation)) == 12
    assert keys(some.validation) < keys(whole.validation)  # the same permutation
    assert len(load(folder, images=40).train.labels) == 36
    assert "`images <= 40` must hold" in refused(folder, images=41)
    assert "0 of 4 images to validation" in refused(folder, images=4, validation_fraction=0.1)
    assert "2 of 2 images to validation" in refused(folder, images=2, validation_fraction=0.9)


def test_mean_and_std_are_those_of_the_training_split(folder: Path) -> None:
    data = load(folder)
    scaled = data.train.images / 255
    assert data.mean == pytest.approx(scaled.mean(axis=(0, 1, 2)), abs=1e-12)
    assert data.std == pytest.approx(scaled.std(axis=(0, 1, 2)), abs=1e-12)


def test_std_of_a_constant_colour_is_1(tmp_path: Path) -> None:
    images = pixels(10)
    images[..., 2] = 77
    for name in ("train", "test"):
        write_parquet(tmp_path / f"{name}.parquet", [encode(image) for image in images], [0, 1] * 5)
    data = load(tmp_path)
    assert data.mean[2] == pytest.approx(77 / 255)
    assert data.std[2] == 1
    assert data.std[0] < 0.5


def test_fingerprint(folder: Path) -> None:
    data = load(folder)
    # Of the first version, as in test_digits.
    assert data.fingerprint == FINGERPRINT
    assert load(folder).fingerprint == data.fingerprint
    # Where the files are does not matter; everything else does.
    moved = folder.rename(folder.with_name("moved"))
    assert load(moved).fingerprint == data.fingerprint
    others: list[dict[str, Any]] = [
        {"pad": 2},
        {"flip": False},
        {"split_seed": 1},
        {"images": 20},
        {"validation_fraction": 0.2},
        {"image_size": 33},
    ]
    fingerprints = [load(moved, **settings).fingerprint for settings in others]
    write_parquet(
        moved / "test.parquet", [encode(image) for image in pixels(10, seed=1)], [3, *[n % 4 for n in range(9)]]
    )
    fingerprints.append(load(moved).fingerprint)
    write_parquet(moved / "test.parquet", [encode(image) for image in pixels(10, seed=2)], [n % 4 for n in range(10)])
    fingerprints.append(load(moved).fingerprint)
    assert len({data.fingerprint, *fingerprints}) == 9


def test_flip_can_be_turned_off(folder: Path) -> None:
    assert not load(folder, flip=False).flip


def test_labels_out_of_range(folder: Path) -> None:
    image = encode(pixels(1)[0])
    for name in ("train", "test"):
        path = folder / f"{name}.parquet"
        content = path.read_bytes()
        write_parquet(path, [image] * 3, [0, 1, -1])
        assert f"labels must be 0 or more, but {name} of {str(folder)!r} has label=-1 in row 2" in refused(folder)
        write_parquet(path, [], [])
        assert f"must both hold images, but {name} is empty" in refused(folder)
        path.write_bytes(content)
    write_parquet(folder / "test.parquet", [image] * 3, [0, 4, 1])
    message = refused(folder)
    assert "test labels must be among the training classes 0 to 3" in message
    assert "has label=4 in row 1 (from 0)" in message
    for labels in ([0, 0, 0], [0, 1, 1000000]):
        write_parquet(folder / "train.parquet", [image] * 3, labels)
        assert f"the highest of the 3 in train of {str(folder)!r} is label={max(labels)};" in refused(folder)
    write_parquet(folder / "train.parquet", [image] * 4, [1, 2, 1, 2])
    assert refused(folder).endswith("is label=1; subtract 1 from all")


def test_importing_is_light() -> None:
    heavy = "{'torch', 'torchvision', 'ray', 'sklearn', 'pandas'}"
    code = f"import sys, trainable.data.dataset; sys.exit(' '.join({heavy} & set(sys.modules)) or 0)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
