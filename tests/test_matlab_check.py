"""`python -m convx matlab-check`: files of every version are read, differences found, bad files told in a sentence."""

import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from types import SimpleNamespace

import numpy as np
import octave
import pytest
import scipy.io
from scipy.sparse import csc_array, issparse

from convx.__main__ import main
from convx._compat import check, matfile
from convx._compat.matfile import Case, UnreadableError, read, read_here

pytestmark = pytest.mark.once  # no matter which kernel row or build

STAMP = {"convx_reference": 1.0, "convx_program": "MATLAB", "convx_release": "25.2", "convx_date": "2026-01-01"}
A, B = np.arange(12.0).reshape(3, 4), np.array([[1.0, 2.0], [3.0, 4.5]])
FULL = np.zeros((4, 5))  # conv2(A, B)
for place, tap in np.ndenumerate(B):
    FULL[place[0]:place[0] + 3, place[1]:place[1] + 4] += A * tap
CONV2 = {"call": "conv2", "in1": A, "in2": B, "out1": FULL}


def saved(path, *cases, compression=True, **changes):
    """A reference file as save_reference.m writes it."""
    variables = {f"c{number:05d}_{name}": value for number, case in enumerate(cases, 1) for name, value in case.items()}
    variables.update(STAMP, convx_cases=float(len(cases)))
    variables.update(changes)
    scipy.io.savemat(path, {name: value for name, value in variables.items() if value is not None},
                     do_compression=compression)
    return path


def command(*arguments):
    """The command line in this process: its status and what it prints."""
    out, error = StringIO(), StringIO()
    with redirect_stdout(out), redirect_stderr(error):
        status = main(["matlab-check", *map(str, arguments)])
    return SimpleNamespace(returncode=status, stdout=out.getvalue(), stderr=error.getvalue())


def test_a_file_that_agrees(tmp_path):
    done = command(saved(tmp_path / "a.mat", CONV2, {**CONV2, "in3": "same", "out1": FULL[1:, 1:]}))
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "MATLAB 25.2, 2026-01-01: 2 cases" and lines[-1] == "2 cases agree, 0 do not"
    assert lines[3].split() == "1 conv2(3x4 double, 2x2 double) 4x5 double 0 0 pass".split()
    assert "conv2(3x4 double, 2x2 double, 'same')" in lines[4]


def test_the_command_by_itself(tmp_path):
    done = subprocess.run([sys.executable, "-m", "convx", "matlab-check", saved(tmp_path / "a.mat", CONV2)],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stdout.endswith("1 cases agree, 0 do not\n") and not done.stderr
    done = subprocess.run([sys.executable, "-m", "convx", "matlab-check"], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "usage" in done.stderr


def test_a_file_that_differs(tmp_path):
    wrong = FULL.copy()
    wrong[2, 1] += 1e-9
    wrong[0, 3] += 1e-9
    done = command("--only-failures", saved(tmp_path / "a.mat", CONV2, {**CONV2, "out1": wrong}))
    assert done.returncode == 1 and not done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 5 and lines[-1] == "1 cases agree, 1 do not"
    assert "FAIL  (3, 2): " in lines[3], "the first down the columns, counted from 1"


def finding(got, want, name="conv2", inputs=(A, B), region=None):
    return check.compare(Case(1, name, list(inputs), [want], region=region), got, want)


def test_what_agrees():
    whole = np.round(FULL)
    assert finding(FULL, FULL).ulps == 0
    close = finding(FULL * (1 + 2e-13), FULL)
    assert close.passed and close.relative == pytest.approx(2e-13, rel=0.01) and close.ulps > 1
    assert not finding(FULL * (1 + 2e-12), FULL).passed
    assert finding(np.float32(FULL * (1 + 1e-6)), np.float32(FULL)).passed
    assert not finding(np.float32(FULL * (1 + 4e-6)), np.float32(FULL)).passed
    assert not finding(whole + 1e-13, whole, inputs=(A, np.round(B))).passed, "whole numbers agree bit for bit"
    assert finding(whole + 1e-13, whole).passed
    assert not finding(FULL + 1e-15, FULL, "padarray").passed
    assert not finding(FULL[1:], FULL).passed and not finding(np.float32(FULL), FULL).passed
    assert not finding(np.int8([[1, 2]]), np.int8([[1, 3]]), "imfilter").passed
    assert not finding(np.array([[2**62 + 1]]), np.array([[2**62]]), "padarray").passed, "no float holds both"
    assert finding(FULL + 0j, FULL).passed and not finding(FULL + 1e-9j, FULL).passed


def test_zeros_of_transforms_and_regions():
    inputs = np.array([[1.0, 2.0]]), np.array([[30.0, 4.0]])
    assert finding(np.array([[1e-14]]), np.zeros((1, 1)), "cconv", inputs).passed
    assert not finding(np.array([[1e-14]]), np.zeros((1, 1)), "filter2", inputs).passed
    other = FULL.copy()
    other[0, 0] = 99
    assert finding(other, FULL, region=(2, 4, 1, 5)).passed
    assert finding(other, FULL, region=(1, 4, 1, 5)).note.startswith("(1, 1): ")
    other[2, 3] = 99
    assert finding(other, FULL, region=(2, 4, 2, 5)).note.startswith("(3, 4): ")


def test_nan_and_infinity():
    want = np.array([[np.nan, np.inf, 1.5]])
    assert finding(want.copy(), want).passed
    for other in ([[0, np.inf, 1.5]], [[np.nan, -np.inf, 1.5]], [[np.nan, np.inf, np.nan]], [[np.nan, 3.0, 1.5]]):
        assert not finding(np.array(other), want).passed


def errors(program, identifier, *inputs):
    case = Case(1, "conv", list(inputs), error=identifier)
    return [found.passed for found in check.check_case(case, program)]


def test_errors_count_by_identifier_where_matlab_gave_it():
    assert errors("MATLAB", "MATLAB:conv:AorBNotVector", A, B) == [True]
    assert errors("MATLAB", "MATLAB:conv:other", A, B) == [False]
    assert errors("Octave", "", A, B) == [True]
    assert errors("Octave", "", A[:1], B[:1]) == [False], "it has to fail"
    assert [found.passed for found in check.check_case(Case(1, "conv", [A, B], [A]), "MATLAB")] == [False]


@pytest.mark.parametrize("name", ["system", "eval", "os.system", "MatlabError"])
def test_other_functions_are_not_called(tmp_path, name):
    done = command(saved(tmp_path / "a.mat", {"call": name, "in1": "ls", "out1": 1.0}))
    assert done.returncode == 1 and f"no function {name!r}" in done.stdout


def test_results_of_enormous_size_are_not_computed(tmp_path):
    huge = ({"call": "padarray", "in1": A, "in2": [[1e7, 1e7]], "out1": A},
            {"call": "fspecial", "in1": "gaussian", "in2": 1e9, "out1": A},
            {"call": "convmtx", "in1": [[1.0]], "in2": 1e12, "out1": A},
            {"call": "convmtx2", "in1": A, "in2": 1e5, "in3": 1e5, "out1": A},
            {"call": "imgaussfilt", "in1": A, "in2": "FilterSize", "in3": 1e9 + 1, "out1": A},
            {"call": "cconv", "in1": A[:1], "in2": A[:1], "in3": 1e13, "out1": A},
            {"call": "xcorr", "in1": A[:1], "in2": A[:1], "in3": 1e13, "out1": A},
            {"call": "vl_nnconvt", "in1": A, "in2": B, "in3": A[:0], "in4": "Upsample", "in5": 1e9, "out1": A})
    done = command(saved(tmp_path / "a.mat", *huge))
    assert done.returncode == 1
    assert done.stdout.count("the result would be larger than") == len(huge)


def test_a_file_sends_nothing_to_the_terminal(tmp_path):
    done = command(saved(tmp_path / "a.mat", {**CONV2, "in3": "\x1b[2J"}, {"call": "\x1b]0;x\a", "out1": 1.0},
                         convx_release="\x1b[31m"))
    assert done.returncode == 1 and "\x1b" not in done.stdout + done.stderr and "\a" not in done.stdout


CLASSES = ("f8", "f4", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "?", "c16", "c8")
VALUES = {**{f"in{k}": np.arange(24).reshape(2, 3, 4).astype(kind) * (1 + 1j if kind[0] == "c" else 1)
             for k, kind in enumerate(CLASSES, 1)},
          "in14": np.zeros((0, 3)), "in15": "text", "in16": "", "in17": csc_array(np.array([[0, 1.5], [2.0, 0]])),
          "in18": np.zeros((2, 0), np.uint8)}


def assert_read(case):
    assert case.name == "padarray" and len(case.inputs) == len(VALUES) and len(case.outputs) == 1
    for got, want in zip(case.inputs, VALUES.values(), strict=True):
        if isinstance(want, str):
            assert got.dtype.kind == "U" and "".join(got.ravel()) == want
        else:
            assert issparse(got) == issparse(want) and got.shape == want.shape and got.dtype == want.dtype
            assert np.array_equal(*(a.toarray() if issparse(a) else a for a in (got, want)))


def test_classes_of_versions_to_7(tmp_path):
    assert_read(read_here(saved(tmp_path / "a.mat", {"call": "padarray", **VALUES, "out1": 1.0})).cases[0])


def save_7_3(path, variables):
    """As MATLAB's -v7.3: HDF5 behind 512 bytes, columns last, classes in attributes."""
    h5py = pytest.importorskip("h5py")
    names = {"f8": "double", "f4": "single", "b1": "logical", "c16": "double", "c8": "single"}
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, value in variables.items():
            if issparse(value):
                item = file.create_group(name)
                item.attrs["MATLAB_sparse"] = np.uint64(value.shape[0])
                item["data"], item["ir"], item["jc"] = value.data, value.indices.astype("u8"), value.indptr.astype("u8")
                kind = "double"
            else:
                text = isinstance(value, str)
                value = np.array([[ord(c) for c in value]], "u2").reshape(1, -1)[:, :len(value)] if text else \
                    np.atleast_2d(np.asarray(value))
                kind = "char" if text else names.get(value.dtype.str[1:], value.dtype.name)
                if not value.size:
                    item = file.create_dataset(name, data=np.array(value.shape if not text else (0, 0), "u8"))
                    item.attrs["MATLAB_empty"] = np.uint8(1)
                elif value.dtype.kind == "c":
                    pair = [(part, f"f{value.itemsize // 2}") for part in ("real", "imag")]
                    item = file.create_dataset(name, data=np.ascontiguousarray(value.T).view(pair))
                else:
                    item = file.create_dataset(name, data=(value.astype("u1") if value.dtype == bool else value).T)
            item.attrs["MATLAB_class"] = np.bytes_(kind)
    data = bytearray(path.read_bytes())
    data[:128] = b"MATLAB 7.3 MAT-file, Platform: GLNXA64, HDF5 schema 1.00 .".ljust(124) + b"\x00\x02IM"
    path.write_bytes(data)
    return path


def variables_7_3(*cases):
    found = {f"c{number:05d}_{name}": value for number, case in enumerate(cases, 1) for name, value in case.items()}
    return {**found, **STAMP, "convx_cases": float(len(cases))}


def test_classes_of_version_7_3(tmp_path):
    path = save_7_3(tmp_path / "a.mat", variables_7_3({"call": "padarray", **VALUES, "out1": 1.0}))
    assert_read(read_here(path).cases[0])


def test_version_7_3_by_the_command(tmp_path):
    done = command(save_7_3(tmp_path / "a.mat", variables_7_3(CONV2)))
    assert done.returncode == 0, done.stdout + done.stderr


def test_version_7_3_without_h5py(tmp_path, monkeypatch):
    path = save_7_3(tmp_path / "a.mat", variables_7_3(CONV2))
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(UnreadableError, match=r'h5py reads: pip install "convx-nd\[matlab\]", or save it with -v7'):
        read_here(path)


def test_version_7_3_reads_no_other_file(tmp_path):
    h5py = pytest.importorskip("h5py")
    path = save_7_3(tmp_path / "a.mat", variables_7_3(CONV2))
    with h5py.File(path, "a") as file:
        del file["c00001_in1"]
        file["c00001_in1"] = h5py.ExternalLink("/etc/passwd", "x")
    with pytest.raises(UnreadableError, match="kept in another file"):
        read_here(path)


def test_files_cut_off_anywhere(tmp_path):
    whole = saved(tmp_path / "a.mat", CONV2).read_bytes()
    path, rng = tmp_path / "b.mat", np.random.default_rng(5)
    for length in [0, 1, 100, 127, 128, 129, *rng.integers(130, len(whole), 30), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(UnreadableError, match=r"b\.mat"):
            read_here(path)


def test_damaged_files(tmp_path):
    """A changed byte is told in a sentence. Those of the plain file make SciPy's reader of MATLAB files crash."""
    plain, packed = (tmp_path / name for name in ("a.mat", "c.mat"))
    saved(packed, CONV2)
    saved(plain, CONV2, compression=False)
    path, rng = tmp_path / "b.mat", np.random.default_rng(5)
    for whole, places in ((plain.read_bytes(), (144, 192, 272)), (packed.read_bytes(), rng.integers(136, 500, 4))):
        for place in places:
            damaged = bytearray(whole)
            damaged[place] ^= 1
            path.write_bytes(damaged)
            with pytest.raises(UnreadableError) as caught:
                read(path)
            assert "b.mat" in str(caught.value) and "\n" not in str(caught.value)


def test_files_of_version_7_3_cut_off_anywhere(tmp_path):
    whole = save_7_3(tmp_path / "a.mat", variables_7_3(CONV2)).read_bytes()
    path, rng = tmp_path / "b.mat", np.random.default_rng(6)
    for length in rng.integers(600, len(whole) - 1, 20):
        path.write_bytes(whole[:length])
        with pytest.raises(UnreadableError):
            read_here(path)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89PNG\r\n\x1a\n" + bytes(600), bytes(1000), b"PK\x03\x04" * 300,
                                     b"\x89HDF\r\n\x1a\n" + bytes(600)], ids=len)
def test_foreign_files(tmp_path, content):
    path = tmp_path / "x.mat"
    path.write_bytes(content)
    done = command(path)
    assert done.returncode == 2 and done.stderr.startswith("convx matlab-check: ") and done.stderr.count("\n") == 1


def test_missing_files_and_folders(tmp_path):
    for path in (tmp_path / "nowhere.mat", tmp_path):
        done = command(path)
        assert done.returncode == 2 and done.stderr.count("\n") == 1 and str(path) in done.stderr


@pytest.mark.parametrize("changes, said", [
    ({"convx_reference": None}, "convx_reference is missing"), ({"convx_reference": 2.0}, "reads format 1"),
    ({"convx_cases": 3.0}, "has 1 cases and should have 3"), ({"c00001_out1": None}, "no result"),
    ({"c00001_call": None}, "no call"), ({"c00001_in1": None}, "lacks some of its inputs"),
    ({"c00001_in1": {"a": 1}}, "class struct"), ({"c00001_in1": np.array([[1], "a"], object)}, "class cell"),
    ({"c00001_call": 5.0}, "a text is no text"), ({"c00001_region": np.ones((1, 3))}, "not enough values"),
    ({"c00001_region": [[3.0, 2.0, 1.0, 2.0]]}, "region outside"),
    ({"c00001_region": [[1.0, 9.0, 1.0, 2.0]]}, "region outside"),
])
def test_other_mat_files(tmp_path, changes, said):
    with pytest.raises(UnreadableError, match=said):
        read_here(saved(tmp_path / "a.mat", CONV2, **changes))


def test_huge_files(tmp_path, monkeypatch):
    path = saved(tmp_path / "a.mat", {**CONV2, "in1": np.zeros((1000, 1000))})
    assert path.stat().st_size < 10_000
    monkeypatch.setattr(matfile, "LIMIT", 1_000_000)
    with pytest.raises(UnreadableError, match="would take 8000"):
        read_here(path)
    monkeypatch.setattr(matfile, "LIMIT", 1_000)
    with pytest.raises(UnreadableError, match=r"bytes; the limit is 1000"):
        read_here(path)


def test_what_octave_saves(tmp_path):
    octave.needed()
    octave.run(f"""addpath('{octave.COMPAT}');
        save_reference('a.mat', {{'conv2', magic(4), [1 2; 3 4], 'same'}}, {{2, 'deconv', [2 7 4 9], [1 0 1]}}, ...
                       {{'conv', magic(3), 1}});
        try, save_reference('b.mat', {{'no_such_function', 1}}); catch problem, disp(problem.message); end""",
               folder=tmp_path)
    done = command(tmp_path / "a.mat")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("Octave ") and "3 cases agree, 0 do not" in done.stdout
    assert [len(case.outputs) for case in read(tmp_path / "a.mat").cases] == [1, 2, 0]
