"""What the kernels with pairs of group and output channel as lanes share: depthwise, depthwise_last, and their _grad."""

from libc.stdint cimport uintptr_t
from _real cimport real, V, spoiled
from _nest cimport Nest, Window, Box, exact, whole, address
from _lanes cimport Lanes, find


ctypedef struct Job:
    const Nest* nest
    const real* x
    const real* w
    real* y
    const real* bias
    bint first
    real cval
    Py_ssize_t lanes, vectors, depth         # pairs (g, m), vectors of them; products of an output
    Py_ssize_t x_near                        # channels that are neighbours in x, if those of a group are
    const real* nothing                      # what absent places hold, for every lane
    Py_ssize_t jump, stride, dilation        # of rows, counted in those that are copied
    Py_ssize_t rows, wide, height, width     # of outputs (taps) of a strip; of the strip
    Py_ssize_t strip, x_size, size           # elements (places): a strip, all of x, all scratch
    const real* copied                       # weights: vector, product, lane
    const Py_ssize_t* at                     # products in the strips
    bint unsafe                              # some weights are not finite


cdef inline void begin(Job* job, const Nest* nest) noexcept nogil:
    """What follows from the nest alone."""
    cdef Py_ssize_t a = nest.axis[1].stride, b = nest.axis[1].dilation
    job.nest = nest
    job.lanes = nest.g*nest.m
    job.vectors = (job.lanes + V - 1) // V
    job.depth = nest.c*nest.axis[0].taps*nest.axis[1].taps*nest.axis[2].taps
    while b:
        a, b = b, a % b
    job.jump = a
    job.stride, job.dilation = nest.axis[1].stride // a, nest.axis[1].dilation // a


cdef inline int operands(Job* job, x_array, w_array, y_array, bias_array, bint first, cval_array) except -1:
    job.first, job.cval = first, address(cval_array)[0]
    job.x = address(x_array) + job.nest.x0
    job.w = address(w_array) + job.nest.w0
    job.y = address(y_array) + job.nest.y0
    job.bias = NULL if bias_array is None else address(bias_array)
    return 0


cdef inline Py_ssize_t first_lane(const Job* job, Py_ssize_t vector) noexcept nogil:
    """The last vector overlaps the one before, so that it is whole."""
    return max(<Py_ssize_t>0, min(vector*V, job.lanes - V))


cdef inline real by_definition(const Job* job, Py_ssize_t lane, Py_ssize_t n, Py_ssize_t o0, Py_ssize_t o1,
                               Py_ssize_t o2) noexcept nogil:
    """One sum."""
    cdef const Nest* nest = job.nest
    cdef Py_ssize_t g = lane // nest.m, m = lane % nest.m
    cdef Box box
    whole(nest, &box)
    return exact(nest, &box, job.x + n*nest.xn + g*nest.xg, job.w + g*nest.wg + m*nest.wm, o0, o1, o2, 0, job.cval)


cdef inline real* whole_lines(real* p) noexcept nogil:
    """The next address that loads of vectors find aligned."""
    cdef uintptr_t unit = V*sizeof(real)
    return <real*>((<uintptr_t>p + unit - 1) // unit*unit)


cdef inline bint lay_out(const Job* job, real* to) noexcept nogil:
    """Weights with lanes innermost; whether some are not finite."""
    cdef const Nest* nest = job.nest
    cdef const Window* a = &nest.axis[0]
    cdef const Window* b = &nest.axis[1]
    cdef const Window* d = &nest.axis[2]
    cdef Py_ssize_t v, k0, c, k1, k2, first
    cdef Lanes l
    cdef const real* p
    cdef int i, bad = 0
    for v in range(job.vectors):
        find(&l, v*V, job.lanes, nest.m, nest.wg, nest.wm, 1, 0)
        for k0 in range(a.taps):
            for c in range(nest.c):
                for k1 in range(b.taps):
                    for k2 in range(d.taps):
                        p = job.w + k0*a.ws + c*nest.wc + k1*b.ws + k2*d.ws
                        for i in range(V):
                            to[i] = p[l.at[i]]
                            bad |= spoiled(to[i])
                        to += V
    return bad
