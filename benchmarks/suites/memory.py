"""Peak memory of one call; "nothing" is what the process and the arrays take."""

from problems_file import Case, operands

import convx

TAGS = ("body-64x224", "body-512x14", "stem-7x7", "transposed-4x4", "filter-2048-k31", "filter-2048-k127")


class Peaks:
    params = TAGS, ("nothing", "y", "dx", "dw")
    param_names = "problem", "of"
    timeout = 60

    def setup(self, tag, of):
        if tag.startswith("filter") and of in ("dx", "dw"):
            raise NotImplementedError("the gradient of a filter is a filter, or a matrix product")
        self.case, self.arrays = Case(tag, "float32", "NCHW"), operands(tag, "float32")

    def peakmem_call(self, tag, of):
        x, w, y = self.arrays
        name, options = "conv", self.case.options()
        if self.case.transposed:
            x, y, name = y, x, "conv_transpose"
        if of == "y":
            getattr(convx, name)(x, w, out=y, **options)
        elif of == "dx":
            getattr(convx, f"{name}_grad_input")(y, w, x.shape, out=x, **options)
        elif of == "dw":
            getattr(convx, f"{name}_grad_weight")(x, y, w.shape, out=w, **options)
