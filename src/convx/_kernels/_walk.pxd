"""Operands that gemm reads where they lie: the inner sum of a box as runs of constant steps in x and in w.

The innermost loop of the box that has more than one step is the run; behind each run a side jumps to its next one. Rows
of pixels are worth it where neighbours of a run share a line, panels of pixels where these are neighbours in x.
"""

from _real cimport V
from _nest cimport Nest, Box
from _pack cimport Job, KC

cdef enum:
    LENGTH = 16   # of runs that are worth reading in place


ctypedef struct Walk:
    Py_ssize_t length, x_step, w_step
    const Py_ssize_t* x_jump
    const Py_ssize_t* w_jump
    const Py_ssize_t* where      # of each product in a strip: there are no runs
    Py_ssize_t x_first, w_first  # of the box, from a pixel's window and from a row of weights
    bint in_place                # x is worth reading where it lies
    bint x_plain, w_plain        # the products of a row (of a pixel, of weights) are neighbours


cdef inline void walk(const Job* job, const Box* box, Py_ssize_t* jumps, Walk* to) noexcept nogil:
    """jumps: room for twice KC. With strips they are left alone: `fill_strip` enters the places."""
    cdef const Nest* nest = job.nest
    cdef Py_ssize_t count[4]  # of each loop of the inner sum, innermost first
    cdef Py_ssize_t xs[4]
    cdef Py_ssize_t ws[4]
    cdef Py_ssize_t i1, i2, i3, x_at, w_at, x_end, w_end, runs = 0
    cdef int a, j, c_at = 0 if job.channel_last else 3, inner = 0
    cdef bint one = True
    count[c_at], xs[c_at], ws[c_at] = box.c1 - box.c0, nest.xc, nest.wc
    to.x_first, to.w_first = box.c0*nest.xc, box.c0*nest.wc
    for a in range(3):
        j = 2 - a + job.channel_last
        count[j], xs[j], ws[j] = box.k1[a] - box.k0[a], nest.axis[a].dilation*nest.axis[a].xs, nest.axis[a].ws
        to.x_first += (box.k0[a]*nest.axis[a].dilation - nest.axis[a].offset)*nest.axis[a].xs
        to.w_first += box.k0[a]*nest.axis[a].ws
    to.x_jump, to.w_jump, to.where, to.in_place, to.x_plain, to.w_plain = jumps, jumps + KC, NULL, False, True, True
    if job.strips:
        to.where = jumps
        return
    while inner < 3 and count[inner] == 1:
        inner += 1
    to.length, to.x_step, to.w_step = count[inner], xs[inner], ws[inner]
    to.x_plain, to.w_plain = to.length == 1 or to.x_step == 1, to.length == 1 or to.w_step == 1
    if to.length == 1:
        to.x_step, to.w_step = 1, 1
    count[inner] = 1
    x_end, w_end = 0, 0
    for i3 in range(count[3]):
        for i2 in range(count[2]):
            for i1 in range(count[1]):
                x_at = i3*xs[3] + i2*xs[2] + i1*xs[1]
                w_at = i3*ws[3] + i2*ws[2] + i1*ws[1]
                if runs > 0:
                    jumps[runs - 1], jumps[KC + runs - 1] = x_at - x_end, w_at - w_end
                    to.x_plain, to.w_plain = to.x_plain and x_at == x_end, to.w_plain and w_at == w_end
                    one = one and x_at == x_end and w_at == w_end
                x_end, w_end = x_at + to.length*to.x_step, w_at + to.length*to.w_step
                runs += 1
    jumps[runs - 1], jumps[KC + runs - 1] = 0, 0
    if one:  # of taps that follow each other in both arrays
        to.length *= runs
    to.in_place = to.length >= LENGTH and (-V <= to.x_step <= V if job.flat else
                                           nest.axis[2].stride*nest.axis[2].xs == 1)
