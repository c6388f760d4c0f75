"""GNU Octave for the tests of convx.matlab: is it here, with its packages, and runs a script."""

import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

COMPAT = Path(__file__).resolve().parents[1] / "matlab_compat"


@functools.cache
def missing() -> str:
    """Why Octave cannot be used, or nothing."""
    if shutil.which("octave-cli") is None:
        return "GNU Octave is not installed (octave-cli)"
    done = run("pkg load image; pkg load signal;", check=False)
    return "" if done.returncode == 0 else "Octave lacks the packages image and signal"


def needed():
    """Skips the test that asks, with the reason."""
    if reason := missing():
        pytest.skip(reason)


def run(script: str, *, check=True, python=sys.executable, folder=None, timeout=120):
    """Runs commands in one process of Octave that has nothing of this machine's settings."""
    done = subprocess.run(["octave-cli", "--quiet", "--norc", "--eval", script], capture_output=True, text=True,
                          cwd=folder or Path(__file__).parent, timeout=timeout,
                          env={**os.environ, "CONVX_PYTHON": str(python)})
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done
