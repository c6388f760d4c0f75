"""The gradient of the weights of layers with few input channels: few outputs, each a sum over a picture.

The sum:       y[n, m, o] = init + sum over (c, k) of x[n, c, i(o, k)] * w[m, c, k]: for a layer's dw, n are the
               channels of x, c the batch, m the channels of dy (which is w) and k its pixels.
The schedule:  a tile of TR rows (n, o) by TV vectors of m stays in registers while the taps of a row pass by: a value of
               x is broadcast for each row, the lanes are read beside each other. The rows of x under some rows of taps
               are copied once, as in `thin` with taps and outputs exchanged (_strip.pxd), so that neighbouring taps are
               neighbours for every row of the tile. Rows of w whose channels are no neighbours are turned, in pieces
               that stay in L1.
               The sum is cut into parts by rows of taps; the solver gives their number, threads take whole parts, and
               the parts are added in their order: bits do not depend on the threads.
Edges:         what is not there reads zeros; outputs that are not finite then are done again by the definition.
Assumes:       weights shared by all outputs (no w stride along o).
"""

from libc.stdlib cimport malloc, free
from libc.string cimport memset
from cython.parallel cimport prange, threadid
from _real cimport real, vreal, V, TR, TV, v_load, v_store, v_copy, spoiled
from _nest cimport Nest, Window, Box, address, exact, whole, PyBytes_AS_STRING
from _pack cimport Job, turn, offset
from _strip cimport Strip, strip_of, fill_strip

cdef enum:
    WIDEST = 480  # columns of a strip
    HIGHEST = 8   # rows of taps of a strip
    PIECE = 6144  # values of a piece of w: 24 KB in float32, half of L1

LANES, ROWS, VECTORS = V, TR, TV


ctypedef struct Layer:
    Nest nest            # with taps and outputs exchanged, and n and c
    Job packing          # what a strip needs
    Box box              # all outputs of all n
    const real* x
    const real* w
    Py_ssize_t c, cx, cw             # the inner channels and their steps in x and w
    Py_ssize_t m, wm, rows, lines    # lanes; rows (n, o) of the product, and lanes up to whole vectors
    Py_ssize_t parts, columns, across, piece
    Py_ssize_t values, size          # of a strip; bytes of a thread's scratch
    bint placed                      # w is read where it lies
    int times                        # 1


cdef inline void product(const real* x, const Py_ssize_t* where, const real* b, Py_ssize_t b_step, Py_ssize_t count,
                         real* sums, Py_ssize_t step, int times, const int nv) noexcept nogil:
    """TR rows x nv vectors of sums += `count` taps. The outermost loop runs once, as in gemm."""
    cdef vreal acc[TR*TV]
    cdef vreal bv[TV]
    cdef const real* a[TR]
    cdef Py_ssize_t k
    cdef int i, j, once
    for once in range(times):
        for i in range(TR):
            a[i] = x + where[i]
            for j in range(nv):
                acc[i*nv + j] = v_load(sums + i*step + j*V)
        for k in range(count):
            for j in range(nv):
                bv[j] = v_load(b + j*V)
            for i in range(TR):
                for j in range(nv):
                    acc[i*nv + j] += bv[j]*a[i][k]
            b += b_step
        for i in range(TR):
            for j in range(nv):
                v_store(sums + i*step + j*V, acc[i*nv + j])


cdef int multiply(const Layer* job, const real* x, const Py_ssize_t* where, const real* b, Py_ssize_t b_step,
                  Py_ssize_t count, Py_ssize_t left, real* sums) noexcept nogil:
    """The product with as many of `left` vectors as a tile takes; how many these are."""
    if left >= TV:
        product(x, where, b, b_step, count, sums, job.lines, job.times, TV)
        return TV
    if left >= 2:
        product(x, where, b, b_step, count, sums, job.lines, job.times, 2)
        return 2
    product(x, where, b, b_step, count, sums, job.lines, job.times, 1)
    return 1


cdef inline Py_ssize_t up(Py_ssize_t count, Py_ssize_t unit) noexcept nogil:
    return (count + unit - 1)//unit*unit


cdef void take(const Layer* job, const real* w, Py_ssize_t count, real* to) noexcept nogil:
    """`count` taps of a row of w, channels beside each other."""
    cdef Py_ssize_t step = job.nest.axis[2].ws, k, m
    if step == 1:
        turn(to, job.lines, w, job.wm, job.m, count)
    elif job.wm == 1:
        for k in range(count):
            v_copy(to + k*job.lines, w + k*step, job.m)
    else:
        for k in range(count):
            for m in range(job.m):
                to[k*job.lines + m] = w[k*step + m*job.wm]


cdef void row(const Layer* job, const real* strip, const Py_ssize_t* where, const real* w, Py_ssize_t columns,
              real* piece, real* sums) noexcept nogil:
    """Add `columns` taps of a row of w to the sums."""
    cdef Py_ssize_t k = 0, count, r, m, b_step = job.nest.axis[2].ws if job.placed else job.lines
    cdef const real* b
    while k < columns:
        count = min(job.piece, columns - k)
        b = w + k*job.nest.axis[2].ws
        if not job.placed:
            take(job, b, count, piece)
            b = piece
        r = 0
        while r < job.rows:
            m = 0
            while m < job.lines:
                m += V*multiply(job, strip + k, where + r, b + m, b_step, count, (job.lines - m)//V,
                                sums + r*job.lines + m)
            r += TR
        k += count


cdef bint part(const Layer* job, Py_ssize_t g, Py_ssize_t number, real* sums, char* memory) noexcept nogil:
    """The sums of a part: rows of taps of all inner channels and outermost taps; whether some x was not there."""
    cdef const Window* a = &job.nest.axis[0]
    cdef const Window* b = &job.nest.axis[1]
    cdef const Window* d = &job.nest.axis[2]
    cdef real* values = <real*>memory
    cdef real* piece = values + job.values
    cdef Py_ssize_t* where = <Py_ssize_t*>(piece + up(job.piece*job.lines, V))
    cdef Py_ssize_t lines = job.c*a.out*b.out, first = number*lines//job.parts, last = (number + 1)*lines//job.parts
    cdef Py_ssize_t q, r, c
    cdef Py_ssize_t at[4]
    cdef Strip strip
    cdef const real* x
    cdef const real* w
    cdef bint absent = False
    memset(sums, 0, up(job.rows, TR)*job.lines*sizeof(real))
    memset(piece, 0, job.piece*job.lines*sizeof(real))
    at[0] = 0
    while first < last:
        at[2] = first % b.out
        at[1] = first//b.out % a.out
        c = first//b.out//a.out
        r = min(min(last - first, b.out - at[2]), <Py_ssize_t>HIGHEST)
        x = job.x + g*job.nest.xg + c*job.cx
        for q in range(job.across):
            at[3] = q*job.columns
            strip_of(&job.nest, b.taps, d.taps, r, min(job.columns, d.out - at[3]), job.columns, &strip)
            absent |= fill_strip(&job.packing, x, &job.box, &strip, at, values, where)
            for c in range(job.rows, up(job.rows, TR)):
                where[c] = where[0]
            c = first//b.out//a.out
            w = job.w + g*job.nest.wg + c*job.cw + at[1]*a.ws + at[2]*b.ws + at[3]*d.ws
            for c in range(r):
                row(job, values + c*strip.pitch, where, w + c*b.ws, strip.columns, piece, sums)
        first += r
    return absent


cdef void swap(const Nest* nest, Layer* job) noexcept nogil:
    """The nest as a strip sees it: taps are pixels, outputs are taps, n are channels."""
    cdef Window* v
    cdef int axis
    job.nest = nest[0]
    job.nest.c, job.nest.xc, job.nest.n, job.nest.xn = nest.n, nest.xn, 1, 0
    for axis in range(3):
        v = &job.nest.axis[axis]
        v.out, v.taps = v.taps, v.out
        v.stride, v.dilation = v.dilation, v.stride
    job.c, job.cx, job.cw, job.m, job.wm = nest.c, nest.xc, nest.wc, nest.m, nest.wm
    job.rows = nest.n*nest.axis[0].out*nest.axis[1].out*nest.axis[2].out
    job.lines, job.times = up(nest.m, V), 1
    job.placed = nest.wm == 1 and nest.m % V == 0


cdef void cut(Layer* job) noexcept nogil:
    """Sizes of strips and of pieces of w."""
    cdef const Window* b = &job.nest.axis[1]
    cdef const Window* d = &job.nest.axis[2]
    cdef Strip strip
    whole(&job.nest, &job.box)
    job.across = (d.out + WIDEST - 1)//WIDEST
    job.columns = up((d.out + job.across - 1)//job.across, V)
    job.across = (d.out + job.columns - 1)//job.columns
    strip_of(&job.nest, b.taps, d.taps, HIGHEST, min(job.columns, d.out), job.columns, &strip)
    job.values = up(job.nest.c*job.nest.axis[0].taps*strip.plane + 2*V, V)
    job.piece = max(<Py_ssize_t>V, PIECE//job.lines//V*V)
    job.size = (job.values + up(job.piece*job.lines, V))*<Py_ssize_t>sizeof(real)
    job.size = up(job.size + up(job.rows, TR)*<Py_ssize_t>sizeof(Py_ssize_t), 64)


cdef void gather(const Nest* nest, const Layer* job, const real* sums, const real* x, const real* w, real* y,
                 const real* bias, bint first, bint absent) noexcept nogil:
    """The parts of a group together, in their order, into y."""
    cdef Py_ssize_t each = up(job.rows, TR)*job.lines, r = 0, n, o0, o1, o2, m, p
    cdef real total
    cdef real* to
    cdef Box box
    whole(nest, &box)
    # the order of the rows: that of `fill_strip`
    for n in range(nest.n):
        for o0 in range(nest.axis[0].out):
            for o1 in range(nest.axis[1].out):
                for o2 in range(nest.axis[2].out):
                    to = y + n*nest.yn + o0*nest.axis[0].ys + o1*nest.axis[1].ys + o2*nest.axis[2].ys
                    for m in range(nest.m):
                        total = sums[r*job.lines + m]
                        for p in range(1, job.parts):
                            total += sums[p*each + r*job.lines + m]
                        if absent and spoiled(total):
                            total = exact(nest, &box, x + n*nest.xn, w + m*nest.wm, o0, o1, o2, 0, job.packing.cval)
                        if not first:
                            total += to[m*nest.ym]
                        elif bias != NULL:
                            total += bias[m]
                        to[m*nest.ym] = total
                    r += 1


def run(x_array, w_array, y_array, bias_array, nest_bytes, bint first, cval_array, Py_ssize_t parts, int threads):
    """y of one nest, summed in so many parts."""
    cdef const Nest* nest = <const Nest*>PyBytes_AS_STRING(nest_bytes)
    cdef Layer job
    cdef Py_ssize_t each, t, tasks = nest.g*parts
    cdef real* y = address(y_array) + nest.y0
    cdef const real* bias = NULL if bias_array is None else address(bias_array)
    cdef real* sums
    cdef char* memory
    cdef int absent = 0
    job.x, job.w = address(x_array) + nest.x0, address(w_array) + nest.w0
    swap(nest, &job)
    job.parts = parts
    job.packing.nest, job.packing.cval, job.packing.channel_last = &job.nest, address(cval_array)[0], False
    cut(&job)
    each = up(job.rows, TR)*job.lines
    cdef void* scratch = malloc(tasks*each*sizeof(real) + threads*job.size + 128)
    if scratch == NULL:
        raise MemoryError("scratch of the thin_grad kernel")
    sums = <real*>(<char*>scratch + (64 - <Py_ssize_t>(<size_t>scratch % 64)))
    memory = <char*>sums + up(tasks*each*<Py_ssize_t>sizeof(real), 64)
    for t in prange(tasks, nogil=True, num_threads=threads, schedule='dynamic'):
        absent += part(&job, t//parts, t % parts, sums + t*each, memory + threadid()*job.size)
    for t in prange(nest.g, nogil=True, num_threads=threads, schedule='static'):
        gather(nest, &job, sums + t*parts*each, job.x + t*nest.xg, job.w + t*nest.wg, y + t*nest.yg,
               offset(bias, t*nest.m), first, absent > 0 and job.packing.cval == 0)
    free(scratch)
