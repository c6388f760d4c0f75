"""Every solver on every problem that it accepts: y, dx and dw, float32, NCHW."""

from problems_file import Case, operands, problems

import convx

SOLVERS = ("auto", "stencil", "stencil_winograd", "winograd", "thin_winograd", "thin", "gemm",
           "depthwise", "direct", "fft")
SOME = ("filter-1024-k3", "filter-1024-k9", "filter-1024-k31", "filter-1024-k63")
TAGS = tuple(tag for tag in problems() if tag in SOME or not tag.startswith(("pool", "filter")))


class Solvers:
    params = SOLVERS, TAGS, ("y", "dx", "dw")
    param_names = "algorithm", "problem", "of"
    number, repeat, rounds, warmup_time, timeout = 1, (3, 9, 1.0), 1, 0, 30

    def setup(self, algorithm, tag, of):
        case = Case(tag, "float32", "NCHW")
        x, w, y = operands(tag, "float32")
        options = {**case.options(), "algorithm": algorithm}
        name = "conv_transpose" if case.transposed else "conv"
        if case.transposed:
            x, y = y, x
        calls = {"y": (name, x, w, {}), "dx": (f"{name}_grad_input", y, w, {"x_shape": x.shape}),
                 "dw": (f"{name}_grad_weight", x, y, {"w_shape": w.shape})}
        operator, a, b, shape = calls[of]
        try:
            auto = convx.explain(operator, a, b, **{**options, "algorithm": "auto"}, **shape)
            seconds = {name: seconds for name, _, seconds in auto.rows}.get(algorithm)
            if seconds is not None and seconds > 0.5:
                raise NotImplementedError("it would take long, and nobody would choose it")
            self.plan = convx.plan(operator, a, b, **options, **shape)
            self.plan(a, b)
        except ValueError:  # a solver refuses when it sees the arrays
            raise NotImplementedError("refused") from None
        self.operands = a, b

    def teardown(self, algorithm, tag, of):
        operands.cache_clear()

    def time_solver(self, algorithm, tag, of):
        self.plan(*self.operands)
