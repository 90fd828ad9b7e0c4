"""Digits, and CIFAR-10 and CIFAR-100, which are downloaded once; no test needs a network."""

import hashlib
import io
import pickle
import socket
import tarfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
from image_data import keys, load, pixels, refused
from PIL import Image

from trainable.config import DataConfig
from trainable.data import builtin
from trainable.data.dataset import load_data

CIFAR = Path(__file__).parents[4] / "shared" / "data" / "cifar10"


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
    assert data.class_names == tuple("0123456789")
    # Of the first version: the experiments of all later ones have to find their data again.
    assert data.fingerprint == "ab9ec044635fde9c302844e6d5cf71fcc36041910f77e5367005d9b0e3651675"
    assert load("digits", flip=True).flip


def test_larger_digits() -> None:
    data = load("digits", image_size=64)
    assert data.test.images.shape == (360, 64, 64, 3)
    assert data.fingerprint != load("digits").fingerprint
    small = load("digits").test.images[:20]
    assert np.abs(data.test.images[:20, ::2, ::2].astype(int) - small).mean() < 8  # of the same originals


TITLES = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100"}


@pytest.fixture(params=["cifar10", "cifar100"])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def dataset(name: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """torchvision's class, whose download goes to a closed port. Importing it takes seconds: its tests are slow."""
    import torchvision.datasets

    dataset = getattr(torchvision.datasets, name.upper())
    monkeypatch.setattr(dataset, "url", f"http://127.0.0.1:9/{dataset.filename}")
    monkeypatch.setattr(builtin, "DOWNLOAD_TIMEOUT_SECONDS", 0.2)
    return dataset


def refused_download(name: str, cache: Path) -> str:
    with pytest.raises(ValueError, match=f"{TITLES[name]} could not be downloaded") as caught:
        load_data(DataConfig(source=name), cache=cache)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.slow
def test_without_a_network(tmp_path: Path, name: str, dataset: Any, capfd: pytest.CaptureFixture[str]) -> None:
    cache = tmp_path / "cache"
    message = refused_download(name, cache)
    assert message.startswith(f"{TITLES[name]} could not be downloaded into {str(cache)!r}: <urlopen error ")
    archive = {"cifar10": "cifar-10-python.tar.gz", "cifar100": "cifar-100-python.tar.gz"}[name]
    assert message.endswith(
        f"; put the official {archive} there, or pass `--data FOLDER` with train.parquet and test.parquet"
    )
    assert not builtin.has_download(name, cache)
    cache.mkdir(exist_ok=True)
    (cache / archive).write_bytes(b"half")
    assert "there (the one there is incomplete or not the official one), or" in refused_download(name, cache)
    assert not capfd.readouterr().out
    assert socket.getdefaulttimeout() is None


@pytest.mark.slow
def test_a_silent_server(tmp_path: Path, name: str, dataset: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(dataset, "url", f"http://127.0.0.1:{server.getsockname()[1]}/")
        assert "timed out" in refused_download(name, tmp_path)


@pytest.mark.slow
def test_downloads_are_kept_in_the_home_folder(
    tmp_path: Path, name: str, dataset: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert str(tmp_path / ".cache" / "alphaprune") in refused(name)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert str(tmp_path / "xdg" / "alphaprune") in refused(name)


CLASS_NAMES = [f"class {number}" for number in range(10)]


def pack_files(name: str, dataset: Any) -> dict[str, bytes]:
    """The files of the archive: 50 images of ten classes to train on and 10 to test with, as the originals are kept."""
    images = pixels(60).transpose(0, 3, 1, 2).reshape(60, -1)
    if name == "cifar10":
        key, meta, names = "labels", {"label_names": CLASS_NAMES}, [*dataset.train_list, *dataset.test_list]
        parts = {file: range(10 * part, 10 * part + 10) for part, (file, _) in enumerate(names)}
    else:
        key, meta = "fine_labels", {"fine_label_names": CLASS_NAMES, "coarse_label_names": ["all"]}
        parts = {"train": range(50), "test": range(50, 60)}
    files = {
        file: pickle.dumps(
            {"data": images[rows.start : rows.stop], key: [row % 10 for row in rows], "coarse_labels": 0}
        )
        for file, rows in parts.items()
    }
    return {**files, dataset.meta["filename"]: pickle.dumps(meta)}


@pytest.mark.slow
def test_a_download(
    tmp_path: Path, name: str, dataset: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    files = pack_files(name, dataset)
    archive = tmp_path / dataset.filename
    with tarfile.open(archive, "w:gz") as tar:
        for file, content in files.items():
            member = tarfile.TarInfo(f"{dataset.base_folder}/{file}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    # The official checksums, replaced by those of the files above.
    md5 = {file: hashlib.md5(content).hexdigest() for file, content in files.items()}
    monkeypatch.setattr(dataset, "tgz_md5", hashlib.md5(archive.read_bytes()).hexdigest())
    for split in ("train_list", "test_list"):
        monkeypatch.setattr(dataset, split, [[file, md5[file]] for file, _ in getattr(dataset, split)])
    monkeypatch.setattr(dataset, "meta", {**dataset.meta, "md5": md5[dataset.meta["filename"]]})

    assert builtin.has_download(name, tmp_path)
    data = load_data(DataConfig(source=name), cache=tmp_path)  # put there by hand
    assert (data.name, data.classes, data.flip) == (name, 10, True)
    assert data.class_names == tuple(CLASS_NAMES)
    assert np.array_equal(data.test.images, pixels(60)[50:])
    assert data.test.labels.tolist() == [*range(10)]
    assert data.train.images.flags.c_contiguous
    assert len(keys(data.train) | keys(data.validation)) == 50
    large = load_data(DataConfig(source=name, image_size=48), cache=tmp_path).test.images
    assert np.array_equal(large[3], np.asarray(Image.fromarray(pixels(60)[53]).resize((48, 48), 2)))

    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / archive.name).write_bytes(archive.read_bytes()[:1000])  # left by an interrupted download
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(dataset, "url", f"http://127.0.0.1:{server.server_port}/{archive.name}")
        assert load_data(DataConfig(source=name), cache=cache).fingerprint == data.fingerprint
        server.shutdown()
    (cache / dataset.base_folder / dataset.test_list[0][0]).write_bytes(b"half extracted")
    assert load_data(DataConfig(source=name), cache=cache).fingerprint == data.fingerprint
    assert not capfd.readouterr().out


@pytest.mark.slow
def test_what_is_known_before_the_download(name: str) -> None:
    import torchvision.datasets

    known = builtin.DOWNLOADS[name]
    assert known.title == TITLES[name]
    assert known.classes == int(known.title.rpartition("-")[2])
    assert issubclass(getattr(torchvision.datasets, known.dataset), torchvision.datasets.CIFAR10)


@pytest.mark.slow
@pytest.mark.skipif(not CIFAR.is_dir(), reason="../shared/data/cifar10 is not there")
def test_real_cifar10() -> None:
    data = load(CIFAR)
    assert data.classes == 10
    assert [len(split.labels) for split in (data.train, data.validation, data.test)] == [45000, 5000, 10000]
    assert np.bincount(data.test.labels).tolist() == [1000] * 10
    assert data.mean == pytest.approx((0.491, 0.482, 0.447), abs=0.003)  # the published values
    assert data.std == pytest.approx((0.247, 0.243, 0.262), abs=0.003)
