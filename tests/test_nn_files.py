"""Weights in files: round trips, damage, and what is not written."""

import builtins
import pickle

import numpy as np
import pytest

from convx import nn

pytestmark = pytest.mark.once  # no matter which kernel row or build

SUFFIXES = [".npz", pytest.param(".safetensors", marks=pytest.mark.skipif(
    not __import__("importlib.util").util.find_spec("safetensors"), reason="safetensors is not installed"))]


def network():
    net = nn.Sequential(nn.Conv(3, 3), nn.BatchNorm(), nn.Flatten(), nn.Dense(2))
    net.init((1, 2, 6, 6), 0)
    return net


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_round_trip(tmp_path, suffix):
    net, other = network(), network()
    net.weights[0][...] = 7
    path = tmp_path / f"weights{suffix}"
    nn.save(path, net)
    found = nn.load(str(path))
    assert set(found) == set(net.named())
    assert all(np.array_equal(found[name], array) and found[name].dtype == array.dtype
               for name, array in net.named().items())
    other.assign(found)
    x = np.ones((2, 2, 6, 6), np.float32)
    assert np.array_equal(other(x), net(x))
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.int8, np.bool_, np.uint64])
def test_dtypes_and_orders(tmp_path, suffix, dtype):
    array = (np.arange(24).reshape(4, 6) % 5).astype(dtype)
    arrays = {"c": array, "f": np.asfortranarray(array), "view": array[::2, ::-1], "empty": array[:0],
              "one": array[0, 0]}
    nn.save(tmp_path / f"a{suffix}", arrays)
    found = nn.load(tmp_path / f"a{suffix}")
    for name, want in arrays.items():
        assert np.array_equal(found[name], want) and found[name].dtype == dtype


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_damage_is_a_sentence(tmp_path, suffix):
    path = tmp_path / f"weights{suffix}"
    nn.save(path, network())
    whole = path.read_bytes()
    for cut in (0, 1, 7, 30, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(ValueError, match=f"weights{suffix} cannot be read as"):
            nn.load(path)
    for foreign in (b"\x89PNG\r\n\x1a\n" + bytes(100), b"<html>", pickle.dumps({"w": 1})):
        path.write_bytes(foreign)
        with pytest.raises(ValueError, match="cannot be read as"):
            nn.load(path)
    rng = np.random.default_rng(0)
    for _ in range(60):  # a changed byte: other numbers, or the sentence
        data = bytearray(whole)
        data[rng.integers(len(data))] ^= int(rng.integers(1, 256))
        path.write_bytes(data)
        try:
            assert isinstance(nn.load(path), dict)
        except ValueError as error:
            assert "cannot be read as" in str(error)


def test_nothing_is_unpickled(tmp_path):
    path = tmp_path / "objects.npz"
    np.savez(path, w=np.array([{"a": 1}], object))
    with pytest.raises(ValueError, match="cannot be read as"):
        nn.load(path)
    np.save(tmp_path / "one.npy", np.ones(3))
    (tmp_path / "one.npy").rename(tmp_path / "one.npz")
    with pytest.raises(ValueError, match="cannot be read as"):
        nn.load(tmp_path / "one.npz")


def test_what_is_not_written(tmp_path):
    path = tmp_path / "weights.npz"
    nn.save(path, {"w": np.ones(2)})
    before = path.read_bytes()
    with pytest.raises(TypeError, match="w has dtype object"):
        nn.save(path, {"w": np.array([None])})
    with pytest.raises(ValueError, match="'file' is no name"):
        nn.save(path, {"file": np.ones(1)})
    with pytest.raises(ValueError, match=r"saved as \.npz or \.safetensors"):
        nn.save(tmp_path / "a.onnx", {})
    with pytest.raises(ValueError, match=r"none of \.onnx, \.npz, \.safetensors"):
        nn.save(tmp_path / "a.bin", {})
    with pytest.raises(ValueError, match="has no w yet"):
        nn.save(path, nn.Conv(1, 1))
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*nowhere$"):
        nn.save(tmp_path / "nowhere" / "a.npz", {})
    with pytest.raises(TypeError, match="weights must be a layer or arrays by name, not list"):
        nn.save(path, [1, 2])
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["weights.npz"]
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(FileNotFoundError, match="is a folder"):
        nn.load(tmp_path / "folder.onnx")
    with pytest.raises(FileNotFoundError, match="there is no file"):
        nn.load(tmp_path / "none.onnx")
    with pytest.raises(ValueError, match="the suffix tells the format"):
        nn.load(tmp_path / "none.pt")


@pytest.mark.parametrize("suffix, extra", [(".onnx", "onnx"), (".safetensors", "weights")])
def test_a_missing_package_is_a_sentence(tmp_path, monkeypatch, suffix, extra):
    plain = builtins.__import__

    def without(name, *rest):
        if name.split(".")[0] in ("onnx", "safetensors"):
            raise ImportError(f"no {name}")
        return plain(name, *rest)

    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"")
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=rf'pip install "convx-nd\[{extra}\]"'):
        nn.load(path)
