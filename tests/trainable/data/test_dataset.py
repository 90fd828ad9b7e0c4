import hashlib
import io
import os
import pickle
import re
import socket
import subprocess
import sys
import tarfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from trainable.config import DataConfig
from trainable.data import sources
from trainable.data.dataset import Data, Split, load_data

ROOT = Path(__file__).parents[3]
CIFAR = ROOT.parent / "shared" / "data" / "cifar10"
IMG = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def pixels(count: int, seed: int = 0, size: int = 32) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), np.uint8)


def encode(image: np.ndarray[Any, Any] | Image.Image, kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(stream, kind)
    return stream.getvalue()


def write_parquet(path: Path, encoded: list[Any], labels: list[Any], img: Any = IMG, label: Any = None) -> None:
    if img == IMG:
        encoded = [{"bytes": item} if isinstance(item, bytes) else item for item in encoded]
    table = {"img": pa.array(encoded, img), "label": pa.array(labels, label or pa.int64())}
    pq.write_table(pa.table(table), path, row_group_size=7)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """40 training and 10 test images of 4 classes, of pure noise, so that no two are equal."""
    folder = tmp_path / "noise"
    folder.mkdir()
    for name, count, seed in (("train", 40, 0), ("test", 10, 1)):
        images = pixels(count, seed)
        write_parquet(folder / f"{name}.parquet", [encode(image) for image in images], [n % 4 for n in range(count)])
    return folder


def load(source: Path | str, **settings: Any) -> Data:
    return load_data(DataConfig(source=str(source), **settings))


def refused(source: Path | str, **settings: Any) -> str:
    with pytest.raises(ValueError, match=r".") as caught:
        load(source, **settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def keys(split: Split) -> set[bytes]:
    return {image.tobytes() for image in split.images}


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
    assert re.fullmatch("[0-9a-f]{64}", data.fingerprint)
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
    ]
    fingerprints = [load(moved, **settings).fingerprint for settings in others]
    write_parquet(
        moved / "test.parquet", [encode(image) for image in pixels(10, seed=1)], [3, *[n % 4 for n in range(9)]]
    )
    fingerprints.append(load(moved).fingerprint)
    write_parquet(moved / "test.parquet", [encode(image) for image in pixels(10, seed=2)], [n % 4 for n in range(10)])
    fingerprints.append(load(moved).fingerprint)
    assert len({data.fingerprint, *fingerprints}) == 8


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
    monkeypatch.setattr(sources, "BLOCK", 4)
    monkeypatch.setattr(sources, "SMALL_BYTES", 0)
    encoded = [encode(image, kind) for image in pixels(50, size=40)]
    for name in ("train", "test"):
        write_parquet(tmp_path / f"{name}.parquet", encoded, [0, 1] * 25)
    expected = [Image.open(io.BytesIO(item)).convert("RGB").resize((32, 32), 2) for item in encoded]
    assert np.array_equal(load(tmp_path).test.images, np.stack([np.asarray(image) for image in expected]))


def test_image_folder(tmp_path: Path) -> None:
    images = iter(pixels(18))
    for split, count in (("train", 4), ("test", 2)):
        for name in ("b", "a", "C"):
            (tmp_path / split / name).mkdir(parents=True)
            for number in range(count):
                (tmp_path / split / name / f"{number}.png").write_bytes(encode(next(images)))
    (tmp_path / "train" / "a" / ".DS_Store").write_bytes(b"no image")
    (tmp_path / "train" / "README").write_text("no class")
    data = load(tmp_path, validation_fraction=0.25)
    assert (data.classes, len(data.train.labels), len(data.validation.labels)) == (3, 9, 3)
    assert data.test.labels.tolist() == [0, 0, 1, 1, 2, 2]  # C, a, b
    assert np.array_equal(data.test.images, pixels(18)[[16, 17, 14, 15, 12, 13]])

    broken = tmp_path / "test" / "b" / "1.png"
    broken.write_bytes(broken.read_bytes()[:100])
    assert refused(tmp_path).startswith(f"{broken} must be an image, but cannot be read: ")
    broken.unlink()
    broken.mkdir()
    assert f"{broken} must be an image" in refused(tmp_path)
    broken.rmdir()
    (broken.parent / "0.png").unlink()
    assert refused(tmp_path) == f"every class folder must hold images, but {broken.parent} is empty"
    broken.parent.rename(tmp_path / "test" / "d")
    assert "must hold the same class folders, but only one of them holds b, d" in refused(tmp_path)


def test_digits() -> None:
    data = load("digits")
    assert (data.name, data.classes, data.flip) == ("digits", 10, False)
    assert [len(split.labels) for split in (data.train, data.validation, data.test)] == [1293, 144, 360]
    assert np.bincount(data.test.labels).min() >= 34  # stratified: 34.8 of the rarest
    assert data.train.images.max() == 255
    assert data.train.images.min() == 0
    assert np.array_equal(data.train.images[..., 0], data.train.images[..., 2])
    assert not keys(data.test) & (keys(data.train) | keys(data.validation))
    assert data.mean == pytest.approx((0.305,) * 3, abs=0.005)
    assert load("digits").fingerprint == data.fingerprint
    assert load("digits", flip=True).flip


def test_flip_can_be_turned_off(folder: Path) -> None:
    assert not load(folder, flip=False).flip


def test_unknown_sources(tmp_path: Path, folder: Path) -> None:
    rule = "data must be 'digits', 'cifar10' or a folder, but "
    assert refused("mnist") == rule + "'mnist' is none of them"
    assert refused(tmp_path / "none") == rule + f"{str(tmp_path / 'none')!r} is none of them"
    assert rule in refused(folder / "train.parquet")
    layouts = "must hold train.parquet and test.parquet, or train/<class>/* and test/<class>/*, but holds neither"
    assert refused(tmp_path) == f"{str(tmp_path)!r} {layouts}"
    (tmp_path / "test").mkdir()
    assert "must hold both train and test, but train is missing" in refused(tmp_path)
    (tmp_path / "train").mkdir()
    assert "but train is empty" in refused(tmp_path)
    (folder / "test.parquet").unlink()
    assert "must hold both train.parquet and test.parquet, but test.parquet is missing" in refused(folder)


@pytest.mark.parametrize("damage", ["nonsense", "empty", "cut", "page", "folder"])
def test_damaged_parquet(folder: Path, damage: str) -> None:
    path = folder / "train.parquet"
    content = path.read_bytes()
    path.unlink()
    if damage == "folder":
        path.mkdir()
    else:
        page = content[:4] + bytes(100) + content[104:]
        path.write_bytes({"nonsense": b"a,b\n1,2\n", "empty": b"", "cut": content[:-50], "page": page}[damage])
    assert refused(folder).startswith(f"{path} must be a Parquet file, but cannot be read as one: ")


def test_wrong_columns(folder: Path) -> None:
    path = folder / "test.parquet"
    pq.write_table(pa.table({"image": [b""], "label": [0]}), path)
    missing = f"{path} must have the columns img and label, but lacks img; it has: image, label"
    assert refused(folder) == missing
    pq.write_table(pa.table({"image": [b""]}), path)
    assert "but lacks img and label; it has: image" in refused(folder)

    image = encode(pixels(1)[0])
    write_parquet(path, [image], ["cat"], label=pa.string())
    assert refused(folder) == f"column label of {path} must be of integers (0 to classes - 1), but is string"
    for values, kind in (
        ([image], pa.binary()),
        ([{"bytes": "a"}], pa.struct([("bytes", pa.string())])),
        ([{"data": image}], pa.struct([("data", pa.binary())])),
        ([1], pa.int64()),
    ):
        write_parquet(path, values, [0], img=kind)
        rule = f"column img of {path} must be a struct with the encoded image as bytes: binary, but is {kind}"
        assert refused(folder) == rule


def test_other_integer_and_binary_types(folder: Path) -> None:
    before = load(folder).fingerprint
    encoded = [{"bytes": encode(image)} for image in pixels(10, seed=1)]
    img = pa.struct([("bytes", pa.large_binary())])
    write_parquet(folder / "test.parquet", encoded, [n % 4 for n in range(10)], img=img, label=pa.uint8())
    assert load(folder).fingerprint == before


def test_null_values(folder: Path) -> None:
    path, image = folder / "test.parquet", encode(pixels(1)[0])
    rule = f"{path} must have no null values, but "
    write_parquet(path, [image, image, None], [0, 1, 2])
    assert refused(folder) == rule + "img.bytes is null in row 2 (from 0)"
    write_parquet(path, [image, {"bytes": None, "path": "1.png"}], [0, 1])
    assert refused(folder) == rule + "img.bytes is null in row 1 (from 0)"
    write_parquet(path, [image, image], [None, 1])
    assert refused(folder) == rule + "label is null in row 0 (from 0)"


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
        write_parquet(path, [*encoded[:37], broken, *encoded[38:]], [0, 1] * 20)
        for images in (None, 10):
            message = refused(folder, images=images)
            assert message.startswith(f"row 37 (from 0) of {path} must be an image, but cannot be read: ")
            assert reason in message


def test_importing_is_light() -> None:
    heavy = "{'torch', 'torchvision', 'ray', 'sklearn', 'pandas'}"
    code = f"import sys, trainable.data.dataset; sys.exit(' '.join({heavy} & set(sys.modules)) or 0)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})


@pytest.fixture
def cifar10(monkeypatch: pytest.MonkeyPatch) -> Any:
    """torchvision's class, whose download goes to a closed port. Importing it takes seconds: its tests are slow."""
    from torchvision.datasets import CIFAR10

    monkeypatch.setattr(CIFAR10, "url", "http://127.0.0.1:9/cifar-10-python.tar.gz")
    monkeypatch.setattr(sources, "DOWNLOAD_TIMEOUT_SECONDS", 0.2)
    return CIFAR10


def refused_cifar10(cache: Path) -> str:
    with pytest.raises(ValueError, match="CIFAR-10 could not be downloaded") as caught:
        load_data(DataConfig(source="cifar10"), cache=cache)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.slow
def test_cifar10_without_a_network(tmp_path: Path, cifar10: Any, capfd: pytest.CaptureFixture[str]) -> None:
    cache = tmp_path / "cache"
    message = refused_cifar10(cache)
    assert message.startswith(f"CIFAR-10 could not be downloaded into {str(cache)!r}: <urlopen error ")
    assert message.endswith(
        "; put the official cifar-10-python.tar.gz there, or pass `--data FOLDER` with train.parquet and test.parquet"
    )
    cache.mkdir(exist_ok=True)
    (cache / "cifar-10-python.tar.gz").write_bytes(b"half")
    assert "there (the one there is incomplete or not the official one), or" in refused_cifar10(cache)
    assert not capfd.readouterr().out
    assert socket.getdefaulttimeout() is None


@pytest.mark.slow
def test_cifar10_from_a_silent_server(tmp_path: Path, cifar10: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(cifar10, "url", f"http://127.0.0.1:{server.getsockname()[1]}/")
        assert "timed out" in refused_cifar10(tmp_path)


@pytest.mark.slow
def test_cifar10_is_cached_in_the_home_folder(tmp_path: Path, cifar10: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert str(tmp_path / ".cache" / "alphaprune") in refused("cifar10")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert str(tmp_path / "xdg" / "alphaprune") in refused("cifar10")


@pytest.mark.slow
def test_cifar10(
    tmp_path: Path, cifar10: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    images = pixels(60)

    def batch(first: int) -> bytes:
        data = images[first : first + 10].transpose(0, 3, 1, 2).reshape(10, -1)
        return pickle.dumps({"data": data, "labels": [*range(10)]})

    names = [name for name, _ in (*cifar10.train_list, *cifar10.test_list)]
    files = {name: batch(10 * number) for number, name in enumerate(names)}
    files["batches.meta"] = pickle.dumps({"label_names": [*"abcdefghij"]})
    archive = tmp_path / "cifar-10-python.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    # The official checksums, replaced by those of the files above.
    md5 = {name: hashlib.md5(content).hexdigest() for name, content in files.items()}
    monkeypatch.setattr(cifar10, "tgz_md5", hashlib.md5(archive.read_bytes()).hexdigest())
    monkeypatch.setattr(cifar10, "train_list", [[name, md5[name]] for name in names[:5]])
    monkeypatch.setattr(cifar10, "test_list", [[name, md5[name]] for name in names[5:]])
    monkeypatch.setattr(cifar10, "meta", {**cifar10.meta, "md5": md5["batches.meta"]})

    data = load_data(DataConfig(source="cifar10"), cache=tmp_path)  # put there by hand
    assert (data.name, data.classes, data.flip) == ("cifar10", 10, True)
    assert np.array_equal(data.test.images, images[50:])
    assert data.train.images.flags.c_contiguous
    assert len(keys(data.train) | keys(data.validation)) == 50

    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / archive.name).write_bytes(archive.read_bytes()[:1000])  # left by an interrupted download
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(cifar10, "url", f"http://127.0.0.1:{server.server_port}/{archive.name}")
        assert load_data(DataConfig(source="cifar10"), cache=cache).fingerprint == data.fingerprint
        server.shutdown()
    (cache / "cifar-10-batches-py" / "test_batch").write_bytes(b"half extracted")
    assert load_data(DataConfig(source="cifar10"), cache=cache).fingerprint == data.fingerprint
    assert not capfd.readouterr().out


@pytest.mark.slow
@pytest.mark.skipif(not CIFAR.is_dir(), reason="../shared/data/cifar10 is not there")
def test_real_cifar10() -> None:
    data = load(CIFAR)
    assert data.classes == 10
    assert [len(split.labels) for split in (data.train, data.validation, data.test)] == [45000, 5000, 10000]
    assert np.bincount(data.test.labels).tolist() == [1000] * 10
    assert data.mean == pytest.approx((0.491, 0.482, 0.447), abs=0.003)  # the published values
    assert data.std == pytest.approx((0.247, 0.243, 0.262), abs=0.003)
