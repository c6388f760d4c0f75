"""Dense layers as a matrix product over packed tiles: no im2col array, only a tile's worth of it per thread.

The sum:       y[n, m, o] = init + sum over (c, k) of x[n, c, i(o, k)] * w[m, c, k], for each group: a product of the
               weights (rows m) with the windows (columns: pixels, all batches and positions in one line).
The schedule:  one side of the product is broadcast, MR rows of it; the other runs in vectors, a panel of up to three.
               MR x 3 sums stay in registers. Either side may be x (`flat` = 0: pixels in vectors, for layouts whose rows are
               contiguous; `flat` = 1: output channels in vectors, for channels-last). The inner sum is cut into boxes of
               at most KC products; for each box a thread packs its block of pixels once and passes all weights by it.
Packing:       absorbs stride, dilation, boundary and layout. Weights are read in place where a row of them is
               contiguous, else packed before (`pack`), in slices of at most LIMIT bytes.
Edges:         taps that read nothing are packed as zeros; a tile with such taps whose sums are not finite is done
               again by the definition, so that zero padding never meets an infinite weight.
Assumes:       weights shared by all outputs (no w stride along o).
"""

from libc.stdlib cimport malloc, free
from cython.parallel cimport prange, threadid
from _real cimport real, vreal, V, MR, v_load, v_store, v_set, v_prefetch, v_prefetch_read, v_transpose, v_copy, v_copy_even, spoiled, v_spoiled
from _nest cimport (Nest, Window, Box, address, locate, exact, clip_low, clip_high, PyBytes_AS_STRING)

cdef enum:
    NV = 3        # vectors of a panel
    KC = 640      # products of a box: MR rows of them and a panel line stay in L1 (flat between 400 and 800)
    BLOCK = 240   # pixels of a block: KC x BLOCK packed values stay in L2 (1 MB; flat between 144 and 384)
    LIMIT = 12582912

LANES, ROWS = V, MR


ctypedef struct Job:
    const Nest* nest
    const real* x
    const real* w
    real* y
    const real* bias
    const real* packed     # weights as pack() leaves them, or NULL: read in place
    real cval
    bint flat, first, channel_last
    Py_ssize_t pixels, m0, m1   # of this slice of output channels
    Py_ssize_t depth


ctypedef struct Part:
    # A packed block of pixels p0 .. p0 + count for one box, and the units u0 .. u1 of output channels to do.
    Box box
    const real* block
    const char* flags           # tiles in which some taps read nothing, and cval is 0
    const char* joined          # panels whose pixels are neighbours in y
    const Py_ssize_t* pixel_at  # where a pixel's output lies
    Py_ssize_t kc, before, p0, count, u0, u1
    bint first


ctypedef struct Target:
    # Where a tile goes, and what is added to it: y itself, a value per row, or one per column.
    real* row[MR]
    real bias[MR]
    const real* column_bias
    bint add
    int times
    bint check, bad   # look for sums that are not finite before storing; whether there were some (nothing is stored then)


ctypedef struct Cut:
    # How the inner sum is cut: extents of (k2, k1, k0, c) or (c, k2, k1, k0), innermost first, and box sizes.
    Py_ssize_t extent[4]
    Py_ssize_t size[4]
    Py_ssize_t boxes


cdef void cut(const Nest* nest, bint channel_last, Cut* to) noexcept nogil:
    """Whole inner loops while they fit KC, then equal parts of the next one, then single steps."""
    cdef Py_ssize_t room = KC, parts
    cdef int j
    for j in range(3):
        to.extent[j + channel_last] = nest.axis[2 - j].taps
    to.extent[0 if channel_last else 3] = nest.c
    to.boxes = 1
    for j in range(4):
        parts = (to.extent[j] + room - 1) // room
        to.size[j] = (to.extent[j] + parts - 1) // parts
        parts = (to.extent[j] + to.size[j] - 1) // to.size[j]
        to.boxes *= parts
        room = room // to.size[j] if parts == 1 else 1


cdef Py_ssize_t box_at(const Cut* cuts, bint channel_last, Py_ssize_t number, Box* box) noexcept nogil:
    """The box of this number; returns its products."""
    cdef Py_ssize_t low, high, parts, count = 1
    cdef int j, axis
    for j in range(4):
        parts = (cuts.extent[j] + cuts.size[j] - 1) // cuts.size[j]
        low = number % parts * cuts.size[j]
        number = number // parts
        high = min(cuts.extent[j], low + cuts.size[j])
        count *= high - low
        axis = 2 - j + channel_last
        if (channel_last and j == 0) or (not channel_last and j == 3):
            box.c0, box.c1 = low, high
        else:
            box.k0[axis], box.k1[axis] = low, high
    return count


cdef void steps(const Box* box, bint channel_last, Py_ssize_t* sc, Py_ssize_t* sk) noexcept nogil:
    """Strides of c and of each tap axis in the packed inner index of a box."""
    cdef Py_ssize_t step = 1
    cdef int a
    if channel_last:
        sc[0] = 1
        step = box.c1 - box.c0
    for a in range(2, -1, -1):
        sk[a] = step
        step *= box.k1[a] - box.k0[a]
    if not channel_last:
        sc[0] = step


cdef inline const real* offset(const real* p, Py_ssize_t step) noexcept nogil:
    """p + step, or NULL where there is no p."""
    if p == NULL:
        return p
    return p + step


# ---- panels: a line of `count` columns in vectors, split evenly into panels of at most NV of them

cdef inline Py_ssize_t panels(Py_ssize_t count) noexcept nogil:
    return ((count + V - 1) // V + NV - 1) // NV


cdef inline Py_ssize_t panel_start(Py_ssize_t count, Py_ssize_t panel) noexcept nogil:
    """First column of a panel, a multiple of V; of panel number panels(count): the rounded-up count."""
    return panel * ((count + V - 1) // V) // panels(count) * V


# ---- packing

cdef inline void copy(real* to, const real* p, Py_ssize_t step, Py_ssize_t count) noexcept nogil:
    """count values, `step` apart."""
    cdef Py_ssize_t j
    if step == 1:
        v_copy(to, p, count)
    elif step == 2:
        v_copy_even(to, p, count)
    else:
        for j in range(count):
            to[j] = p[step*j]


cdef void turn(real* to, Py_ssize_t to_step, const real* p, Py_ssize_t step, Py_ssize_t rows, Py_ssize_t columns) noexcept nogil:
    """to[j, i] = p[i, j]: rows of contiguous values (i) become lanes; squares of V x V in registers.

    Rows a power of two apart share one set of L1, so a line is read once and not once per value.
    """
    cdef Py_ssize_t i, j = 0, h, k
    while j < columns:
        i = 0
        while i < rows:
            if i + V <= rows and j + V <= columns:
                v_transpose(to + j*to_step + i, to_step, p + i*step + j, step)
            else:
                for h in range(i, min(i + V, rows)):
                    for k in range(j, min(j + V, columns)):
                        to[k*to_step + h] = p[h*step + k]
            i += V
        j += V


cdef inline void constant(real* to, real value, Py_ssize_t step, Py_ssize_t count) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(count):
        to[j*step] = value


cdef inline void place(const Nest* nest, Py_ssize_t pixel, Py_ssize_t* at) noexcept nogil:
    """(n, o0, o1, o2) of a pixel."""
    cdef int a
    for a in range(2, -1, -1):
        at[a + 1] = pixel % nest.axis[a].out
        pixel = pixel // nest.axis[a].out
    at[0] = pixel


cdef inline void advance(const Nest* nest, Py_ssize_t* at) noexcept nogil:
    """The place of the next pixel, without divisions."""
    cdef int a = 3
    while a > 0:
        at[a] += 1
        if at[a] < nest.axis[a - 1].out:
            return
        at[a] = 0
        a -= 1
    at[0] += 1


cdef bint pack_run(const Job* job, const real* x, const Box* box, const Py_ssize_t* at, Py_ssize_t length, real* to,
                   Py_ssize_t width) noexcept nogil:
    """`length` neighbouring pixels of a row as lanes of a panel; whether some taps read nothing.

    Taps are looked up once and channels walked outside: the rows of one channel stay in L1 for all its taps, where
    channels lie a power of two apart and would push each other out.
    """
    cdef const Nest* nest = job.nest
    cdef const Window* d = &nest.axis[2]
    cdef Py_ssize_t sc
    cdef Py_ssize_t sk[3]
    cdef Py_ssize_t place_in[KC]   # of a tap in the panel
    cdef Py_ssize_t start[KC]      # first position along the row
    cdef Py_ssize_t origin[KC]     # of the row in x
    cdef bint reads[KC]            # whether there is such a row
    cdef Py_ssize_t k0, k1, k2, i0, i1, t = 0, taps, low, high, c, j, i, step = d.stride*d.xs, each = box.k1[2] - box.k0[2]
    cdef real* line
    cdef const real* p
    cdef bint absent = False
    steps(box, job.channel_last, &sc, sk)
    for k0 in range(box.k0[0], box.k1[0]):
        i0 = locate(&nest.axis[0], nest.axis[0].stride*at[1] + nest.axis[0].dilation*k0 - nest.axis[0].offset)
        for k1 in range(box.k0[1], box.k1[1]):
            i1 = locate(&nest.axis[1], nest.axis[1].stride*at[2] + nest.axis[1].dilation*k1 - nest.axis[1].offset)
            for k2 in range(box.k0[2], box.k1[2]):
                place_in[t] = ((k0 - box.k0[0])*sk[0] + (k1 - box.k0[1])*sk[1] + (k2 - box.k0[2])*sk[2])*width
                start[t] = d.stride*at[3] + d.dilation*k2 - d.offset
                reads[t] = i0 >= 0 and i1 >= 0
                origin[t] = i0*nest.axis[0].xs + i1*nest.axis[1].xs
                t += 1
    taps = t
    if nest.xc == 1 and step > 2:
        return pack_turned(job, x, box, taps, place_in, start, origin, reads, length, sc*width, to)
    for c in range(box.c0, box.c1):
        for t in range(taps):
            line = to + place_in[t] + (c - box.c0)*sc*width
            if not reads[t]:
                absent = True
                constant(line, job.cval, 1, length)
                continue
            p = x + origin[t] + c*nest.xc
            if step <= 2 and t % each == 0:
                for j in range(0, length*step, 16):
                    v_prefetch_read(p + start[t]*d.xs + 2*nest.xc + j)
            if start[t] >= 0 and start[t] + (length - 1)*d.stride < d.size:
                copy(line, p + start[t]*d.xs, step, length)
                continue
            low = min(clip_low(start[t], d.stride), length)
            high = max(clip_high(start[t], d.stride, d.size, length), low)
            copy(line + low, p + (start[t] + low*d.stride)*d.xs, step, high - low)
            for j in range(low):
                i = locate(d, start[t] + j*d.stride)
                absent |= i < 0
                line[j] = job.cval if i < 0 else p[i*d.xs]
            for j in range(high, length):
                i = locate(d, start[t] + j*d.stride)
                absent |= i < 0
                line[j] = job.cval if i < 0 else p[i*d.xs]
    return absent


cdef bint pack_turned(const Job* job, const real* x, const Box* box, Py_ssize_t taps, const Py_ssize_t* place_in,
                      const Py_ssize_t* start, const Py_ssize_t* origin, const bint* reads, Py_ssize_t length,
                      Py_ssize_t line_step, real* to) noexcept nogil:
    """`pack_run` where channels are contiguous in x: pixels are rows of channels that become lanes."""
    cdef const Window* d = &job.nest.axis[2]
    cdef Py_ssize_t t, c, j, i, low, high, channels = box.c1 - box.c0
    cdef const real* p
    cdef bint absent = False
    for t in range(taps):
        low, high = 0, 0
        p = x + origin[t] + box.c0
        if reads[t]:
            low = min(clip_low(start[t], d.stride), length)
            high = max(clip_high(start[t], d.stride, d.size, length), low)
            turn(to + place_in[t] + low, line_step, p + (start[t] + low*d.stride)*d.xs, d.stride*d.xs, high - low, channels)
        for j in range(length):
            if low <= j and j < high:
                continue
            i = locate(d, start[t] + j*d.stride) if reads[t] else -1
            absent |= i < 0
            for c in range(channels):
                to[place_in[t] + c*line_step + j] = job.cval if i < 0 else p[i*d.xs + c]
    return absent


cdef void pack_lanes(const Job* job, const real* x, const Box* box, Py_ssize_t kc, Py_ssize_t first, Py_ssize_t count,
                     real* to, char* flags) noexcept nogil:
    """Pixels first .. first + count as panels: (panel, kc, lanes)."""
    cdef Py_ssize_t panel, lane, end, width, length
    cdef Py_ssize_t at[4]
    cdef bint absent
    for panel in range(panels(count)):
        lane = panel_start(count, panel)
        end = min(panel_start(count, panel + 1), count)
        width = panel_start(count, panel + 1) - lane
        absent = False
        while lane < end:
            place(job.nest, first + lane, at)
            length = min(end - lane, job.nest.axis[2].out - at[3])
            absent |= pack_run(job, x + at[0]*job.nest.xn, box, at, length,
                               to + panel_start(count, panel)*kc + lane - panel_start(count, panel), width)
            lane += length
        flags[panel] = absent and job.cval == 0


cdef bint pack_pixel(const Job* job, const real* x, const Box* box, const Py_ssize_t* at, real* to) noexcept nogil:
    """The window of one pixel as a row; whether some taps read nothing."""
    cdef const Nest* nest = job.nest
    cdef const Window* d = &nest.axis[2]
    cdef Py_ssize_t sc
    cdef Py_ssize_t sk[3]
    cdef Py_ssize_t k0, k1, k2, i0, i1, i2, count = box.c1 - box.c0
    cdef real* line
    cdef const real* p
    cdef bint absent = False
    steps(box, job.channel_last, &sc, sk)
    for k0 in range(box.k0[0], box.k1[0]):
        i0 = locate(&nest.axis[0], nest.axis[0].stride*at[1] + nest.axis[0].dilation*k0 - nest.axis[0].offset)
        for k1 in range(box.k0[1], box.k1[1]):
            i1 = locate(&nest.axis[1], nest.axis[1].stride*at[2] + nest.axis[1].dilation*k1 - nest.axis[1].offset)
            line = to + (k0 - box.k0[0])*sk[0] + (k1 - box.k0[1])*sk[1]
            p = x + i0*nest.axis[0].xs + i1*nest.axis[1].xs + box.c0*nest.xc
            for k2 in range(box.k0[2], box.k1[2]):
                i2 = locate(d, d.stride*at[3] + d.dilation*k2 - d.offset)
                if i0 < 0 or i1 < 0 or i2 < 0:
                    absent = True
                    constant(line, job.cval, sc, count)
                elif sc == 1:
                    copy(line, p + i2*d.xs, nest.xc, count)
                else:
                    gather(line, sc, p + i2*d.xs, nest.xc, count)
                line += sk[2]
    return absent


cdef Py_ssize_t runs(const Nest* nest, const Box* box, Py_ssize_t* offset, Py_ssize_t* low, Py_ssize_t* high) noexcept nogil:
    """Where the runs of a window start in x, for windows that lie inside it: outputs low .. high of each axis.

    Returns the length of a run: the channels of the box, or those of all its neighbouring taps where these adjoin in
    memory.
    """
    cdef const Window* d
    cdef Py_ssize_t length = box.c1 - box.c0, k0, k1, k2, number = 0, each = box.k1[2] - box.k0[2]
    cdef int a
    for a in range(3):
        d = &nest.axis[a]
        low[a] = clip_low(d.dilation*box.k0[a] - d.offset, d.stride)
        high[a] = clip_high(d.dilation*(box.k1[a] - 1) - d.offset, d.stride, d.size, d.out)
    if d.dilation*d.xs == length:
        length *= each
        each = 1
    for k0 in range(box.k0[0], box.k1[0]):
        for k1 in range(box.k0[1], box.k1[1]):
            for k2 in range(box.k0[2], box.k0[2] + each):
                offset[number] = (box.c0*nest.xc + (k0*nest.axis[0].dilation - nest.axis[0].offset)*nest.axis[0].xs
                                  + (k1*nest.axis[1].dilation - nest.axis[1].offset)*nest.axis[1].xs
                                  + (k2*d.dilation - d.offset)*d.xs)
                number += 1
    return length


cdef void pack_rows(const Job* job, const real* x, const Box* box, Py_ssize_t kc, Py_ssize_t first, Py_ssize_t count,
                    real* to, char* flags) noexcept nogil:
    """Pixels first .. first + count as rows (pixel, kc); flags: one per MR rows."""
    cdef const Nest* nest = job.nest
    cdef Py_ssize_t j, r, length = 0
    cdef Py_ssize_t offset[KC]
    cdef Py_ssize_t at[4]
    cdef Py_ssize_t low[3]
    cdef Py_ssize_t high[3]
    cdef const real* p
    if job.channel_last and nest.xc == 1:
        length = runs(nest, box, offset, low, high)
    for j in range((count + MR - 1) // MR):
        flags[j] = False
    place(nest, first, at)
    for j in range(count):
        if length and (low[0] <= at[1] < high[0] and low[1] <= at[2] < high[1] and low[2] <= at[3] < high[2]):
            p = x + (at[0]*nest.xn + at[1]*nest.axis[0].stride*nest.axis[0].xs + at[2]*nest.axis[1].stride*nest.axis[1].xs
                     + at[3]*nest.axis[2].stride*nest.axis[2].xs)
            for r in range(kc // length):
                v_copy(to + r*length, p + offset[r], length)
        elif pack_pixel(job, x + at[0]*nest.xn, box, at, to) and job.cval == 0:
            flags[j // MR] = True
        to += kc
        advance(nest, at)


cdef inline void gather(real* to, Py_ssize_t to_step, const real* p, Py_ssize_t step, Py_ssize_t count) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(count):
        to[j*to_step] = p[j*step]


cdef void pack_weights(const Job* job, const real* w, const Box* box, Py_ssize_t low, Py_ssize_t high, Py_ssize_t width,
                       bint lanes, Py_ssize_t kc, real* to) noexcept nogil:
    """Output channels low .. high of a box as lanes (kc, width) or as rows (width, kc); the rest is zero."""
    cdef const Nest* nest = job.nest
    cdef Py_ssize_t sc
    cdef Py_ssize_t sk[3]
    cdef Py_ssize_t k0, k1, k2, c, m, at, mk = 1 if lanes else kc, kk = width if lanes else 1
    cdef real* line
    cdef const real* p
    steps(box, job.channel_last, &sc, sk)
    for k0 in range(box.k0[0], box.k1[0]):
        for k1 in range(box.k0[1], box.k1[1]):
            for k2 in range(box.k0[2], box.k1[2]):
                at = (k0 - box.k0[0])*sk[0] + (k1 - box.k0[1])*sk[1] + (k2 - box.k0[2])*sk[2]
                if lanes and nest.wc == 1 and nest.wm > 2:
                    p = w + k0*nest.axis[0].ws + k1*nest.axis[1].ws + k2*nest.axis[2].ws + box.c0 + low*nest.wm
                    turn(to + at*kk, sc*kk, p, nest.wm, high - low, box.c1 - box.c0)
                    for c in range(box.c1 - box.c0):
                        constant(to + (at + c*sc)*kk + (high - low), 0, 1, width - (high - low))
                    continue
                for c in range(box.c0, box.c1):
                    line = to + (at + (c - box.c0)*sc)*kk
                    p = w + k0*nest.axis[0].ws + k1*nest.axis[1].ws + k2*nest.axis[2].ws + c*nest.wc + low*nest.wm
                    if lanes and nest.wm == 1:
                        v_copy(line, p, high - low)
                    else:
                        gather(line, mk, p, nest.wm, high - low)
                    constant(line + (high - low)*mk, 0, mk, width - (high - low))


# ---- the register tile

cdef inline void product(Py_ssize_t kc, const real** rows, const real* b, Target* to, const int nv) noexcept nogil:
    """MR rows of `to` (nv vectors each) = or += rows (MR x kc) times b (kc x nv vectors).

    What is added to is added last, in every kind of tile: the bits of an output must not depend on the tile that it
    falls in. The outermost loop runs once: GCC unrolls early enough to keep acc in registers only inside a loop
    (4 % of a 27-product tile).
    """
    cdef vreal acc[MR][NV]
    cdef vreal bv[NV]
    cdef const real* a[MR]
    cdef Py_ssize_t k
    cdef int once
    cdef int i, j
    for once in range(to.times):
        for i in range(MR):
            a[i] = rows[i]
            for j in range(nv):
                v_prefetch(to.row[i] + j*V)  # rows of y lie far apart: their lines arrive during the sum
                acc[i][j] = v_set(0)
        for k in range(kc):
            for j in range(nv):
                bv[j] = v_load(b + j*V)
            for i in range(MR):
                for j in range(nv):
                    acc[i][j] += bv[j] * a[i][k]
            b += nv*V
        if to.check:
            for j in range(nv):
                bv[j] = v_set(0)
                for i in range(MR):
                    bv[j] += acc[i][j] * 0
            for j in range(1, nv):
                bv[0] += bv[j]
            to.bad = v_spoiled(bv[0])
            if to.bad:
                return
        if to.add:
            for i in range(MR):
                for j in range(nv):
                    v_store(to.row[i] + j*V, acc[i][j] + v_load(to.row[i] + j*V))
        elif to.column_bias != NULL:
            for i in range(MR):
                for j in range(nv):
                    v_store(to.row[i] + j*V, acc[i][j] + v_load(to.column_bias + j*V))
        else:
            for i in range(MR):
                for j in range(nv):
                    v_store(to.row[i] + j*V, acc[i][j] + v_set(to.bias[i]))


cdef void tile_product(Py_ssize_t kc, const real** rows, const real* b, Target* to, Py_ssize_t width) noexcept nogil:
    if width == 3*V:
        product(kc, rows, b, to, 3)
    elif width == 2*V:
        product(kc, rows, b, to, 2)
    else:
        product(kc, rows, b, to, 1)


cdef void put(const real* tile, Py_ssize_t width, Py_ssize_t rows, Py_ssize_t columns, real* y, const Py_ssize_t* row_at,
              const Py_ssize_t* column_at, bint contiguous, const Target* to) noexcept nogil:
    """What `product` does at its end, for tiles that are not whole or not contiguous in y."""
    cdef Py_ssize_t i, j
    cdef real* line
    cdef real init
    cdef bint near = to.column_bias == NULL and (rows == 1 or row_at[1] == row_at[0] + 1)
    for i in range(rows):
        line = y + row_at[i] + (column_at[0] if contiguous else 0)
        init = to.bias[i]
        if to.add and contiguous:
            for j in range(columns):
                line[j] = tile[j] + line[j]
        elif to.column_bias == NULL and contiguous:
            for j in range(columns):
                line[j] = tile[j] + init
        elif contiguous:
            for j in range(columns):
                line[j] = tile[j] + to.column_bias[j]
        elif not near:
            for j in range(columns):
                if to.add:
                    init = line[column_at[j]]
                elif to.column_bias != NULL:
                    init = to.column_bias[j]
                line[column_at[j]] = tile[j] + init
        tile += width
    if near and not contiguous:
        # Rows are neighbours in y (channels-last): column by column, each a short contiguous run.
        tile -= rows*width
        for j in range(columns):
            line = y + row_at[0] + column_at[j]
            for i in range(rows):
                line[i] = tile[i*width + j] + (line[i] if to.add else to.bias[i])


cdef inline void finish(const Job* job, const Part* part, const real* x, const real* w, real* y, const real** rows,
                        const real* b, Target* to, Py_ssize_t width, Py_ssize_t count, Py_ssize_t columns,
                        const Py_ssize_t* row_at, const Py_ssize_t* column_at, bint contiguous, bint flag,
                        Py_ssize_t pixel, Py_ssize_t m) noexcept nogil:
    """One tile, straight into y where it is whole and contiguous there, else by a copy that `mend` may correct."""
    cdef real tile[MR*NV*V]
    cdef Target aside
    cdef int i
    to.check, to.bad, to.times = flag, False, 1
    if contiguous and count == MR and columns == width:
        for i in range(MR):
            to.row[i] = y + row_at[i] + column_at[0]
        tile_product(part.kc, rows, b, to, width)
        if not to.bad:
            return
    for i in range(MR):
        aside.row[i] = tile + i*width
        aside.bias[i] = 0
    aside.add, aside.column_bias, aside.check, aside.times = False, NULL, False, 1
    tile_product(part.kc, rows, b, &aside, width)
    if flag:
        mend(job, part, x, w, tile, width, count, columns, pixel, m)
    put(tile, width, count, columns, y, row_at, column_at, contiguous, to)


cdef void mend(const Job* job, const Part* part, const real* x, const real* w, real* tile, Py_ssize_t width,
               Py_ssize_t rows, Py_ssize_t columns, Py_ssize_t pixel, Py_ssize_t m) noexcept nogil:
    """If the tile has sums that are not finite, do it again by the definition."""
    cdef Py_ssize_t i, j
    cdef Py_ssize_t at[4]
    cdef bint bad = False
    for i in range(rows):
        for j in range(columns):
            bad = bad or spoiled(tile[i*width + j])
    if not bad:
        return
    for i in range(rows):
        for j in range(columns):
            place(job.nest, part.p0 + pixel + (i if job.flat else j), at)
            tile[i*width + j] = exact(job.nest, &part.box, x + at[0]*job.nest.xn,
                                      w + (job.m0 + m + (j if job.flat else i))*job.nest.wm, at[1], at[2], at[3], 0, job.cval)


cdef void sweep_flat(const Job* job, const Part* part, const real* x, const real* w, real* y, const real* bias,
                     const real* packed) noexcept nogil:
    """Channels-last: a panel of weights meets all rows of the block."""
    cdef Py_ssize_t channels = job.m1 - job.m0, last = part.count - 1, t, m, width, columns, pixel, inner, rows
    cdef Py_ssize_t row_at[MR]
    cdef Py_ssize_t column_at[NV*V]
    cdef const real* row[MR]
    cdef Target to
    cdef int i
    to.add = not part.first
    for i in range(MR):
        to.bias[i] = 0
    for t in range(part.u0, part.u1):
        m = panel_start(channels, t)
        width = panel_start(channels, t + 1) - m
        columns = min(width, channels - m)
        to.column_bias = offset(bias, m)
        for i in range(NV*V):
            column_at[i] = (job.m0 + m + i)*job.nest.ym
        for inner in range((part.count + MR - 1) // MR):
            pixel = inner*MR
            rows = min(<Py_ssize_t>MR, part.count - pixel)
            for i in range(MR):
                row[i] = part.block + min(pixel + i, last)*part.kc
                row_at[i] = part.pixel_at[min(pixel + i, last)]
            finish(job, part, x, w, y, row, packed + m*job.depth + part.before*width, &to, width, rows, columns, row_at,
                   column_at, job.nest.ym == 1, part.flags[inner], pixel, m)


cdef void sweep_rows(const Job* job, const Part* part, const real* x, const real* w, real* y, const real* bias,
                     const real* packed) noexcept nogil:
    """MR rows of weights meet all panels of the block: the smaller piece of the weights stays in L1."""
    cdef Py_ssize_t channels = job.m1 - job.m0, t, m, width, columns, pixel, inner, rows
    cdef Py_ssize_t row_at[MR]
    cdef const real* row[MR]
    cdef Target to
    cdef int i
    to.add, to.column_bias = not part.first, NULL
    for t in range(part.u0, part.u1):
        m = t*MR
        rows = min(<Py_ssize_t>MR, channels - m)
        for i in range(MR):
            row[i] = weight_row(job, w, packed, min(m + i, channels - 1), part.before, part.kc)
            row_at[i] = (job.m0 + min(m + i, channels - 1))*job.nest.ym
            to.bias[i] = 0 if bias == NULL else bias[min(m + i, channels - 1)]
        for inner in range(panels(part.count)):
            pixel = panel_start(part.count, inner)
            width = panel_start(part.count, inner + 1) - pixel
            columns = min(width, part.count - pixel)
            finish(job, part, x, w, y, row, part.block + pixel*part.kc, &to, width, rows, columns, row_at,
                   part.pixel_at + pixel, part.joined[inner], part.flags[inner], pixel, m)


cdef inline const real* weight_row(const Job* job, const real* w, const real* packed, Py_ssize_t m, Py_ssize_t before,
                                   Py_ssize_t kc) noexcept nogil:
    """Row m of the slice's weights of a box: in place, or among the packed rows (panel of MR, box, row)."""
    if packed == NULL:
        return w + (job.m0 + m)*job.nest.wm + before
    return packed + m // MR*MR*job.depth + before*MR + m % MR*kc


cdef void block_task(const Job* job, const Cut* cuts, Py_ssize_t g, Py_ssize_t p0, Py_ssize_t count, Py_ssize_t u0, Py_ssize_t u1,
                     real* scratch, Py_ssize_t* pixel_at, char* flags) noexcept nogil:
    """One group, one block of pixels, units u0 .. u1 of output channels: pack x box by box, multiply, store."""
    cdef const Nest* nest = job.nest
    cdef const real* x = job.x + g*nest.xg
    cdef const real* w = job.w + g*nest.wg
    cdef real* y = job.y + g*nest.yg
    cdef const real* bias = offset(job.bias, g*nest.m + job.m0)
    cdef const real* packed = offset(job.packed, g*packed_lines(job)*job.depth)
    cdef Py_ssize_t number, j, panel
    cdef Py_ssize_t at[4]
    cdef char* joined = flags + count
    cdef Part part
    place(nest, p0, at)
    for j in range(count):
        pixel_at[j] = at[0]*nest.yn + at[1]*nest.axis[0].ys + at[2]*nest.axis[1].ys + at[3]*nest.axis[2].ys
        advance(nest, at)
    if not job.flat:
        for panel in range(panels(count)):
            joined[panel] = True
            for j in range(panel_start(count, panel) + 1, min(panel_start(count, panel + 1), count)):
                joined[panel] = joined[panel] and pixel_at[j] == pixel_at[j - 1] + 1
    part.block, part.flags, part.joined, part.pixel_at = scratch, flags, joined, pixel_at
    part.p0, part.count, part.u0, part.u1, part.before = p0, count, u0, u1, 0
    for number in range(cuts.boxes):
        part.kc = box_at(cuts, job.channel_last, number, &part.box)
        part.first = job.first and number == 0
        if job.flat:
            pack_rows(job, x, &part.box, part.kc, p0, count, scratch, flags)
            sweep_flat(job, &part, x, w, y, bias, packed)
        else:
            pack_lanes(job, x, &part.box, part.kc, p0, count, scratch, flags)
            sweep_rows(job, &part, x, w, y, bias, packed)
        part.before += part.kc


cdef inline Py_ssize_t channel_units(const Job* job) noexcept nogil:
    """Panels (flat) or MR-rows of a slice of output channels."""
    cdef Py_ssize_t count = job.m1 - job.m0
    return panels(count) if job.flat else (count + MR - 1) // MR


cdef inline Py_ssize_t packed_lines(const Job* job) noexcept nogil:
    """Packed rows or lanes of a group's slice of output channels, padding included."""
    cdef Py_ssize_t count = job.m1 - job.m0
    if job.flat:
        return (count + V - 1) // V * V
    return (count + MR - 1) // MR * MR


cdef void pack_group(const Job* job, const Cut* cuts, Py_ssize_t g, Py_ssize_t panel, real* to) noexcept nogil:
    """One panel (flat: lanes; else MR rows) of a group's weights, all boxes."""
    cdef Py_ssize_t count = job.m1 - job.m0, low, end, width, number, kc, before = 0
    cdef Box box
    if job.flat:
        low, end = panel_start(count, panel), panel_start(count, panel + 1)
    else:
        low, end = panel*MR, (panel + 1)*MR
    width = end - low
    to += (g*packed_lines(job) + low)*job.depth
    for number in range(cuts.boxes):
        kc = box_at(cuts, job.channel_last, number, &box)
        pack_weights(job, job.w + g*job.nest.wg, &box, job.m0 + low, job.m0 + min(end, count), width, job.flat, kc,
                     to + before*width)
        before += kc


cdef void pack_all(Job* job, const Cut* cuts, real* to, int threads) noexcept nogil:
    cdef Py_ssize_t each = channel_units(job), t
    for t in prange(job.nest.g*each, num_threads=threads, schedule='static'):
        pack_group(job, cuts, t // each, t % each, to)


cdef int multiply(Job* job, const Cut* cuts, int threads) noexcept nogil:
    """All tasks of a slice of output channels; 1 if there was no memory."""
    cdef Py_ssize_t unit = MR if job.flat else V
    cdef Py_ssize_t units = (job.pixels + unit - 1) // unit, blocks = (job.pixels + BLOCK - 1) // BLOCK, splits = 1
    cdef Py_ssize_t channels = channel_units(job), t, g, b, s, p0, p1, grain, kc = 1, size, most
    cdef int j
    cdef char* mine
    if job.nest.g*blocks < threads:
        splits = min(<Py_ssize_t>threads, channels)  # few pixels: split the output channels too
    elif blocks < 8*threads:
        blocks = min(units, (blocks + threads - 1) // threads*threads)
    grain = (units + blocks - 1) // blocks*unit
    for j in range(4):
        kc *= cuts.size[j]
    most = ((grain + MR)*kc + V + 15) // 16*16
    size = (most*sizeof(real) + grain*(sizeof(Py_ssize_t) + 2) + 127) // 64*64
    cdef char* memory = <char*>malloc(size*threads)
    if memory == NULL:
        return 1
    for t in prange(job.nest.g*blocks*splits, num_threads=threads, schedule='dynamic'):
        s = t % splits
        b = t // splits % blocks
        g = t // splits // blocks
        p0 = b*units // blocks*unit
        p1 = min((b + 1)*units // blocks*unit, job.pixels)
        mine = memory + threadid()*size
        block_task(job, cuts, g, p0, p1 - p0, s*channels // splits, (s + 1)*channels // splits, <real*>mine,
                   <Py_ssize_t*>(mine + most*sizeof(real)), mine + most*sizeof(real) + grain*sizeof(Py_ssize_t))
    free(memory)
    return 0


# ---- entries

cdef Py_ssize_t depth_of(const Nest* nest) noexcept nogil:
    return nest.c*nest.axis[0].taps*nest.axis[1].taps*nest.axis[2].taps


def packed_size(nest_bytes, bint flat):
    """Elements that `pack` writes."""
    cdef Job job
    job.nest = <const Nest*>PyBytes_AS_STRING(nest_bytes)
    job.flat, job.m0, job.m1 = flat, 0, job.nest.m
    return job.nest.g*packed_lines(&job)*depth_of(job.nest)


def pack(w_array, to_array, nest_bytes, bint flat, bint channel_last, int threads):
    """All weights of a nest as `run` wants them."""
    cdef Job job
    cdef Cut cuts
    cdef real* to = address(to_array)
    job.nest = <const Nest*>PyBytes_AS_STRING(nest_bytes)
    job.w = address(w_array) + job.nest.w0
    job.flat, job.channel_last, job.depth = flat, channel_last, depth_of(job.nest)
    job.m0, job.m1 = 0, job.nest.m
    with nogil:
        cut(job.nest, channel_last, &cuts)
        pack_all(&job, &cuts, to, threads)


def run(x_array, w_array, y_array, bias_array, nest_bytes, bint first, cval_array, bint flat, bint channel_last,
        bint in_place, packed_array, int threads):
    """y of one nest. in_place: rows of w are contiguous in the order of the inner sum."""
    cdef Job job
    cdef Cut cuts
    cdef Py_ssize_t step
    cdef real* packed = NULL
    cdef int failed = 0
    job.nest = <const Nest*>PyBytes_AS_STRING(nest_bytes)
    job.x = address(x_array) + job.nest.x0
    job.w = address(w_array) + job.nest.w0
    job.y = address(y_array) + job.nest.y0
    job.bias = NULL
    if bias_array is not None:
        job.bias = address(bias_array)
    job.packed = NULL
    if packed_array is not None:
        job.packed = address(packed_array)
    job.cval = address(cval_array)[0]
    job.flat, job.channel_last, job.first, job.depth = flat, channel_last, first, depth_of(job.nest)
    job.pixels = job.nest.n*job.nest.axis[0].out*job.nest.axis[1].out*job.nest.axis[2].out
    job.m0, job.m1 = 0, job.nest.m
    cut(job.nest, channel_last, &cuts)
    if in_place or packed_array is not None:
        with nogil:
            failed = multiply(&job, &cuts, threads)
    else:
        step = min(job.nest.m, max(<Py_ssize_t>1, LIMIT // (job.depth*job.nest.g*<Py_ssize_t>sizeof(real)*NV*V))*NV*V)
        job.m1 = step
        packed = <real*>malloc(job.nest.g*packed_lines(&job)*job.depth*sizeof(real))
        if packed == NULL:
            raise MemoryError("packed weights of the gemm kernel")
        with nogil:
            while job.m0 < job.nest.m and not failed:
                job.m1 = min(job.nest.m, job.m0 + step)
                job.packed = NULL
                pack_all(&job, &cuts, packed, threads)
                job.packed = packed
                failed = multiply(&job, &cuts, threads)
                job.m0 = job.m1
        free(packed)
    if failed:
        raise MemoryError("scratch of the gemm kernel")
