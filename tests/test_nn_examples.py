"""The training example: a shorter run of the script."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.once  # no matter which kernel row or build

SCRIPT = Path(__file__).parents[1] / "docs" / "examples" / "train_digits.py"


def test_train_digits(capsys):
    pytest.importorskip("sklearn")
    spec = importlib.util.spec_from_file_location("train_digits", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    # Five epochs of the fifteen; a wrong gradient anywhere stays far below.
    assert script.main(epochs=5) > 0.97
    assert "held out" in capsys.readouterr().out
    (images, labels), (held, truth) = script.digits(np.random.default_rng(0))
    assert len(images) + len(held) == 1797 and len(held) == len(truth) == 449
    assert images.dtype == np.float32 and labels.shape == (1348,)
    assert not {image.tobytes() for image in images} & {image.tobytes() for image in held}
