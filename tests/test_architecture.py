"""The rules of the house: imports go down, layouts stay upstairs, everything public is documented and runs."""

import ast
import doctest
import re
import sys
from inspect import signature
from itertools import product
from pathlib import Path
from typing import get_args

import numpy as np
import problems
import pytest

import convx
from convx import _typing
from convx._geometry import BOUNDARIES, NAMED_PADDINGS
from convx._layout import W_LAYOUT
from convx._nest import peel
from convx._operators import KEYWORDS
from convx._select import CHOICES, NAMES, SOLVERS

pytestmark = pytest.mark.once  # no matter which kernel row or build

ROOT = Path(convx.__file__).parent
GENERATED = {"_version": 0, "_kernels._rows": 0}  # written by the build: facts without imports


def modules():
    """Every Python module of the package by its dotted name inside it; "__init__" is the package itself."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)
        found[name] = path
    return found


def floors():
    """The floor of each module or subpackage, read from the map in the package's docstring."""
    found = {}
    for floor, names in re.findall(r"^\s+(\d)\s{2,}(\S.*)$", convx.__doc__, re.MULTILINE):
        for name in re.findall(r"[A-Za-z_]\w*", names):
            if name in MODULES or name == "__init__":
                assert name not in found, f"{name} stands on two floors"
                found[name] = int(floor)
    return found


def parsed(module):
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


MODULES = modules()
FLOORS = floors()


def floor_of(module):
    return GENERATED.get(module, FLOORS.get(module.split(".")[0]))


def imported(path):
    """What a file imports of the package by its dotted name inside it, wherever the import statement stands.

    What stands under ``if TYPE_CHECKING`` is no import: nothing runs there.
    """
    source = ast.parse(path.read_text(encoding="utf-8"))
    source.body = [node for node in source.body
                   if not isinstance(node, ast.If) or ast.unparse(node.test) != "TYPE_CHECKING"]
    for node in ast.walk(source):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = [*path.relative_to(ROOT.parent).parts[:-node.level]] if node.level else []
            start = ".".join([*start, node.module] if node.module else start)
            names = [f"{start}.{alias.name}" for alias in node.names]
        for name in names:
            if name.split(".")[0] == "convx":
                yield name.removeprefix("convx").removeprefix(".")


def module_of(name):
    """The module in which an imported name is found."""
    if name not in MODULES:  # a name out of a module, or a compiled module of a subpackage
        name = name.rpartition(".")[0]
    return name or "__init__"


def imports(module):
    """The modules of the package that this one imports."""
    return map(module_of, imported(MODULES[module]))


def test_the_map_is_complete():
    assert set(FLOORS.values()) == set(range(max(FLOORS.values()) + 1)) and FLOORS["__init__"] >= 6
    assert [name for name in MODULES if floor_of(name) is None] == []
    assert FLOORS["_kernels"] == 0 and FLOORS["_solvers"] < FLOORS["_plan"] < FLOORS["_conv"] < FLOORS["__init__"]


def test_imports_are_seen():
    assert {"_nest", "_kernels", "_solvers._base"} <= set(imports("_solvers.direct")) | set(imports("_solvers._base"))
    assert {"_conv", "_signal"} <= set(imports("__init__"))
    assert "_kernels.cpu" not in MODULES and "_kernels" in imports("_kernels")


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_down(module):
    for other in imports(module):
        assert floor_of(other) is not None, f"{module} imports {other}, which stands on no floor"
        floor = floor_of(module)
        assert floor is not None, f"{module} stands on no floor"
        assert floor_of(other) <= floor, f"{module} (floor {floor}) imports {other} (floor {floor_of(other)})"
        assert other != "__init__" or floor >= FLOORS["__init__"], f"{module} imports the package itself"


def test_annotations_know_the_words_of_the_code():
    assert set(get_args(_typing.Boundary)) == set(BOUNDARIES)
    assert set(get_args(_typing.NamedPadding)) == set(NAMED_PADDINGS)
    assert set(get_args(_typing.Algorithm)) == {*CHOICES, *NAMES}
    assert set(_typing.LayerOptions.__annotations__) == KEYWORDS
    pooling = [set(signature(function).parameters) for function in (convx.max_pool, convx.avg_pool)]
    assert set(_typing.PoolOptions.__annotations__) == set.intersection(*pooling) - {"x", "window", "out"}


@pytest.mark.parametrize("name", [name for name in convx.__all__ if callable(getattr(convx, name))])
def test_public_functions_are_annotated(name):
    shown = signature(getattr(convx, name))
    bare = [p.name for p in shown.parameters.values() if p.annotation is p.empty]
    assert name == "max_pool" or (not bare and shown.return_annotation is not shown.empty), bare  # it has overloads


@pytest.mark.parametrize("module", ["_geometry", "_nest"])
def test_the_relation_and_the_nest_know_no_arrays(module):
    for node in ast.walk(parsed(module)):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module]
        assert {name.split(".")[0] for name in names} <= sys.stdlib_module_names


def solvers():
    return [m for m in MODULES if m.startswith("_solvers.")]


@pytest.mark.parametrize("module", solvers())
def test_solvers_see_the_normal_form_only(module):
    below = {"_kernels", "_nest", "_geometry", "_solvers", "_threads"}
    assert {other.split(".")[0] for other in imports(module)} <= below


ROOMS = ("image", "linop", "matlab", "nn", "plot", "torch")
BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
COUNTS = {"_arguments.whole", "_arguments.per_axis", "_arguments.shape_of"}
NUMBERS = {"_arguments.real"}
ALLOWED = {  # beside public names and what other rooms call their own
    "image": NUMBERS | {"_accept.array_of"},
    "nn": NUMBERS | COUNTS,  # counts, shapes and numbers that a user gives have one check and one sentence
    "plot": COUNTS,
    "_commands/explain.py": {"_planning.parts"},  # the dtype of a problem line, found as convx.geometry finds it
    "_commands/matlab_check.py": {"_compat.check.main"},  # a command of the bridge, which needs no more of convx
    "calibrate.py": {"_costs"},  # it writes the file that `_costs` reads
}


# Without linop, which needs more: the maps of a Problem, for the entries of a matrix.
OUTSIDERS = [path for name, path in MODULES.items() if name.split(".")[0] in {*ROOMS, "_commands"} - {"linop"}]
OUTSIDERS += sorted(BENCHMARKS.rglob("*.py"))


@pytest.mark.parametrize("path", OUTSIDERS, ids=lambda path: "/".join(path.parts[-2:]))
def test_rooms_commands_and_benchmarks_see_public_names_only(path):
    own = path.relative_to(ROOT if path.is_relative_to(ROOT) else BENCHMARKS)
    room = own.parts[0].removesuffix(".py")
    allowed = ALLOWED.get(room, set()) | ALLOWED.get(own.as_posix(), set())
    others = {name for name in imported(path) if name not in allowed and module_of(name).split(".")[0] != room}
    assert {module_of(name) for name in others} <= {"__init__", *ROOMS, "nn.zoo"}
    assert not [name for name in others if re.search(r"(^|\.)_(?!_)", name)]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            assert node.value.id not in {"convx", *ROOMS} or not re.match("_(?!_)", node.attr), ast.unparse(node)
            assert node.attr != "problem" or room == "_commands", f"{ast.unparse(node)} looks into a plan"


def test_nothing_is_allowed_for_nothing():
    used = {name for path in OUTSIDERS for name in imported(path)}
    assert set().union(*ALLOWED.values()) <= used


def code_words(module):
    """Names and strings of the code; docstrings, and texts that become docstrings, are prose."""
    source = parsed(module)
    prose = set()
    for node in ast.walk(source):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            prose.add(node.body[0].value)
        if isinstance(node, ast.Assign) and re.search("DOC|__doc__", " ".join(map(ast.unparse, node.targets))):
            prose.update(ast.walk(node.value))
    for node in ast.walk(source):
        if node in prose:
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        for field in ("id", "attr", "arg", "name"):
            if isinstance(getattr(node, field, None), str):
                yield getattr(node, field)


@pytest.mark.parametrize("module", [m for m in MODULES if m != "_layout" and floor_of(m) in range(6)])
def test_layout_words_stay_in_layout(module):
    words = {name.replace("HW", letters) for name in (*W_LAYOUT, *W_LAYOUT.values()) for letters in ("W", "HW", "DHW")}
    assert {"NCHW", "NHWC", "HWCN", "NCW", "HWIO"} <= words
    pattern = re.compile(rf"\b({'|'.join(sorted(words))})\b")
    found = [word for word in code_words(module) if pattern.search(word)]
    assert not found, f"{module} knows a layout: {found}"


def test_the_public_names_are_sorted_and_there():
    names = [name for name in convx.__all__ if name != "__version__"]
    assert names == sorted(names) and len(set(names)) == len(names)
    assert all(hasattr(convx, name) for name in convx.__all__)
    for name in names:
        assert re.search(rf"\b{name}\b", convx.__doc__), f"the package's map leaves out {name}"


@pytest.mark.parametrize("name", [name for name in convx.__all__ if callable(getattr(convx, name))])
def test_public_functions_are_documented_and_their_examples_run(name):
    thing = getattr(convx, name)
    text = thing.__doc__ or ""
    first = text.split("\n\n")[0].strip()
    assert first.endswith("."), f"{name} does not start with a sentence: {first!r}"
    assert "Examples\n" in text, f"{name} has no Examples"
    run_examples(name, text)


def run_examples(name, text):
    test = doctest.DocTestParser().get_doctest(text, {}, name, name, 0)
    said = []
    result = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=said.append)
    assert result.attempted > 0 and result.failed == 0, "".join(said)


def test_the_examples_of_plans_run():
    x, w = np.ones((1, 1, 5)), np.ones((1, 1, 3))
    run_examples("Plan", type(convx.plan("conv", x, w)).__doc__)


def test_the_build_installs_every_module():
    sources = Path(__file__).parents[1] / "src" / "convx"
    listed = set(re.findall(r"'([\w/]+\.(?:py|typed))'", (sources / "meson.build").read_text(encoding="utf-8")))
    found = {path.relative_to(sources).as_posix() for path in sources.rglob("*.py")} | {"py.typed"}
    found = {name for name in found if not name.startswith("_kernels/")}  # their own build lists those
    assert found <= listed <= found | {"_version.py"}


def test_the_last_solver_never_refuses():
    last = SOLVERS[-1]
    assert last.name == "reference"
    lines = problems.zoo()
    for geometry, kind, shared in product(lines, ("f32", "f64", "i64", "other"), (True, False)):
        x, w, _ = problems.arrays(geometry, "f8", shared=shared)
        assert problems.refusals(last, geometry, x, w, kind) == [], geometry.text()
        assert problems.refusals(last, geometry, x, w, kind, 1.5) == [], geometry.text()
    assert peel([]) == ([], False)


def test_every_solver_answers_every_question():
    assert len(set(NAMES)) == len(NAMES)
    for solver in SOLVERS:
        assert f'"{solver.name}"' in (convx.conv.__doc__ or ""), f"conv does not mention algorithm={solver.name!r}"
        assert solver.__doc__ and solver.error_factor >= 1
        for question in ("refuse", "seconds", "scratch", "run"):
            assert callable(getattr(solver, question)), f"{solver.name} lacks {question}"
