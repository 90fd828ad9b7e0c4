"""Images of any format, size and mode become 32x32 RGB; each is checked."""

import io
from pathlib import Path

import numpy as np
import pytest
from image_data import encode, load, pixels, refused, write_parquet
from PIL import Image

from trainable.data import images as decoding


def test_other_sizes_and_modes_become_32x32_rgb(tmp_path: Path) -> None:
    grey = Image.fromarray(pixels(1, size=48)[0]).convert("L")
    images = [
        grey,
        Image.fromarray(pixels(1, seed=1, size=20)[0]).convert("RGBA"),
        Image.fromarray(pixels(1, seed=2)[0]).convert("P"),
        Image.fromarray(pixels(1, seed=3)[0]).convert("1"),
        Image.fromarray(pixels(1, seed=4)[0]).convert("LA"),
    ]
    for name in ("train", "test"):
        write_parquet(tmp_path / f"{name}.parquet", [encode(image) for image in images], [0, 1, 0, 1, 1])
    test = load(tmp_path, validation_fraction=0.4).test.images
    assert np.array_equal(test[0], np.asarray(grey.convert("RGB").resize((32, 32), Image.Resampling.BILINEAR)))
    for image, seen in zip(images[2:], test[2:], strict=True):
        assert np.array_equal(seen, np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF"])
def test_formats_in_several_threads(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "BLOCK", 4)
    monkeypatch.setattr(decoding, "SMALL_BYTES", 0)
    encoded = [encode(image, kind) for image in pixels(50, size=40)]
    for name in ("train", "test"):
        write_parquet(tmp_path / f"{name}.parquet", encoded, [0, 1] * 25)
    expected = [Image.open(io.BytesIO(item)).convert("RGB").resize((32, 32), 2) for item in encoded]
    assert np.array_equal(load(tmp_path).test.images, np.stack([np.asarray(image) for image in expected]))


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_every_image_is_checked(folder: Path, kind: str) -> None:
    path = folder / "train.parquet"
    encoded = [encode(image, kind) for image in pixels(40)]
    for broken, reason in (
        (encoded[37][:200], ""),
        (encoded[37][: len(encoded[37]) // 2], "runcated"),
        (b"", "it is damaged or of a format unknown to Pillow"),
        (b"GIF89a", ""),
        (
            encode(np.full((32, 32), 60000, np.uint16)),
            "it has more than 8 bits per channel (mode I;16); convert it",
        ),
    ):
        write_parquet(path, [*encoded[:37], broken, *encoded[38:]], [0, 1, 2, 3] * 10)
        for images in (None, 10):
            message = refused(folder, images=images)
            assert message.startswith(f"row 37 (from 0) of {path} must be an image, but cannot be read: ")
            assert reason in message


def test_images_that_pillow_warns_about_are_read_in_silence(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    """A palette with transparency: a warning for each would be thousands of lines."""
    palette = Image.fromarray(pixels(1, size=48)[0]).convert("P")
    stream = io.BytesIO()
    palette.save(stream, "PNG", transparency=bytes(range(200)))
    for name in ("train", "test"):
        write_parquet(tmp_path / f"{name}.parquet", [stream.getvalue()] * 3, [0, 1, 1])
    seen = load(tmp_path, validation_fraction=0.4).test.images[0]
    assert not recwarn.list
    with Image.open(stream) as image, pytest.warns(UserWarning, match="Transparency"):
        rgb = image.convert("RGB")  # as torchvision does
    assert np.array_equal(seen, np.asarray(rgb.resize((32, 32), Image.Resampling.BILINEAR)))
