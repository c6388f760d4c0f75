"""What `winograd` will read and write next, line by line: products ask for it while they are made.

Lines of x and y lie far apart, a few neighbours each, and the hardware does not guess them: the transforms of a 3x3 layer
of 64 channels waited for them a fifth of its time (float32, 224 x 224 and 8 x 56 x 56, an Emerald Rapids server).
"""

from _real cimport real
from _nest cimport Nest, Window
from _products cimport Want
from _winograd cimport Job, Run, run_at


ctypedef struct Ahead:
    # Rows of x, or of y, under the current run of some tiles: lines of `across` values, `number` of them `step` apart.
    const real* p
    Py_ssize_t rows, row_step, across, number, step
    Py_ssize_t row, place, start     # what comes next
    Py_ssize_t tile, count           # the tiles of the following runs
    Py_ssize_t g, m0, m1             # of y: its channels


cdef inline void next_run(const Job* job, Ahead* a) noexcept nogil:
    cdef const Nest* nest = job.nest
    cdef const Window* b = &nest.axis[1]
    cdef const Window* d = &nest.axis[2]
    cdef Py_ssize_t i0, i1, i2, columns, channels, lane
    cdef Run run
    a.rows, a.row, a.place, a.start = 0, 0, 0, 0
    if a.count <= 0:
        return
    run_at(job, a.tile, a.count, &run)
    a.tile += run.length
    a.count -= run.length
    if a.m1 > a.m0:
        a.p = job.y + run.n*nest.yn + a.g*nest.yg + a.m0*nest.ym + run.o0*nest.axis[0].ys + run.o1*b.ys + run.o2*d.ys
        a.rows, columns, channels, lane = run.rows, run.columns, a.m1 - a.m0, nest.ym
        a.row_step, a.step = b.ys, d.ys
    else:  # of the planes under a volume the last one: the others were read before
        i0 = nest.axis[0].stride*run.o0 + nest.axis[0].dilation*(nest.axis[0].taps - 1) - nest.axis[0].offset
        i1, i2 = max(run.o1 - b.offset, <Py_ssize_t>0), max(run.o2 - d.offset, <Py_ssize_t>0)
        a.p = job.x + nest.x0 + run.n*nest.xn + a.g*nest.xg + i0*nest.axis[0].xs + i1*b.xs + i2*d.xs
        a.rows = min(run.rows + b.taps - 1, b.size - i1) if 0 <= i0 < nest.axis[0].size else 0
        columns, channels, lane = min(run.columns + d.taps - 1, d.size - i2), nest.c, nest.xc
        a.row_step, a.step = b.xs, d.xs
    a.across, a.number = channels, columns
    if lane != 1:
        a.across, a.number, a.step = columns, channels, lane


cdef inline bint ask_next(const Job* job, Ahead* a, Py_ssize_t count, Want* to) noexcept nogil:
    """`count` lines that are wanted next; whether there are some."""
    if a.row >= a.rows:
        if a.count > 0:  # a run that reads nothing
            next_run(job, a)
        return False
    to.p = a.p + a.row*a.row_step + a.start*a.step + a.place
    to.step = a.step
    a.start += count
    if a.start >= a.number:
        a.start = 0
        a.place += 64//<Py_ssize_t>sizeof(real)
        if a.place >= a.across:
            a.place = 0
            a.row += 1
            if a.row >= a.rows:
                next_run(job, a)
    return True
