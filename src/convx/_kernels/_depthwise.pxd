"""What `depthwise`, `depthwise_last` and their `_grad` share: pairs of group and output channel as lanes."""

from libc.stdint cimport uintptr_t
from libc.stdlib cimport malloc
from _real cimport real, vreal, V, v_load, v_store, v_set, v_keep, v_copy, v_transpose, v_spoiled, spoiled
from _nest cimport Nest, Window, Box, exact, whole, address
from _lanes cimport Lanes, find

cdef enum:
    TAPS_WIDE = 64      # taps of a row that a strip of few outputs serves
    TAPS_HOLD = 36864   # bytes of its x, of L1; more if TAPS_FEWEST rows take more
    TAPS_FEWEST = 4


ctypedef struct Job:
    const Nest* nest
    const real* x
    const real* w
    real* y
    const real* bias
    bint first
    real cval
    Py_ssize_t lanes, vectors                # pairs (g, m), and vectors of them
    Py_ssize_t depth, sums                   # products of an output; outputs of a lane in one image
    Py_ssize_t x_near                        # channels that are neighbours in x, if those of a group are
    const real* nothing                      # what absent places hold, for every lane
    Py_ssize_t jump, stride, dilation        # of rows, counted in those that are copied
    Py_ssize_t rows, wide, height, width     # of outputs (taps) of a strip; of the strip
    Py_ssize_t strip, x_size, size           # elements (places): a strip, all of x, all scratch
    Py_ssize_t fixed, step                   # `find_fixed`
    const real* copied                       # weights: vector, product, lane
    const Py_ssize_t* at                     # products in the strips
    bint unsafe                              # some weights are not finite


cdef inline void begin(Job* job, const Nest* nest) noexcept nogil:
    """What follows from the nest alone."""
    cdef Py_ssize_t a = nest.axis[1].stride, b = nest.axis[1].dilation
    job.nest = nest
    job.lanes = nest.g*nest.m
    job.vectors = (job.lanes + V - 1) // V
    job.sums = nest.axis[0].out*nest.axis[1].out*nest.axis[2].out
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


cdef inline real* reserve(const Job* job, int threads, Py_ssize_t more) except NULL:
    """Scratch of all threads and `more` elements before it, with room for `whole_lines` of both."""
    cdef real* memory = <real*>malloc((threads*(job.size + V) + more + 2*V)*sizeof(real))
    if memory == NULL:
        raise MemoryError("scratch of the depthwise kernel")
    return memory


cdef inline Py_ssize_t of_thread(const Job* job) noexcept nogil:
    """Elements of scratch from one thread to the next."""
    return (job.size + V - 1) // V*V


cdef inline bint lay_out(const Job* job, real* to) noexcept nogil:
    """Weights with lanes innermost; whether some are not finite."""
    cdef const Nest* nest = job.nest
    cdef const Window* a = &nest.axis[0]
    cdef const Window* b = &nest.axis[1]
    cdef const Window* d = &nest.axis[2]
    cdef Py_ssize_t v, k0, c, k1, k2, turn = d.ws
    cdef Lanes l
    cdef const real* p
    cdef vreal looked = v_set(0)
    cdef int i
    if not (nest.c == a.taps == 1 and (d.ws == 1 or d.ws == -1) and (b.taps == 1 or b.ws == d.ws*d.taps)):
        turn = 0
    for v in range(job.vectors):
        find(&l, v*V, job.lanes, nest.m, nest.wg, nest.wm, 1, 0)
        if turn != 0:
            turn_runs(job.w + (0 if turn > 0 else 1 - job.depth), l.at, job.depth, turn > 0, to)
        else:
            for k0 in range(a.taps):
                for c in range(nest.c):
                    for k1 in range(b.taps):
                        for k2 in range(d.taps):
                            p = job.w + k0*a.ws + c*nest.wc + k1*b.ws + k2*d.ws
                            for i in range(V):
                                to[i] = p[l.at[i]]
                            to += V
            to -= job.depth*V
        for k0 in range(job.depth):
            looked += v_load(to) * v_set(0)  # nan if it is not finite
            to += V
    return v_spoiled(looked)


cdef inline void turn_runs(const real* p, const Py_ssize_t* at, Py_ssize_t count, bint forwards,
                           real* to) noexcept nogil:
    """to[j*V + i] = p[at[i] + j], or from the last j to the first."""
    cdef real square[V*V]
    cdef real turned[V*V]
    cdef Py_ssize_t j = 0, k, n
    cdef int i
    while j < count:
        n = min(<Py_ssize_t>V, count - j)
        for i in range(V):
            v_copy(square + i*V, p + at[i] + j, n)
        v_transpose(turned, V, square, V)
        for k in range(n):
            v_store(to + (j + k if forwards else count - 1 - j - k)*V, v_load(turned + k*V))
        j += n


# ---- pixels that are read where they lie: depthwise_last, depthwise_last_grad

cdef inline void find_fixed(Job* job, Py_ssize_t count, Py_ssize_t step, bint plain) noexcept nogil:
    """Rows of three or five taps (or outputs of a gradient) in steps of one or two have loops of their own, if they are
    `plain` otherwise: job.fixed is their number, 0 for all others."""
    job.fixed, job.step = 0, 0
    if plain and (count == 3 or count == 5) and step <= 2:
        job.fixed, job.step = count, step


cdef inline void place(const real** x, Py_ssize_t c, const vreal* w, const vreal* above, vreal* acc, const int j,
                       const int many, const int count, const int step, const int r0, const int r1,
                       const bint gradient) noexcept nogil:
    """Place j of a row for all of the `many` neighbours t that meet it with k = j - step*t < count: outputs t and taps
    k, in the rows r0 .. r1 of a tile (w belongs to the first, above to the second); in a gradient pixels t of w and
    outputs k."""
    cdef vreal xv
    cdef int t
    if j < step*(many - 1) + count:
        xv = v_keep(v_load(x[j] + c))
        for t in range(many):
            if 0 <= j - step*t and j - step*t < count:
                if gradient:
                    acc[j - step*t] += xv * w[t]
                elif r0 == 0:
                    acc[t] += xv * w[j - step*t]
                if r1 == 2:
                    acc[many + t] += xv * above[j - step*t]


cdef inline void places(const real** x, Py_ssize_t c, const vreal* w, const vreal* above, vreal* acc, const int many,
                        const int count, const int step, const int r0, const int r1,
                        const bint gradient) noexcept nogil:
    """All of a row, written out: GCC keeps acc in registers only where every index is a constant."""
    place(x, c, w, above, acc, 0, many, count, step, r0, r1, gradient)
    place(x, c, w, above, acc, 1, many, count, step, r0, r1, gradient)
    place(x, c, w, above, acc, 2, many, count, step, r0, r1, gradient)
    place(x, c, w, above, acc, 3, many, count, step, r0, r1, gradient)
    place(x, c, w, above, acc, 4, many, count, step, r0, r1, gradient)
    place(x, c, w, above, acc, 5, many, count, step, r0, r1, gradient)
    place(x, c, w, above, acc, 6, many, count, step, r0, r1, gradient)
    place(x, c, w, above, acc, 7, many, count, step, r0, r1, gradient)
    place(x, c, w, above, acc, 8, many, count, step, r0, r1, gradient)
    place(x, c, w, above, acc, 9, many, count, step, r0, r1, gradient)
    place(x, c, w, above, acc, 10, many, count, step, r0, r1, gradient)


cdef inline void fill_nothing(Job* job, real* nothing) noexcept nogil:
    """What absent places hold."""
    cdef Py_ssize_t lane
    for lane in range(job.lanes):
        nothing[lane] = job.cval
    job.nothing = nothing


# ---- few outputs of many products: depthwise_grad, depthwise_last_grad

cdef inline void cut_taps(Job* job) noexcept nogil:
    """The taps in strips, one after the other: this is the order of the sums."""
    cdef const Window* b = &job.nest.axis[1]
    cdef const Window* d = &job.nest.axis[2]
    cdef Py_ssize_t least = job.stride*(b.out - 1) + 1 - job.dilation
    job.wide = min(d.taps, <Py_ssize_t>TAPS_WIDE)
    job.width = d.dilation*(job.wide - 1) + d.stride*(d.out - 1) + 1
    job.rows = TAPS_HOLD // <Py_ssize_t>sizeof(real) // max(job.width*V, 1)
    job.rows = min(b.taps, max(<Py_ssize_t>TAPS_FEWEST, (job.rows - least) // job.dilation))
    job.height = least + job.dilation*job.rows


cdef inline void finish(const Job* job, Py_ssize_t v, Py_ssize_t n0, Py_ssize_t n1, bint absent,
                        real* sums) noexcept nogil:
    """y = init, or y, plus the sums of a vector; absent: some of them read zeros where there is nothing."""
    cdef const Nest* nest = job.nest
    cdef Py_ssize_t n, o0, o1, o2, first = first_lane(job, v)
    cdef vreal looked = v_set(0)
    cdef Lanes to_y
    cdef real* y
    cdef int k
    find(&to_y, v*V, job.lanes, nest.m, nest.yg, nest.ym, 1, 0)
    for n in range((n1 - n0)*job.sums):
        looked += v_load(sums + n*V) * v_set(0)  # nan if it is not finite
    absent = absent and v_spoiled(looked)
    for n in range(n0, n1):
        for o0 in range(nest.axis[0].out):
            for o1 in range(nest.axis[1].out):
                for o2 in range(nest.axis[2].out):
                    y = job.y + n*nest.yn + o0*nest.axis[0].ys + o1*nest.axis[1].ys + o2*nest.axis[2].ys
                    if absent:
                        for k in range(to_y.start, to_y.count):
                            if spoiled(sums[k]):
                                sums[k] = by_definition(job, first + k, n, o0, o1, o2)
                    if not job.first:
                        for k in range(to_y.start, to_y.count):
                            y[to_y.at[k]] += sums[k]
                    elif job.bias != NULL:
                        for k in range(to_y.start, to_y.count):
                            y[to_y.at[k]] = sums[k] + job.bias[first + k]
                    else:
                        for k in range(to_y.start, to_y.count):
                            y[to_y.at[k]] = sums[k]
                    sums += V
