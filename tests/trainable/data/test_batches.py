"""Batches hold every image once, cropped and mirrored as a plain numpy loop would, normalised as numpy would."""

import pickle
import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from trainable.config import DataConfig
from trainable.data.batches import EVALUATION_BATCH, DeviceSplit
from trainable.data.dataset import Data, load_data

CPU = torch.device("cpu")


def pixels(batch: Tensor, data: Data) -> np.ndarray:
    """The uint8 images [n, 32, 32, 3] that were normalised to `batch`."""
    mean, std = np.array(data.mean), np.array(data.std)
    return np.round((batch.permute(0, 2, 3, 1).numpy() * std + mean) * 255).astype(np.uint8)


def drawn(data: Data, batch_size: int = 7, *, seed: int = 0, epoch: int = 1) -> tuple[np.ndarray, list[int]]:
    """The images of a whole epoch, and their labels."""
    batches = list(DeviceSplit(data.train, data, CPU).augmented_batches(batch_size, seed=seed, epoch=epoch))
    return np.concatenate([pixels(images, data) for images, _ in batches]), torch.cat([y for _, y in batches]).tolist()


def variants(image: np.ndarray, pad: int) -> dict[bytes, tuple[int, int, bool]]:
    """Every crop of the reflect-padded image, straight and mirrored, by its bytes."""
    padded = np.pad(image, ((pad, pad), (pad, pad), (0, 0)), mode="reflect")
    found = {}
    for top in range(2 * pad + 1):
        for left in range(2 * pad + 1):
            crop = padded[top : top + 32, left : left + 32]
            found[crop.tobytes()] = (top, left, False)
            found[crop[:, ::-1].tobytes()] = (top, left, True)
    return found


@pytest.mark.parametrize(("pad", "flip"), [(2, True), (2, False), (0, True), (16, True)])
def test_augmentation_is_a_reflected_crop_and_a_mirror(pad: int, flip: bool, make_data: Callable[..., Data]) -> None:
    data = make_data(train=12, pad=pad, flip=flip)
    origin = {
        key: (index, place)
        for index, image in enumerate(data.train.images)
        for key, place in variants(image, pad).items()
    }
    places = []
    for epoch in range(1, 11):
        images, labels = drawn(data, epoch=epoch)
        found = [origin[image.tobytes()] for image in images]
        assert sorted(index for index, _ in found) == list(range(12))
        assert labels == [int(data.train.labels[index]) for index, _ in found]
        places += [place for _, place in found]
    tops, lefts, mirrored = zip(*places, strict=True)
    if pad <= 2:
        assert set(tops) == set(lefts) == set(range(2 * pad + 1))
    else:
        assert min(*tops, *lefts) < 4
        assert max(*tops, *lefts) > 28
    assert 0.3 < np.mean(mirrored) < 0.7 if flip else not any(mirrored)


def test_rows_and_columns_are_drawn_independently(make_data: Callable[..., Data]) -> None:
    data = make_data(train=1, pad=1, flip=False)
    places = variants(data.train.images[0], 1)
    found = {places[drawn(data, epoch=epoch)[0].tobytes()][:2] for epoch in range(100)}
    assert len(found) == 9


def test_without_augmentation_only_the_order_changes(make_data: Callable[..., Data]) -> None:
    data = make_data(pad=0, flip=False)
    images, _ = drawn(data)
    assert not np.array_equal(images, data.train.images)
    assert sorted(image.tobytes() for image in images) == sorted(image.tobytes() for image in data.train.images)


def test_the_draw_depends_on_seed_and_epoch_alone(data: Data) -> None:
    first, _ = drawn(data, seed=3, epoch=4)
    drawn(data, seed=3, epoch=5)
    np.random.default_rng(9)
    torch.manual_seed(9)
    before = torch.get_rng_state()
    assert np.array_equal(drawn(data, seed=3, epoch=4)[0], first)
    assert torch.equal(before, torch.get_rng_state())
    # Nor on the batch size.
    assert np.array_equal(drawn(data, 36, seed=3, epoch=4)[0], first)
    for seed, epoch in ((3, 5), (4, 4), (4, 3)):
        assert not np.array_equal(drawn(data, seed=seed, epoch=epoch)[0], first)


@given(st.integers(1, 60), st.integers(2, 70))
@settings(max_examples=60)
def test_batches_are_of_about_equal_size(make_data: Callable[..., Data], count: int, batch_size: int) -> None:
    data = make_data(train=count, validation=1)
    images = DeviceSplit(data.train, data, CPU)
    sizes = [len(labels) for _, labels in images.augmented_batches(batch_size, seed=0, epoch=1)]
    assert (len(images), len(sizes)) == (count, images.count_steps(batch_size))
    assert sum(sizes) == count
    assert max(sizes) <= batch_size
    assert max(sizes) - min(sizes) <= 1


@given(st.integers(1, 60), st.integers(1, 70), st.none() | st.integers(1, 80))
@settings(max_examples=60)
def test_plain_batches_are_the_first_images_in_order(
    make_data: Callable[..., Data], count: int, batch_size: int, most: int | None
) -> None:
    data = make_data(train=count, validation=1)
    wanted = count if most is None else min(count, most)
    batches = list(DeviceSplit(data.train, data, CPU).plain_batches(batch_size, most=most))
    labels = torch.cat([labels for _, labels in batches])
    assert len(labels) == wanted
    assert np.array_equal(labels, data.train.labels[:wanted])
    assert np.array_equal(np.concatenate([pixels(each, data) for each, _ in batches]), data.train.images[:wanted])


def test_normalisation_agrees_with_numpy(data: Data) -> None:
    ((images, _),) = DeviceSplit(data.train, data, CPU).plain_batches()
    expected = (data.train.images / 255 - np.array(data.mean)) / np.array(data.std)
    np.testing.assert_allclose(images.permute(0, 2, 3, 1), expected, rtol=1e-4, atol=1e-5)
    assert images.mean().abs() < 1e-4
    assert images.std() == pytest.approx(1, abs=1e-3)


def test_batches_are_channels_last_floats(data: Data) -> None:
    images = DeviceSplit(data.train, data, CPU)
    for batches in (images.augmented_batches(7, seed=0, epoch=1), images.plain_batches(7)):
        for batch, labels in batches:
            assert batch.shape[1:] == (3, 32, 32)
            assert (batch.dtype, labels.dtype) == (torch.float32, torch.int64)
            assert batch.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(("image_size", "largest"), [(32, EVALUATION_BATCH), (64, EVALUATION_BATCH // 4), (224, 10)])
def test_larger_images_are_evaluated_in_smaller_batches(image_size: int, largest: int) -> None:
    data = load_data(DataConfig(image_size=image_size, images=700))
    images = DeviceSplit(data.train, data, CPU)
    sizes = [len(labels) for _, labels in images.plain_batches()]
    assert sizes == [*[largest] * (630 // largest), *filter(None, [630 % largest])]
    batch, _ = next(images.augmented_batches(4, seed=0, epoch=1))
    assert batch.shape[1:] == (3, image_size, image_size)


def test_arrays_from_rays_object_store_are_shared_and_not_written(data: Data) -> None:
    """Unpickled over read-only buffers, as Ray does; PyTorch would warn that it may write to them."""
    buffers: list[pickle.PickleBuffer] = []
    pickled = pickle.dumps(data, protocol=5, buffer_callback=buffers.append)
    stored: Data = pickle.loads(pickled, buffers=[bytes(buffer) for buffer in buffers])
    assert not stored.train.images.flags.writeable
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        images = DeviceSplit(stored.train, stored, CPU)
        for batches in (images.augmented_batches(7, seed=0, epoch=1), images.plain_batches(7)):
            for batch, _ in batches:
                batch.mul_(2)
    assert images.pixels.data_ptr() == stored.train.images.ctypes.data
    assert np.array_equal(stored.train.images, data.train.images)
    assert np.array_equal(drawn(stored)[0], drawn(data)[0])
