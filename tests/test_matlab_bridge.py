"""The bridge: MATLAB and Octave compute with convx. Bytes without Octave; the rest in it, where it is installed."""

import re
import struct
import subprocess
import sys
import time

import numpy as np
import octave
import pytest
from scipy.sparse import csc_array, issparse

from convx._compat import bridge
from convx._compat.calls import CLASSES, CallError, call, class_of, dtype_of, matrix

pytestmark = pytest.mark.once  # no matter which kernel row or build


def request(name, *arguments, outputs=1):
    values = [matrix(name), *map(matrix, arguments)]
    return struct.pack("=II", outputs, len(values)) + b"".join(map(bridge._packed, values))


def answer(data):
    """(failed, values) of an answer."""
    reader, values = bridge._Reader(data[1:]), []
    while reader.at < len(reader.data):
        values.append(reader.value())
    return data[0], values


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (0, 4), (2, 3, 4), (2, 1, 3, 2)])
@pytest.mark.parametrize("name, is_complex", [*((name, False) for name in CLASSES[:-1]), ("double", True),
                                              ("single", True)])
def test_values_come_back(name, shape, is_complex):
    value = np.random.default_rng(1).uniform(0, 100, shape) + (3j if is_complex else 0)
    value = value.astype(dtype_of(name, is_complex))
    back = bridge._Reader(bridge._packed(value)).value()
    assert back.dtype == value.dtype and back.shape == value.shape and np.array_equal(back, value)
    assert class_of(back) == name


@pytest.mark.parametrize("text", ["", "same", "ä"])
def test_text_comes_back(text):
    assert "".join(bridge._Reader(bridge._packed(matrix(text))).value().ravel()) == text


def test_sparse_matrices_come_back():
    value = csc_array(np.array([[0, 2.5, 0], [1, 0, 0]]))
    back = bridge._Reader(bridge._packed(value)).value()
    assert issparse(back) and back.shape == (2, 3) and np.array_equal(back.toarray(), value.toarray())


def test_a_call_and_an_error():
    failed, (y,) = answer(bridge.respond(request("conv2", [[1.0, 2.0], [3.0, 4.0]], [[1.0, 1.0]], "same")))
    assert not failed and np.array_equal(y, [[3, 2], [7, 4]])
    failed, (identifier, text) = answer(bridge.respond(request("conv", [[1.0, 2.0], [3.0, 4.0]], 1.0)))
    assert failed and "".join(identifier[0]) == "MATLAB:conv:AorBNotVector" and "vectors" in "".join(text[0])


def test_text_is_a_row_of_characters():
    failed, (y,) = answer(bridge.respond(request("padarray", "abc", [[0.0, 1.0]], "replicate")))
    assert not failed and y.shape == (1, 5) and "".join(y[0]) == "aabcc"
    failed, (identifier, _) = answer(bridge.respond(request("padarray", "abc", [[0.0, 1.0]])))
    assert failed and "".join(identifier[0]) == "images:padarray:badTypeForConstantPadding"
    with pytest.raises(CallError, match="array of words"):
        bridge._packed(np.array([["ab", "c"]]))


@pytest.mark.parametrize("name", ["system", "__import__", "MatlabError", "_values", ""])
def test_only_functions_of_the_room_are_called(name):
    with pytest.raises(CallError, match="no function"):
        call(name, [])


@pytest.mark.parametrize("cut", range(0, 60, 3))
def test_damaged_requests_are_answered(cut):
    whole = request("conv2", np.ones((3, 3)), np.ones((2, 2)))
    damaged = [whole[:cut], whole[:cut] + b"\xff" * (len(whole) - cut)]
    for data in damaged:
        failed, (identifier, _) = answer(bridge.respond(data))
        assert failed and "".join(identifier[0]).startswith(("convx:bridge:", "convx:python:"))


SAME = """
addpath('{folder}/octave'); rand('seed', 3);
function same(a, b, what)
  if ~(strcmp(class(a), class(b)) && isequal(size(a), size(b)) && issparse(a) == issparse(b) && isequal(a, b))
    error('test:%s', what);
  end
end
whole = {{zeros(0, 0), zeros(0, 3), 3, [1 -2; 3 4; 5 6], single([1 2; 3 4]), int8([-100 7; 5 5]), uint16([60000 1]), ...
          int32([1; 2]), logical([1 0; 1 1]), [1+2i 3; 4 5i], single([1i 2; 3 4])}};
for k = 3:numel(whole)
  same(convx_conv2(whole{{k}}, [1 2; 3 4]), conv2(whole{{k}}, [1 2; 3 4]), 'conv2');
  same(convx_conv2(whole{{k}}, [1 2; 3 4], 'same'), conv2(whole{{k}}, [1 2; 3 4], 'same'), 'conv2 same');
end
same(convx_conv2(whole{{1}}, ones(2, 3)), zeros(2, 3), 'empty');
same(convx_conv2(whole{{2}}, ones(2, 3), 'same'), zeros(0, 3), 'empty');
volume = round(10 * rand(3, 4, 2, 2));
same(convx_convn(volume, ones(2, 2, 2)), convn(volume, ones(2, 2, 2)), 'convn');
same(convx_convn(volume, ones(2, 2, 2), 'valid'), convn(volume, ones(2, 2, 2), 'valid'), 'convn valid');
[q, r] = convx_deconv([2 7 4 9], [1 0 1]);
same(q, [2 7], 'q'); same(r, [0 0 2 2], 'r');
[c, lags] = convx_xcorr([1 2 3], [1 1 1], 1);
same(c, [3 6 5], 'xcorr'); same(lags, -1:1, 'lags');
T = convx_convmtx2([1 2; 3 4], 3, 2);
same(issparse(T), true, 'sparse'); same(T * (1:6)', conv2([1 4; 2 5; 3 6], [1 2; 3 4])(:), 'convmtx2');
X = magic(6);
[Y, at, sizes] = convx_maxpool(X, 2, 'Stride', 2, 'DataFormat', 'SSC');
same(Y, reshape(max(max(reshape(X, 2, 3, 2, 3), [], 1), [], 3), 3, 3), 'maxpool');
same(X(at), Y, 'indices'); same(sizes(1:2), [6 6], 'size');
same(convx_maxunpool(Y, at, [6 6]), X .* ismember(reshape(1:36, 6, 6), at(:)), 'maxunpool');
y = convx_dlconv(X, ones(2), 0, 'DataFormat', 'SSC', 'Padding', 'same');
same(y(1:5, 1:5), conv2(X, ones(2), 'valid'), 'dlconv');
[dx, dw, db] = convx_vl_nnconv(X, ones(2), [], ones(5));
same(dx, conv2(ones(5), ones(2)), 'dx'); same(dw, conv2(X, ones(5), 'valid'), 'dw'); same(isempty(db), true, 'db');
same(convx_conv(1:3, (1:3)', "full"), conv(1:3, (1:3)'), 'text in double quotes');
disp('all the same');
"""


def test_octave_computes_with_convx():
    octave.needed()
    done = octave.run(SAME.format(folder=octave.COMPAT))
    assert "all the same" in done.stdout


ERRORS = """
addpath('{folder}/octave');
function failed(identifier, varargin)
  try
    convx_call(varargin{{:}});
  catch problem
    printf('%s | %s\\n', problem.identifier, problem.message);
    assert(problem.identifier, identifier);
    return
  end
  error('no error');
end
failed('MATLAB:conv:AorBNotVector', 'conv', ones(2), 1);
failed('MATLAB:conv2:unknownShapeParameter', 'conv2', 1, 1, 'center');
failed('MATLAB:conv2:inputType', 'conv2', sparse(eye(2)), 1);
failed('convx:bridge:class', 'conv2', {{1}}, 1);
failed('convx:bridge:class', 'conv2', struct('a', 1), 1);
failed('convx:bridge:unknownFunction', 'system', 'ls');
try
  [a, b] = convx_conv2(1, 1);
catch problem
  disp(problem.identifier);
end
assert(convx_conv2(2, 3), 6) % and it goes on
"""


def test_errors_have_their_identifiers_in_octave():
    octave.needed()
    done = octave.run(ERRORS.format(folder=octave.COMPAT))
    lines = done.stdout.splitlines()
    assert lines[0] == "MATLAB:conv:AorBNotVector | A and B must be vectors."
    assert len(lines) == 7 and lines[-1] == "convx:bridge:tooManyOutputs"


@pytest.fixture
def watched(tmp_path):
    """An interpreter that leaves its process numbers in a file."""
    path = tmp_path / "python"
    path.write_text(f'#!/bin/sh\necho $$ >> "{tmp_path}/pids"\nexec "{sys.executable}" "$@"\n', encoding="utf-8")
    path.chmod(0o755)
    return path


def runs(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_the_process_ends_with_octave_and_is_replaced_when_it_died(watched, tmp_path):
    octave.needed()
    done = octave.run(f"""
addpath('{octave.COMPAT}/octave');
assert(convx_conv2(2, 3), 6); assert(convx_conv2(3, 3), 9);
kill(str2double(fileread('{tmp_path}/pids')), 9);
try
  convx_conv2(2, 3);
catch problem
  disp(problem.identifier);
end
clear all
assert(convx_conv2(2, 4), 8); assert(convx_conv2(2, 5), 10);
disp('went on')
""", python=watched)
    assert done.stdout == "convx:bridge:ended\nwent on\n"
    pids = [int(line) for line in (tmp_path / "pids").read_text(encoding="ascii").split()]
    assert len(pids) == 2, "one process for all calls, and one in the place of the dead one"
    end = time.monotonic() + 10
    while any(map(runs, pids)) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(map(runs, pids))


def test_a_python_without_convx_is_one_clear_error():
    octave.needed()
    done = octave.run(f"""
addpath('{octave.COMPAT}/octave');
try, convx_conv2(1, 2); catch problem, printf('%s %s\\n', problem.identifier, problem.message); end
""", python="/bin/false")
    assert done.stdout.startswith("convx:bridge:ended The Python process (/bin/false) has ended")
    assert "CONVX_PYTHON" in done.stdout


def test_the_package_for_matlab_runs_as_far_as_octave_can():
    """The package and its examples; `py.` alone is replaced by Octave's pipe."""
    octave.needed()
    done = octave.run(f"""
warning('off', 'all'); addpath('{octave.COMPAT}'); pkg load image;
assert(convx.conv2([1 2; 3 4], 1), [1 2; 3 4]);
[q, r] = convx.deconv([2 7 4 9], [1 0 1]); assert(r, [0 0 2 2]);
for example = {{'edges', 'gradients', 'lags'}}
  run(fullfile('{octave.COMPAT}', 'examples', [example{{1}} '.m']));
end
""")
    edges, layer, lag = done.stdout.splitlines()
    assert edges == "class uint8, size [240 320], 0 of 76800 pixels differ"
    sums = [float(number) for number in re.findall(r"> (\S+?),?(?= |$)", layer)]
    assert layer.startswith("y [8 8 8 2];") and len(sums) == 3 and max(sums) - min(sums) < 1e-4 * max(sums)
    assert lag == "the lag is 13 samples"


def test_every_file_for_matlab_parses():
    octave.needed()
    files = sorted(octave.COMPAT.rglob("*.m"))
    assert len(files) > 50
    octave.run("".join(f"__parse_file__('{path}');" for path in files))


def test_the_lines_for_matlab_reach_python():
    """What convx_call.m writes after `py.`: the module, its function, bytes in and bytes out."""
    text = (octave.COMPAT / "octave" / "convx_call.m").read_text(encoding="utf-8")
    assert "py.importlib.import_module('convx._compat.bridge')" in text and "bridge.respond(py.bytes(request))" in text
    assert bridge.__name__ == "convx._compat.bridge"
    assert isinstance(bridge.respond(bytearray(request("conv", 1.0, 2.0))), bytes)


def test_nothing_that_is_printed_disturbs_the_answers():
    program = ("import convx._compat.bridge as b; respond = b.respond; "
               "b.respond = lambda data: (print('noise'), respond(data))[1]; b.serve()")
    data = request("conv", 2.0, 3.0)
    done = subprocess.run([sys.executable, "-c", program], input=struct.pack("=Q", len(data)) + data,
                          capture_output=True, check=True)
    length, = struct.unpack("=Q", done.stdout[:8])
    assert len(done.stdout) == 8 + length and answer(done.stdout[8:])[1][0] == 6 and b"noise" in done.stderr
