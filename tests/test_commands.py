"""The command line as a user meets it: results, exit statuses, wrong files; nothing half written or overwritten."""

import re

import numpy as np
import pytest

import convx
from convx import image
from convx.__main__ import main
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
                       ("i5 k3 s0", "above 0"), ("i5 k3 o9 b2", "base, stride and dilation"),
                       ("i3 k5", "a kernel of 5 taps")):
        failed(run("explain", line), text)
    failed(run("explain", "i5 k3", "--layout", "CHWN"), "CHWN is none of NCHW, NHWC, HWCN")
    failed(run("explain", "i5 k3", "--dtype", "floaty"), "floaty")
    failed(run("explain", "i5 k3", "--algorithm", "magic"), "magic")


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
