"""The examples of the README and of the pages in docs, the demonstration and the command line do what they say."""

import doctest
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.once  # no matter which kernel row or build

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES = [page for page in PAGES if ">>> " in page.read_text(encoding="utf-8")]
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)


EXTRAS = {"torch": ">>> import torch\n", "onnx": ">>> import onnx\n", "matplotlib": "plot."}


def runs(block: str) -> bool:
    """Whether the packages are there that its words stand for."""
    return not any(sign in block and importlib.util.find_spec(name) is None for name, sign in EXTRAS.items())


def python_only(text: str) -> str:
    """The text with every line outside the python blocks emptied: line numbers stay."""
    lines = [""] * (text.count("\n") + 1)
    for block in BLOCK.finditer(text):
        if not runs(block[1]):
            continue
        first = text.count("\n", 0, block.start(1))
        inside = block[1].splitlines()
        lines[first:first + len(inside)] = inside
    return "\n".join(lines)


@each_page
def test_examples(page):
    examples = doctest.DocTestParser().get_doctest(
        python_only(page.read_text(encoding="utf-8")), {}, page.name, str(page), 0)
    assert examples.examples
    report = []
    doctest.DocTestRunner(verbose=False).run(examples, out=report.append)
    assert not report, "".join(report)


@each_page
def test_every_block_is_an_example(page):
    for block in BLOCK.findall(page.read_text(encoding="utf-8")):
        assert block.startswith(">>> "), f"not run by the tests: {block.splitlines()[0]}"


def test_links_lead_somewhere():
    links = re.findall(r"\]\(([^)#:]+)\)", PAGES[0].read_text(encoding="utf-8"))  # Sphinx looks after those of docs/
    assert links and all((ROOT / link).exists() for link in links), links


def test_benchmarks_tables_can_be_filled_in():
    spec = importlib.util.spec_from_file_location("tables", ROOT / "benchmarks" / "tables.py")
    spec.loader.exec_module(tables := importlib.util.module_from_spec(spec))
    readme = PAGES[0].read_text(encoding="utf-8")
    found = tables.tables([])  # nothing measured: the heads alone
    assert tables.filled(readme, found) == readme  # each has its place
    cells = tables.LAYERS["stem-7x7"], *"123456"
    found[1] = found[1][0], [cells]
    changed = tables.filled(readme, found)
    (line,) = set(changed.splitlines()) - set(readme.splitlines())
    assert line == "| 7x7 /2: 1, 3, 224, 64 | 1 | 2 | 3 | 4 | 5 | 6 |"


def command(*arguments, folder):
    return subprocess.run([sys.executable, "-m", "convx", *arguments], cwd=folder, capture_output=True, text=True)


def test_info(tmp_path):
    done = command("info", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "kernel row" in done.stdout and "unknown" not in done.stdout


def test_no_command_is_an_error(tmp_path):
    done = command(folder=tmp_path)
    assert done.returncode == 2
    assert "usage" in done.stderr


@pytest.mark.skipif(importlib.util.find_spec("PIL") is None, reason="the demonstration needs Pillow")
def test_demo(tmp_path, monkeypatch, capsys):
    from convx.__main__ import main
    from convx._commands import demo

    monkeypatch.setattr(demo, "PATIENCE", 1e-9)  # each side is timed once
    sheet = tmp_path / "sheet.png"
    assert not main(["demo", "--out", str(sheet)])
    assert str(sheet.resolve()) in capsys.readouterr().out
    assert sheet.read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in tmp_path.iterdir()] == ["sheet.png"]


@pytest.mark.skipif(importlib.util.find_spec("PIL") is None, reason="the demonstration needs Pillow")
def test_demo_overwrites_nothing(tmp_path):
    from PIL import Image

    from convx._commands.demo import save

    names = [save(Image.new("RGB", (2, 2)), None, tmp_path).name for _ in range(3)]
    assert names == ["convx-demo.png", "convx-demo-1.png", "convx-demo-2.png"]
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("name, sentence", [("nowhere/sheet.png", "there is no folder"), ("sheet.jpg", "ends in .png")])
def test_demo_without_a_place_to_write(tmp_path, name, sentence):
    done = command("demo", "--out", str(tmp_path / name), folder=tmp_path)
    assert done.returncode == 1 and sentence in done.stderr
    assert done.stderr.startswith("convx demo: ") and done.stderr.count("\n") == 1
