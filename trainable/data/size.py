"""How much data there is, and whether it fits into memory; both are known before any image is decoded."""

from dataclasses import dataclass

from trainable.config import DataConfig
from trainable.cpus import memory_bytes

# The share of the memory that images may take; the rest is for Python, PyTorch, networks and activations.
MOST_MEMORY = 0.8


@dataclass(frozen=True)
class DataSize:
    """Of the data as trials see it. train, validation, test: numbers of images; image_size: their height and width."""

    classes: int
    train: int
    validation: int
    test: int
    image_size: int = 32

    @property
    def trained_bytes(self) -> int:
        """What the training and the validation images take, which a trial on a GPU copies to it."""
        return (self.train + self.validation) * self._bytes_per_image

    @property
    def bytes(self) -> int:
        """What all images take, one byte per pixel and colour."""
        return self.trained_bytes + self.test * self._bytes_per_image

    @property
    def _bytes_per_image(self) -> int:
        return 3 * self.image_size**2


def count_images(config: DataConfig, *, classes: int, training: int, test: int) -> DataSize:
    """The size of the data of `config`, whose source has `training` and `test` images.

    Raises:
        ValueError: if more images are asked for than there are, or so few that a split would be empty.
    """
    images = training if config.images is None else config.images
    if images > training:
        raise ValueError(
            f"`images <= {training}` must hold, the number of training images of {config.source!r}, but got {images}"
        )
    held_out = round(config.validation_fraction * images)
    if not 0 < held_out < images:
        raise ValueError(
            f"train and validation must both get images, but validation_fraction={config.validation_fraction} gives "
            f"{held_out} of {images} images to validation; change the fraction or use more images"
        )
    return DataSize(classes, images - held_out, held_out, test, config.image_size)


def check_memory(size: DataSize, copies: int = 1) -> None:
    """Raises ValueError if the images, of which this machine holds `copies`, do not fit into memory."""
    available, needed = memory_bytes(), copies * size.bytes
    if needed > MOST_MEMORY * available:
        count = size.train + size.validation + size.test
        raise ValueError(
            f"the images must fit into {MOST_MEMORY:.0%} of the {available / 1e9:.1f} GB of memory that this process "
            f"may use, but {count:,} images of {size.image_size}x{size.image_size} pixels take {needed / 1e9:.1f} GB"
            f"{f' in {copies} copies' if copies > 1 else ''}; lower data.image_size or data.images"
        )
