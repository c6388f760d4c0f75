"""The file of measured factors: read once, obeyed by auto and explain, and never in the way."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest

import convx
from convx import _costs, _kernels

pytestmark = pytest.mark.once

X, W = np.ones((1, 16, 20, 20), np.float32), np.ones((16, 16, 6, 6), np.float32)


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """Writes text where convx reads factors."""
    def write(text):
        path = tmp_path / "costs.json"
        path.write_text(text)
        monkeypatch.setenv("CONVX_COSTS", str(path))
        _costs.factors.cache_clear()
        return path

    yield write
    _costs.factors.cache_clear()


def predictions():
    with convx.threads(1):  # as the choice sees them
        return {name: seconds for name, refusal, seconds in convx.explain("conv", X, W).rows if refusal is None}


def test_factors_correct_the_predictions_and_the_choice(kept):
    before, first = predictions(), convx.explain("conv", X, W).chosen
    kept(json.dumps({"factors": {_kernels.row: {f"{first} f32": 500, "direct f64": 2}, "other": {"direct f32": 9}}}))
    after = predictions()
    assert after == {name: seconds * (500 if name == first else 1) for name, seconds in before.items()}
    explained = convx.explain("conv", X, W)
    assert explained.chosen == min(after, key=after.get) != first
    assert np.array_equal(convx.conv(X, W), convx.conv(X, W, algorithm=first))  # ones: exact sums whatever the order


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"factors": 3}', '{"factors": {"ROW": {"gemm f32": "fast"}}}',
                                  '{"factors": {"ROW": {"gemm f32": 0}}}', '{"factors": {"ROW": {"gemm": 1}}}',
                                  '{"factors": {"ROW": {"gemm f32": NaN}}}', '{"factors": {"ROW": [1]}}'])
def test_a_file_that_cannot_be_used_is_told_once(kept, text):
    before = predictions()
    path = kept(text.replace("ROW", _kernels.row))
    with pytest.warns(UserWarning, match=r"cannot use its cost factors in .*costs\.json"):
        assert predictions() == before
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert predictions() == before
    assert path.exists()


def test_where_the_file_is(monkeypatch, tmp_path):
    monkeypatch.setenv("CONVX_COSTS", "")
    assert _costs.file() is None
    monkeypatch.setenv("CONVX_COSTS", "some/file")
    assert _costs.file() == Path("some/file")
    monkeypatch.delenv("CONVX_COSTS")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert _costs.file() == tmp_path / "convx" / "costs.json"
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert _costs.file() == tmp_path / ".config" / "convx" / "costs.json"
