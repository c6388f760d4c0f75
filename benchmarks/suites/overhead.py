"""What a call costs before and after the loops, and `import convx`."""

import numpy as np

import convx


class Small:
    """The smallest calls: plan found, plan made anew, plan with out=, and NumPy's for scale."""

    def setup(self):
        rng = np.random.default_rng(0)
        self.a, self.v = rng.random(16), rng.random(3)
        self.x, self.w = rng.random((1, 1, 32, 32), np.float32), rng.random((1, 1, 3, 3), np.float32)
        self.plan = convx.plan("conv2d", self.x, self.w, padding="same")
        self.bound = self.plan.bind(self.w)
        self.out = self.plan(self.x, self.w)
        self.length = 16

    def time_convolve(self):
        convx.convolve(self.a, self.v)

    def time_numpy_convolve(self):
        np.convolve(self.a, self.v)

    def time_conv2d(self):
        convx.conv2d(self.x, self.w, padding="same")

    def time_plan_and_out(self):
        self.plan(self.x, self.w, out=self.out)

    def time_bound_plan_and_out(self):
        self.bound(self.x, out=self.out)

    def time_other_shapes(self):
        """Every call has a length that was not seen before."""
        self.length += 1
        convx.convolve(np.zeros(self.length), self.v)

    def time_max_pool(self):
        convx.max_pool(self.x, 2)


class Imports:
    def timeraw_convx(self):
        return "import convx"

    def timeraw_numpy(self):
        return "import numpy"
