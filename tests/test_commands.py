"""The command line as a user meets it: results, exit statuses, wrong files; nothing half written or overwritten."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

import convx
from convx import image
from convx.__main__ import _parser, main
from convx._commands._files import Failure, written

pytestmark = pytest.mark.once

Image = pytest.importorskip("PIL.Image", reason="the commands read pictures with Pillow")
RNG = np.random.default_rng(5)
PICTURES = {  # mode -> values, and the suffixes that keep them
    "L": (RNG.integers(0, 256, (20, 30), np.uint8), ("png", "tif", "bmp")),
    "RGB": (RNG.integers(0, 256, (20, 30, 3), np.uint8), ("png", "tif", "bmp")),
    "RGBA": (RNG.integers(0, 256, (20, 30, 4), np.uint8), ("png", "tif")),
    "LA": (RNG.integers(0, 256, (20, 30, 2), np.uint8), ("png",)),
    "I;16": (RNG.integers(0, 65536, (20, 30), np.uint16), ("png", "tif")),
    "F": (RNG.random((20, 30), np.float32), ("tif",)),
}


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    """Calls the command line in an empty folder; gives (status, output, errors)."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        try:
            status = main([str(a) for a in arguments])
        except SystemExit as end:
            status = end.code
        said = capsys.readouterr()
        return status, said.out, said.err
    return call


def failed(result, text):
    """One sentence, no traceback, status 1."""
    status, _, errors = result
    assert status == 1 and re.search(text, errors), result
    assert errors.startswith("convx ") and "Traceback" not in errors


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(("mode", "suffix"), [(m, s) for m, (_, suffixes) in PICTURES.items() for s in suffixes])
def test_filter_keeps_depth_and_channels(run, tmp_path, mode, suffix):
    values = PICTURES[mode][0]
    Image.fromarray(values).save(tmp_path / f"in.{suffix}")
    status, _, errors = run("filter", f"in.{suffix}", f"out.{suffix}", "--kernel", "sharpen", "--border", "wrap")
    assert (status, errors) == (0, "")
    result = np.array(Image.open(tmp_path / f"out.{suffix}"))
    axis = None if values.ndim == 2 else -1
    expected = image.apply(values, "sharpen", border="wrap", channel_axis=axis)
    assert result.dtype == values.dtype and np.array_equal(result, expected)
    assert names(tmp_path) == [f"in.{suffix}", f"out.{suffix}"]


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("channels", [3, 4])
def test_sixteen_bits_per_colour(run, tmp_path, suffix, channels):
    cv2 = pytest.importorskip("cv2", reason="16-bit colour is read with OpenCV")
    values = RNG.integers(0, 65536, (9, 11, channels), np.uint16)
    cv2.imwrite(str(tmp_path / f"in.{suffix}"), values[..., [2, 1, 0, 3][:channels]])
    assert run("filter", f"in.{suffix}", f"out.{suffix}", "--matrix", "1 2 1", "--normalise")[0] == 0
    result = cv2.imread(str(tmp_path / f"out.{suffix}"), cv2.IMREAD_UNCHANGED)[..., [2, 1, 0, 3][:channels]]
    assert np.array_equal(result, image.apply(values, [[1, 2, 1]], normalise=True))
    failed(run("filter", f"in.{suffix}", "out.jpg", "--kernel", "box"), "JPEG keeps 8 bits; the picture has 16")


def test_jpeg_palette_and_two_pages(run, tmp_path):
    smooth = np.add.outer(np.arange(40), np.arange(50)).astype(np.uint8)
    Image.fromarray(np.stack([smooth] * 3, -1)).save(tmp_path / "in.jpg", quality=100)
    assert run("filter", "in.jpg", "out.jpg", "--kernel", "gaussian:sigma=1", "--quality", "100")[0] == 0
    result = np.array(Image.open(tmp_path / "out.jpg")).astype(int)
    assert abs(result[3:-3, 3:-3] - smooth[3:-3, 3:-3, None]).max() <= 3  # a ramp stays a ramp, but for JPEG's rounding
    Image.fromarray(smooth).convert("P").save(tmp_path / "palette.png")
    assert run("filter", "palette.png", "colour.png", "--kernel", "identity")[0] == 0
    with Image.open(tmp_path / "colour.png") as file:
        assert file.mode == "RGB"
    pages = [Image.fromarray(smooth), Image.fromarray(smooth[::-1].copy())]
    pages[0].save(tmp_path / "two.tif", save_all=True, append_images=pages[1:])
    assert run("filter", "two.tif", "out.tif", "--kernel", "shift:direction=right")[0] == 0
    with Image.open(tmp_path / "out.tif") as file:
        assert file.n_frames == 2
        file.seek(1)
        assert np.array_equal(np.array(file), image.apply(smooth[::-1], image.kernel("shift", direction="right")))
    failed(run("filter", "two.tif", "one.png", "--kernel", "box"), "PNG keeps one picture of 2")


def test_the_picture_stands_upright(run, tmp_path):
    picture = Image.fromarray(PICTURES["RGB"][0])
    exif = picture.getexif()
    exif[0x0112] = 6
    picture.save(tmp_path / "in.png", exif=exif)
    assert run("filter", "in.png", "out.png", "--kernel", "identity")[0] == 0
    turned = np.rot90(PICTURES["RGB"][0], -1)
    with Image.open(tmp_path / "out.png") as file:
        assert np.array_equal(np.array(file), turned) and file.getexif().get(0x0112, 1) == 1


def test_options_reach_apply(run, tmp_path):
    values = PICTURES["RGBA"][0]
    Image.fromarray(values).save(tmp_path / "in.png")
    assert run("filter", "in.png", "out.png", "--matrix", "0 1 0; 1 -3 1; 0 1 0", "--divisor", "2", "--offset", "9.5",
               "--border", "constant", "--cval", "200", "--channels", "0,2", "--no-alpha")[0] == 0
    expected = image.apply(values, [[0, 1, 0], [1, -3, 1], [0, 1, 0]], divisor=2, offset=9.5, border="constant",
                           cval=200, channels=(0, 2), alpha=None)
    assert np.array_equal(np.array(Image.open(tmp_path / "out.png")), expected)


def test_nothing_is_overwritten_unless_told(run, tmp_path):
    Image.fromarray(PICTURES["L"][0]).save(tmp_path / "in.png")
    (tmp_path / "out.png").write_bytes(b"precious")
    failed(run("filter", "in.png", "out.png", "--kernel", "box"), "out.png exists already; --force replaces it")
    assert (tmp_path / "out.png").read_bytes() == b"precious"
    assert run("filter", "in.png", "out.png", "--kernel", "box", "--force")[0] == 0
    assert run("filter", "in.png", "in.png", "--kernel", "box", "--force")[0] == 0
    assert np.array_equal(np.array(Image.open(tmp_path / "in.png")), np.array(Image.open(tmp_path / "out.png")))
    failed(run("filter", "in.png", "no/where.png", "--kernel", "box"), "there is no folder no")
    (tmp_path / "folder").mkdir()
    failed(run("filter", "in.png", "folder", "--kernel", "box", "--force"), "folder is a folder")


def test_folders(run, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    for number in range(3):
        Image.fromarray(PICTURES["RGB"][0]).save(source / f"{number}.png")
    (source / "notes.txt").write_text("no picture")
    status, said, _ = run("filter", "source", "target", "--kernel", "emboss")
    assert status == 0 and "3 pictures in target" in said
    assert names(tmp_path / "target") == ["0.png", "1.png", "2.png"]
    failed(run("filter", "source", "target", "--kernel", "emboss"), "has 3 of the 3 files already")
    (source / "1.png").write_bytes(b"no picture either")
    result = run("filter", "source", "target", "--kernel", "emboss", "--force", "--quiet")
    failed(result, "1 of 3 pictures failed:\n  source.1.png is not a picture")
    failed(run("filter", "target/0.png", "source", "--kernel", "box"), "source is a folder")
    (tmp_path / "empty").mkdir()
    failed(run("filter", "empty", "target", "--kernel", "box"), "empty holds no .png")


def test_wrong_files(run, tmp_path):
    Image.fromarray(PICTURES["RGB"][0]).save(tmp_path / "good.png")
    whole = (tmp_path / "good.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[:len(whole) // 2])
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "empty.png").write_bytes(b"")
    for name, text in (("cut.png", "cannot be read"), ("text.png", "is not a picture"),
                       ("empty.png", "is not a picture"), ("missing.png", "there is no file missing.png")):
        failed(run("filter", name, "out.png", "--kernel", "box"), text)
    failed(run("filter", "good.png", "out.xyz", "--kernel", "box"), "the suffix is none of .png")
    Image.fromarray(PICTURES["RGBA"][0]).save(tmp_path / "clear.png")
    failed(run("filter", "clear.png", "out.jpg", "--kernel", "box"), "JPEG has no transparency")
    failed(run("filter", "good.png", "out.png", "--kernel", "blur"), "'blur' is none of identity")
    failed(run("filter", "good.png", "out.png", "--kernel", "box:size"), "'size' is not of the form key=value")
    failed(run("filter", "good.png", "out.png", "--kernel", "box:size=4"), "size=4: it must be odd")
    failed(run("filter", "good.png", "out.png", "--matrix", "1 2"), r"shape \(1, 2\)")
    failed(run("filter", "good.png", "out.png", "--kernel", "box", "--channels", "7"), r"good.png: channels=\(7,\)")
    failed(run("filter", "good.png", "out.png", "--kernel", "box:size=101", "--border", "crop"), "does not fit")
    failed(run("filter", "good.png", "out.jpg", "--kernel", "box", "--quality", "0"), "--quality 0")
    frames = [Image.fromarray(PICTURES["L"][0]), Image.fromarray(255 - PICTURES["L"][0])]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    failed(run("filter", "moving.gif", "out.png", "--kernel", "box"), "has 2 frames")
    assert not [name for name in names(tmp_path) if "out" in name]


def test_huge_pictures_are_refused_unless_told(run, tmp_path, monkeypatch):
    Image.fromarray(PICTURES["L"][0]).save(tmp_path / "in.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 400)
    failed(run("filter", "in.png", "out.png", "--kernel", "box"), "claims more than 400 pixels; --huge")
    assert Image.MAX_IMAGE_PIXELS == 400
    assert run("filter", "in.png", "out.png", "--kernel", "box", "--huge")[0] == 0
    assert Image.MAX_IMAGE_PIXELS == 400


@pytest.mark.parametrize("arguments", [
    ("filter", "a", "b"), ("filter", "a", "b", "--matrix", "1 2; 3"), ("filter", "a", "b", "--matrix", "one"),
    ("filter", "a", "b", "--kernel", "box", "--matrix", "1"),
    ("filter", "a", "b", "--kernel", "box", "--channels", "r"),
    ("filter", "a", "b", "--kernel", "box", "--border", "mirror"), ("filtre",), ()])
def test_a_wrong_command_line(run, arguments):
    status, _, errors = run(*arguments)
    assert status == 2 and "usage: convx" in errors


def test_kernels(run):
    status, said, _ = run("kernels")
    assert status == 0 and [line.split()[0] for line in said.splitlines()] == list(image.kernels())
    status, said, _ = run("kernels", "shift:direction=up-left")
    assert status == 0 and np.array_equal(np.array([line.split() for line in said.splitlines()], float),
                                          image.kernel("shift", direction="up-left"))
    failed(run("kernels", "blur"), "'blur' is none of")


def test_explain(run):
    status, said, _ = run("explain", "n1 g2 c3 m4 i9x8 k3x3 s2 p1", "--dtype", "float64", "--layout", "nhwc")
    x, w = np.empty((1, 9, 8, 6)), np.empty((8, 3, 3, 3))
    expected = convx.explain("conv", x, w, stride=2, padding=1, groups=2, layout="NHWC")
    assert status == 0 and said == f"{expected}\n" and "o5x4" in said
    assert "direct         " in run("explain", "i100 k5 o50 s2 p2 wrap")[1]
    for line, text in (("", "at least the words i and k"), ("i5x5 k3", "i5x5 k3"), ("i5 k3 q1 !", "is no word of"),
                       ("i5 k3 s0", "above 0"), ("i5 k3 o9 b2", "base 2, .* base is 1"),
                       ("i3 k5", "a kernel of 5 taps")):
        failed(run("explain", line), text)
    first = run("explain", "i9 k3 p1 c2", "--dtype", "float64")[1].splitlines()[0]
    assert first.endswith("float64") and run("explain", first)[1].splitlines()[0] == first
    assert run("explain", first, "--dtype", "float32")[1].splitlines()[0].endswith("float32")
    for dtype, result in (("longdouble", np.dtype("longdouble").name), ("complex64", "complex64"), ("bool", "int64")):
        assert run("explain", f"i9 k3 {dtype}")[1].splitlines()[0].endswith(f"  {result}")
    failed(run("explain", "i9 k3 i1"), "two words such as 'i1'")
    failed(run("explain", "i5 k3 float32x"), "no word")
    failed(run("explain", "i5 k3", "--layout", "CHWN"), "CHWN is none of NCHW, NHWC, HWCN")
    failed(run("explain", "i5 k3", "--dtype", "floaty"), "floaty")
    failed(run("explain", "i5 k3", "--algorithm", "magic"), "magic")


def test_more_than_the_memory_holds_is_a_sentence(run, monkeypatch):
    def full(*arguments, **parameters):
        raise MemoryError("Unable to allocate 74.5 GiB")

    monkeypatch.setattr(image, "kernel", full)
    failed(run("kernels", "box:size=99999"), "not enough memory: Unable to allocate 74.5 GiB")


def test_the_page_of_commands_names_each():
    page = Path(__file__).parents[1] / "docs" / "commands.md"
    if not page.exists():
        pytest.skip("not the source tree")
    (commands,) = (action.choices for action in _parser()._actions if action.choices)
    assert re.findall(r"^\| `([\w-]+)` \|", page.read_text(encoding="utf-8"), re.MULTILINE) == list(commands)


def test_the_commands_of_all_pages_can_be_given():
    root = Path(__file__).parents[1]
    pages = [root / "README.md", root / "CONTRIBUTING.md", root / "matlab_compat" / "README.md",
             *(root / "docs").glob("*.md")]
    found = 0
    for page in filter(Path.exists, pages):
        for block in re.findall(r"^```sh\n(.*?)^```$", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE):
            for line in re.findall(r"(?:^|python -m )convx (.*)$", block, re.MULTILINE):
                assert _parser().parse_args(shlex.split(line)).command
                found += 1
            for file in re.findall(r"(?:python|pytest) (\S+\.py)", block):
                assert (root / file).is_file(), f"{page.name}: {file}"
    if not found:
        pytest.skip("not the source tree")


def test_explain_a_stride_that_leaves_cells_over(run):
    status, said, _ = run("explain", "i6x9 k3x3 s2x4")
    assert status == 0 and "o2x2" in said.splitlines()[0]


def test_draw(run, tmp_path):
    pytest.importorskip("matplotlib")
    assert run("draw", "i5x5 k3x3 s2 p1", "still.png") == (0, "", "")
    with Image.open(tmp_path / "still.png") as file:
        assert file.format == "PNG" and file.width > 400
    assert run("draw", "i4 k3 p1 edge", "film.gif", "--rate", "5")[0] == 0
    with Image.open(tmp_path / "film.gif") as file:
        assert file.n_frames == 4 and file.info["duration"] == 200
    assert run("draw", "i4 k3 p1", "line.svg", "--step", "1")[0] == 0
    assert (tmp_path / "line.svg").read_text().startswith("<?xml")
    before = (tmp_path / "still.png").read_bytes()
    failed(run("draw", "i4 k3", "still.png"), "still.png exists already; --force replaces it")
    assert (tmp_path / "still.png").read_bytes() == before
    assert run("draw", "i4 k3", "still.png", "--force")[0] == 0 and (tmp_path / "still.png").read_bytes() != before
    for arguments, text in ((("i4 k3", "a.tif"), "the suffix is none of .png, .svg, .pdf, .gif"),
                            (("i4x4x4 k3x3x3", "a.png"), "x has 3 axes"), (("i4 k5", "a.png"), "a kernel of 5 taps"),
                            (("i4", "a.png"), "at least the words i and k"), (("i4 k3", "no/a.png"), "no folder no"),
                            (("i4 k3", "a.png", "--step", "2"), "step=2: there are 2 steps"),
                            (("i4 k3", "a.gif", "--step", "1"), "a GIF shows all steps"),
                            (("i4 k3", "a.gif", "--rate", "0"), "rate=0"), (("i50 k3", "a.png"), "50 cells")):
        failed(run("draw", *arguments), text)
    assert names(tmp_path) == ["film.gif", "line.svg", "still.png"]


def test_draw_takes_the_layer_of_the_line(run, monkeypatch):
    pytest.importorskip("matplotlib")
    from convx import plot

    made = []

    def arithmetic(x, w, **options):
        made.append((x, w, options))
        return plot.tiled  # no figure: the command fails after it

    monkeypatch.setattr(plot, "arithmetic", arithmetic)
    with pytest.raises(AttributeError):
        run("draw", "i9x8 k3x2 s2x1 p1 d1x2 wrap", "a.png")
    with pytest.raises(AttributeError):
        run("draw", "i5x6 k3x3 s2 p1", "a.png", "--transposed", "--step", "4")
    common = {"boundary": ("wrap",) * 2}
    assert made[0] == ((9, 8), (3, 2), {"stride": (2, 1), "dilation": (1, 2), "padding": ((1, 1), (1, 1)),
                                        "step": 20, **common})
    assert made[1] == ((3, 3), (3, 3), {"stride": (2, 2), "dilation": (1, 1), "padding": ((1, 1), (1, 0)), "step": 4,
                                        "boundary": ("constant",) * 2, "operator": "conv_transpose",
                                        "output_shape": (5, 6)})


def test_summary(run, tmp_path):
    status, said, _ = run("summary", "vgg16")
    assert status == 0 and "138,357,544" in said and "224 x 224 x   3  ->  224 x 224 x  64" in said
    assert "416 x 416 x   3  ->  416 x 416 x  32" in run("summary", "yolov2")[1]
    assert " 32 x  32 x   3  ->" in run("summary", "yolov2", "--input", "1x3x32x32")[1]
    for arguments, text in ((("resnet",), "neither an .onnx file nor one of vgg16, yolov2"),
                            (("a.onnx",), "there is no file a.onnx"), (("vgg16", "--input", "3y4"), "sizes are needed"),
                            (("vgg16", "--input", "x=1x3x64x64"), "one input without a name"),
                            (("vgg16", "--input", "1x3"), "layer 0")):
        failed(run("summary", *arguments), text)


def test_summary_of_a_file(run, tmp_path):
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    w = numpy_helper.from_array(np.ones((4, 3, 3, 3), np.float32), "w")
    nodes = [helper.make_node("Conv", ["x", "w"], ["h"]), helper.make_node("Relu", ["h"], ["y"])]

    def file(name, sizes):
        ports = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("x", sizes), ("y", None))]
        onnx.save(helper.make_model(helper.make_graph(nodes, "g", ports[:1], ports[1:], [w])), tmp_path / name)

    file("fixed.onnx", ["n", 3, 8, 9])
    status, said, _ = run("summary", "fixed.onnx")
    lines = [line.split() for line in said.splitlines()]
    assert status == 0 and lines[1:3] == [["0", "Conv", "108", "1x3x8x9", "->", "1x4x6x7", "672"],
                                          ["1", "Relu", "1x4x6x7", "->", "1x4x6x7", "672"]]
    assert "108 in the file's arrays, 108 read" in said and "1,344 bytes" in said
    assert "2x3x8x9" in run("summary", "fixed.onnx", "--input", "2x3x8x9")[1]
    assert "5x3x8x9" in run("summary", "fixed.onnx", "--input", "x=5x3x8x9")[1]
    failed(run("summary", "fixed.onnx", "--input", "1x3x9x9"), "the network takes")
    failed(run("summary", "fixed.onnx", "--input", "z=1x3x8x9"), "the inputs are x")
    file("open.onnx", ["n", 3, "h", "w"])
    failed(run("summary", "open.onnx"), "leaves sizes of the input x open")
    assert "1x3x5x5" in run("summary", "open.onnx", "--input", "1x3x5x5")[1]
    (tmp_path / "broken.onnx").write_bytes(b"no network")
    failed(run("summary", "broken.onnx"), "broken.onnx")


def test_bench_runs(run, monkeypatch):
    from convx._commands import bench

    small = RNG.random((20, 20), np.float32)
    kernel = RNG.random((3, 3), np.float32)
    monkeypatch.setattr(bench, "jobs", lambda rng: [(
        "small", lambda: convx.correlate(small, kernel, "same"),
        {"scipy.signal": lambda m: lambda: m["scipy.signal"].correlate(small, kernel, "same")})])
    status, said, _ = run("bench", "--rounds", "2")
    assert status == 0 and re.search(r"small +\d.*scipy.signal \d", said)
    failed(run("bench", "--rounds", "0"), "--rounds 0")
    monkeypatch.setattr(bench, "jobs", lambda rng: [(
        "wrong", lambda: small, {"numpy": lambda m: lambda: small + 1})])
    failed(run("bench"), "numpy and convx differ by")


def test_written_takes_the_name_only_at_the_end(tmp_path):
    target = tmp_path / "file.txt"
    with pytest.raises(KeyError), written(target, False) as temporary:
        temporary.write_text("half")
        raise KeyError
    assert names(tmp_path) == []
    with written(target, False) as temporary:
        temporary.write_text("whole")
        assert not target.exists()
    assert target.read_text() == "whole"
    with pytest.raises(Failure, match="exists already"), written(tmp_path / "other.txt", False) as temporary:
        temporary.write_text("mine")
        (tmp_path / "other.txt").write_text("theirs")
    assert (tmp_path / "other.txt").read_text() == "theirs"
    assert names(tmp_path) == ["file.txt", "other.txt"]
