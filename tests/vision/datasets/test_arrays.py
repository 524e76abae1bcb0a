"""MNIST, KMNIST, CIFAR and SVHN: read from local copies in the published formats; what is wrong in them is told."""

from __future__ import annotations

import gzip
import hashlib
import io
import struct
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from nyala.errors import ArgumentError, DataError, IntegrityError, NetworkError
from nyala.vision.datasets import CIFAR10, CIFAR100, KMNIST, MNIST, SVHN

MATS = Path(__file__).parents[2] / "goldens" / "vision" / "mat"


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


@pytest.mark.parametrize("where", [".", "raw", "KMNIST/raw"])
@pytest.mark.parametrize("packed", [True, False])
def test_mnist_from_a_folder(where: str, packed: bool, tmp_path: Path) -> None:
    images, labels = np.arange(2 * 784).reshape(2, 28, 28) % 256, np.array([9, 0])
    (tmp_path / where).mkdir(parents=True, exist_ok=True)
    for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
        name = tmp_path / where / f"t10k-{kind}-ubyte"
        name.with_suffix(".gz" if packed else "").write_bytes(gzip.compress(idx(array)) if packed else idx(array))
    data = KMNIST("test", folder=tmp_path)
    assert (data.images == images).all() and data.labels.tolist() == [9, 0] and data.labels.dtype == np.int64
    picture, label = data[0]
    assert picture.shape == (28, 28) and data.classes[label] == "wo"
    with pytest.raises(DataError, match=r"there is no file .*train-images.*left out, KMNIST is fetched"):
        KMNIST("train", folder=tmp_path)
    with pytest.raises(ArgumentError, match=r"MNIST has no split 'val'.*'train' or 'test'"):
        MNIST("val")


def test_another_set_in_its_place_is_found_out(tmp_path: Path) -> None:
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(np.zeros((2, 28, 28))))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(np.array([3, 17])))
    with pytest.raises(DataError, match=r"does not hold MNIST: .*2 labels go up to 17"):
        MNIST("train", folder=tmp_path)


def test_nothing_is_fetched_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NYALA_CACHE", str(tmp_path))
    monkeypatch.setenv("NYALA_OFFLINE", "1")
    for kind, name in (
        (MNIST, "train-images"),
        (CIFAR10, "cifar-10-binary"),
        (CIFAR100, "cifar-100-binary"),
        (SVHN, "train_32x32"),
    ):
        with pytest.raises(NetworkError, match=f"{name}.* is not in the cache"):
            kind("train")
    downloads = [MNIST.download("t10k-labels-idx1-ubyte.gz"), CIFAR10.archive, CIFAR100.archive, SVHN.download("extra")]
    assert all(len(d.sha256) == 64 and not d.verified and d.urls for d in downloads)


def cifar(folder: Path, coarse: bool) -> dict[str, bytes]:
    """A CIFAR with two pictures a file; returns what an archive of it holds."""
    rng, inside, content = np.random.default_rng(0), "cifar-100-binary" if coarse else "cifar-10-batches-bin", {}
    names = ["train.bin", "test.bin"] if coarse else [f"data_batch_{i}.bin" for i in range(1, 6)] + ["test_batch.bin"]
    for i, name in enumerate(names):
        rows = rng.integers(0, 256, (2, 3072)).astype(np.uint8)
        marks = [[1, 7], [0, 3]] if coarse else [[i], [9]]
        content[f"{inside}/{name}"] = np.concatenate([np.array(marks, np.uint8), rows], axis=1).tobytes()
    if coarse:
        content[f"{inside}/fine_label_names.txt"] = "\n".join(f"fine{i}" for i in range(100)).encode() + b"\n\n"
        content[f"{inside}/coarse_label_names.txt"] = "\n".join(f"coarse{i}" for i in range(20)).encode()
    for name, data in content.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return content


def test_cifar10_from_a_folder(tmp_path: Path) -> None:
    content = cifar(tmp_path, coarse=False)
    for folder in (tmp_path, tmp_path / "cifar-10-batches-bin"):
        data = CIFAR10("train", folder=folder)
        assert data.images.shape == (10, 32, 32, 3) and data.labels.tolist() == [0, 9, 1, 9, 2, 9, 3, 9, 4, 9]
    raw = np.frombuffer(content["cifar-10-batches-bin/data_batch_1.bin"], np.uint8)
    assert data.images[0, 0, 5].tolist() == [raw[1 + 5], raw[1 + 1024 + 5], raw[1 + 2048 + 5]]
    assert len(CIFAR10("test", folder=tmp_path)) == 2
    (tmp_path / "cifar-10-batches-bin" / "test_batch.bin").write_bytes(bytes(100))
    with pytest.raises(DataError, match=r"test_batch\.bin holds 100 bytes"):
        CIFAR10("test", folder=tmp_path)


def test_cifar100_has_two_kinds_of_classes(tmp_path: Path) -> None:
    cifar(tmp_path, coarse=True)
    fine, coarse = CIFAR100("test", folder=tmp_path), CIFAR100("test", folder=tmp_path, coarse=True)
    assert fine.labels.tolist() == [7, 3] and fine.classes[7] == "fine7" and len(fine.classes) == 100
    assert coarse.labels.tolist() == [1, 0] and coarse.classes[1] == "coarse1" and len(coarse.classes) == 20


def test_cifar10_from_its_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NYALA_CACHE", str(tmp_path / "cache"))
    (tmp_path / "mine").mkdir()
    path = tmp_path / "mine" / "cifar-10-binary.tar.gz"
    with tarfile.open(path, "w:gz") as out:
        for name, data in cifar(tmp_path / "other", coarse=False).items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            out.addfile(info, io.BytesIO(data))
    with pytest.raises(IntegrityError, match="another sha256 than the pinned c4a38c50a1bc"):
        CIFAR10("train", folder=tmp_path / "mine")
    sha = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setattr(CIFAR10, "archive", replace(CIFAR10.archive, sha256=sha))
    assert len(CIFAR10("train", folder=tmp_path / "mine")) == 10
    monkeypatch.setenv("NYALA_OFFLINE", "1")
    assert len(CIFAR10("test")) == 2, "it lies in the cache now"


def test_pickled_copies_are_refused_with_a_reason(tmp_path: Path) -> None:
    (tmp_path / "cifar-10-batches-py").mkdir()
    with pytest.raises(DataError, match=r"pickled: reading it could run code.*get the binary version, cifar-10-binary"):
        CIFAR10("train", folder=tmp_path)


def test_svhn_from_a_folder(tmp_path: Path) -> None:
    from nyala.vision.datasets import svhn

    pictures = np.arange(32 * 32 * 3 * 2).reshape(32, 32, 3, 2) % 256
    found = {"X": pictures.astype(np.uint8), "y": np.array([[10.0], [4.0]])}
    path = tmp_path / "test_32x32.mat"
    with pytest.raises(DataError, match="there is no file"):
        SVHN("test", folder=tmp_path)
    path.write_bytes((MATS / "plain.mat").read_bytes())
    with pytest.raises(DataError, match="does not hold SVHN"):  # pictures of another size
        SVHN("test", folder=tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(svhn, "read_mat", lambda _: found)
        data = SVHN("test", folder=tmp_path)
    assert data.labels.tolist() == [0, 4] and (data.images[1] == pictures[..., 1]).all()
