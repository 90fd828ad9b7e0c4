"""A split of the data on the training device, and its batches: normalised, and augmented for training.

Images stay uint8 until they are used. Augmentation is one gather per batch: crop, reflection and mirroring are all in
the indices, so no padded copy exists and a GPU never waits for the CPU. The random draws depend only on (seed, epoch).
"""

import warnings
from collections.abc import Iterator
from math import ceil
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from trainable.data.dataset import Data, Split

# At 32x32; fewer where images are larger, so that the activations of a batch take as much memory.
EVALUATION_BATCH = 500


class Draw(NamedTuple):
    """What is drawn at random for a training batch of n images, on the device of the images.

    chosen: [n] of int64, their indices. shifts: [2, n] of int64, pixels by which each is moved down and to the right.
    mirrored: [n] of bool.
    """

    chosen: Tensor
    shifts: Tensor
    mirrored: Tensor


class DeviceSplit:
    """One split, resident on a device."""

    def __init__(self, split: Split, data: Data, device: torch.device) -> None:
        """Copies the split to `device`; on the CPU it is shared, so that a node's trials hold it only once.

        Args:
            split: of `data`, whose normalisation and augmentation are used.
        """
        with warnings.catch_warnings():
            # Ray's object store hands out read-only arrays, and nothing here writes to them.
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
            self.pixels = torch.from_numpy(split.images).to(device)
            self.labels = torch.from_numpy(split.labels).to(device)
        self.pad, self.flip = data.pad, data.flip
        self._mean = torch.tensor(data.mean, device=device).mul(255).view(1, 3, 1, 1)
        self._scale = torch.tensor(data.std, device=device).clamp_min(1e-6).mul(255).reciprocal().view(1, 3, 1, 1)
        self._across = torch.arange(self.pixels.shape[1], device=device)

    def __len__(self) -> int:
        return len(self.labels)

    def count_steps(self, batch_size: int) -> int:
        """The number of batches in one epoch."""
        return ceil(len(self) / batch_size)

    def augmented_batches(self, batch_size: int, *, seed: int, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """All images once, shuffled, in batches of about equal size: ([n, 3, size, size] channels-last, [n])."""
        return map(self.augment_images, self.draw_batches(batch_size, seed=seed, epoch=epoch))

    def draw_batches(self, batch_size: int, *, seed: int, epoch: int) -> Iterator[Draw]:
        """What is drawn for an epoch in batches of about equal size, the first of which may have an image more.

        Equal sizes, because a small last batch would disturb the batch normalisation.
        """
        draw = np.random.default_rng((seed, epoch))
        order = draw.permutation(len(self))
        shifts = draw.integers(-self.pad, self.pad + 1, (2, len(self)))
        mirrored = draw.random(len(self)) < (0.5 if self.flip else 0)
        drawn = (torch.from_numpy(each).to(self.pixels.device) for each in (order, shifts, mirrored))
        order_, shifts_, mirrored_ = drawn
        parts = self.count_steps(batch_size)
        yield from map(
            Draw, order_.tensor_split(parts), shifts_.tensor_split(parts, dim=1), mirrored_.tensor_split(parts)
        )

    def augment_images(self, draw: Draw) -> tuple[Tensor, Tensor]:
        """The batch that was drawn: images [n, 3, size, size], normalised and channels-last, and labels [n]."""
        chosen, shifts, mirrored = draw
        size = self.pixels.shape[1]
        rows = _reflect_index(self._across + shifts[0, :, None], size)
        columns = _reflect_index(self._across + shifts[1, :, None], size)
        columns = torch.where(mirrored[:, None], columns.flip(1), columns)
        crop = self.pixels[chosen[:, None, None], rows[:, :, None], columns[:, None, :]]
        return self._normalise_pixels(crop), self.labels[chosen]

    def plain_batches(
        self, batch_size: int | None = None, *, most: int | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """The images unchanged and in order, only the first `most` if given; the last batch may be small."""
        if batch_size is None:
            batch_size = max(1, EVALUATION_BATCH * 32**2 // self.pixels.shape[1] ** 2)
        end = len(self) if most is None else min(most, len(self))
        for start in range(0, end, batch_size):
            chosen = slice(start, min(start + batch_size, end))
            yield self._normalise_pixels(self.pixels[chosen]), self.labels[chosen]

    def _normalise_pixels(self, pixels: Tensor) -> Tensor:
        # From [n, height, width, 3] the permutation alone is channels-last.
        return (pixels.permute(0, 3, 1, 2).float() - self._mean) * self._scale


def _reflect_index(index: Tensor, size: int) -> Tensor:
    """Indices in (-size, 2 size - 1) reflected into [0, size), the border itself not repeated."""
    return (size - 1) - ((size - 1) - index.abs()).abs()
