"""Second order and plans: the table of docs/calculus.md, and gradients as plans."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from layers import OPERATORS, ROLES, cases

import convx

pytestmark = pytest.mark.once
few = settings(max_examples=40)


def real_inner(a, b):
    return (a.real * b.real + a.imag * b.imag).sum()


def whole_numbers(case, seed):
    """Gaussian integers: every sum is exact."""
    rng = np.random.default_rng(seed)
    return {letter: rng.integers(-4, 5, case.shape(letter)) + 1j * rng.integers(-4, 5, case.shape(letter))
            for letter in "uwv"}


@few
@given(cases(ranks=(1, 2)), st.integers(0, 99))
def test_gradients_of_gradients_are_calls_of_the_family(case, seed):
    x, w, y = ROLES[case.operator]
    arrays, G, step = (whole_numbers(case, seed + a) for a in range(3))
    # The call that returns `of` from the two others; its gradients with respect to these, as the table has them.
    for of in (y, x, w):
        for to in "uwv".replace(of, ""):
            other = "uwv".replace(of, "").replace(to, "")
            moved = arrays | {to: arrays[to] + step[to]}
            change = case.call(of, moved) - case.call(of, arrays)
            gradient = case.call(to, {of: G[of], other: arrays[other]})
            assert real_inner(change, G[of]) == real_inner(step[to], gradient), (of, to)


@few
@given(cases(operators=("conv", "locally_connected"), ranks=(1, 2)), st.integers(-3, 3))
def test_a_constant_outside_is_left_out_of_the_second_row_only(case, cval):
    arrays, G, step = (whole_numbers(case, a) for a in range(3))
    constant = {"cval": cval - 2j} if "constant" in case.options["boundary"] else {}
    rows = [("v", "w", constant, constant), ("v", "u", constant, constant), ("w", "v", constant, constant),
            ("w", "u", constant, constant), ("u", "v", constant, {}), ("u", "w", constant, {})]
    for of, to, mine, of_gradient in rows:
        other = "uwv".replace(of, "").replace(to, "")
        moved = arrays | {to: arrays[to] + step[to]}
        change = case.call(of, moved, **mine) - case.call(of, arrays, **mine)
        gradient = case.call(to, {of: G[of], other: arrays[other]}, **of_gradient)
        assert real_inner(change, G[of]) == real_inner(step[to], gradient), (of, to)


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("boundary", ["constant", "reflect"])
def test_second_order_against_finite_differences(operator, boundary):
    rng = np.random.default_rng(0)
    options = {"stride": 2, "padding": 1, "boundary": boundary}
    layer, grad_input, grad_weight = (getattr(convx, operator + end) for end in ("", "_grad_input", "_grad_weight"))
    shapes = {"conv": ((1, 2, 9), (3, 2, 4)), "conv_transpose": ((1, 3, 4), (3, 2, 4)),
              "locally_connected": ((1, 2, 9), (4, 3, 2, 4))}
    x, w, along = (rng.standard_normal(shapes[operator][a]) for a in (0, 1, 1))

    def penalty(w):  # the square of the input gradient of the loss sum(y**2) / 2
        return (grad_input(layer(x, w, **options), w, x.shape, **options) ** 2).sum() / 2

    y = layer(x, w, **options)
    G = grad_input(y, w, x.shape, **options)
    # P = |X(Y(x, w), w)|^2 / 2: through the second operand of X, and through the first into the second of Y.
    by_table = grad_weight(G, y, w.shape, **options) + grad_weight(x, layer(G, w, **options), w.shape, **options)
    values = [penalty(w + h * along) for h in (-2, -1, 1, 2)]
    # P is of the fourth degree in w, for which this difference of four values is exact but for rounding.
    by_difference = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / 12
    products = 4 * w.size + x.size + y.size
    assert abs((by_table * along).sum() - by_difference) <= products * np.finfo(float).eps * max(values)


# Plans

@few
@given(cases(ranks=(1, 2), layouts=("NCHW", "NHWC")), st.sampled_from(("f4", "c16", "i4")))
def test_a_plan_is_the_function(case, dtype):
    x, w, y = ROLES[case.operator]
    arrays = case.arrays(dtype)
    user = {letter: case.user(letter, arrays[letter]) for letter in "uwv"}
    for result, name, first, second, more in ((y, "", x, w, {}), (x, "_grad_input", y, w, {"x_shape": user[x].shape}),
                                              (w, "_grad_weight", x, y, {"w_shape": user[w].shape})):
        plan = convx.plan(case.operator + name, user[first], user[second], **more, **case.keywords())
        want = case.user(result, case.call(result, arrays))
        out = np.empty(want.shape, want.dtype)
        for _ in range(2):
            assert np.array_equal(plan(user[first], user[second]), want)
            assert plan(user[first], user[second], out=out) is out
            assert np.array_equal(out, want)
        bound = plan.bind(user[second])
        for _ in range(2):
            assert np.array_equal(bound(user[first]), want)
            assert bound(user[first], out=out, workers=2) is out and np.array_equal(out, want)
        kept = user[second].copy()
        user[second][...] = 0
        assert np.array_equal(bound(user[first]), want)  # it holds a copy
        user[second][...] = kept
        table = convx.explain(case.operator + name, user[first], user[second], **more, **case.keywords())
        assert table.problem.startswith("n") and (table.chosen in str(table))
        assert plan.problem.text() == table.problem


def test_a_plan_knows_its_operands_by_name():
    dy, w, x = np.ones((1, 4, 3)), np.ones((4, 2, 3)), np.ones((1, 2, 5))
    for operator, arguments, names in (
            ("conv_grad_input", (dy, w, {"x_shape": x.shape}), ("dy", "w")),
            ("conv_grad_weight", (x, dy, {"w_shape": w.shape}), ("x", "dy")),
            ("conv_transpose", (dy, w, {}), ("x", "w")),
            ("conv_transpose_grad_input", (x, w, {"x_shape": dy.shape}), ("dy", "w")),
            ("conv_transpose_grad_weight", (dy, x, {"w_shape": w.shape}), ("x", "dy"))):
        first, second, options = arguments
        plan = convx.plan(operator, first, second, **options)
        for a, b, name in ((first[..., 1:], second, names[0]), (first, second[..., 1:], names[1])):
            with pytest.raises(ValueError, match=f"{name} has shape .*, the plan was made for"):
                plan(a, b)
        with pytest.raises(TypeError, match=f"{names[0]} has dtype float32"):
            plan(first.astype("f4"), second)
        with pytest.raises(ValueError, match=f"{names[1]} has shape"):
            plan.bind(second[..., 1:])
        with pytest.raises(ValueError, match=f"{names[0]} has shape"):
            plan.bind(second)(first[..., 1:])


def test_a_named_algorithm_is_the_one_explained():
    dy, w = np.ones((1, 4, 30, 30)), np.ones((4, 2, 3, 3))
    for name in ("gemm", "direct", "reference"):
        table = convx.explain("conv_grad_input", dy, w, x_shape=(1, 2, 32, 32), algorithm=name)
        assert table.chosen == name
    assert "b2 s1 d-1" in convx.explain("conv_transpose", dy, w, stride=2).problem
