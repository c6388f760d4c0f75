"""How gemm cuts the inner sum into boxes and packs x and w for them.

Packing absorbs stride, dilation, boundary and layout: what reaches the register tile is `kc` products of rows (pixel or
channel, kc) with panels (kc, lanes). Taps that read nothing are packed as zeros (or cval) and reported, since a zero
that meets an infinite weight is not what zero padding means.
"""

from _real cimport real, V, MR, v_prefetch_read, v_transpose, v_copy, v_copy_even
from _nest cimport Nest, Window, Box, locate, clip_low, clip_high

cdef enum:
    NV = 3    # vectors of a panel
    KC = 640  # products of a box: MR rows of them and a panel line stay in L1 (flat between 400 and 800)


ctypedef struct Job:
    const Nest* nest
    const real* x
    const real* w
    real* y
    const real* bias
    const real* packed     # weights as pack() leaves them, or NULL: read in place
    real cval
    bint flat, first, channel_last
    bint strips            # pixels in vectors, read from strips of rows that all taps share
    Py_ssize_t pixels, m0, m1   # of this slice of output channels
    Py_ssize_t depth


ctypedef struct Cut:
    # How the inner sum is cut: extents of (k2, k1, k0, c) or (c, k2, k1, k0), innermost first, and box sizes.
    Py_ssize_t extent[4]
    Py_ssize_t size[4]
    Py_ssize_t boxes


cdef inline void cut(const Nest* nest, bint channel_last, Cut* to) noexcept nogil:
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


cdef inline Py_ssize_t box_at(const Cut* cuts, bint channel_last, Py_ssize_t number, Box* box) noexcept nogil:
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


cdef inline void steps(const Box* box, bint channel_last, Py_ssize_t* sc, Py_ssize_t* sk) noexcept nogil:
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


cdef inline void turn(real* to, Py_ssize_t to_step, const real* p, Py_ssize_t step, Py_ssize_t rows,
                      Py_ssize_t columns) noexcept nogil:
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


cdef inline Py_ssize_t source_of(const Nest* nest, const Py_ssize_t* at) noexcept nogil:
    """Where position 0 of a pixel's windows would lie in x, were there no offsets."""
    cdef Py_ssize_t place = at[0]*nest.xn
    cdef int a
    for a in range(3):
        place += at[a + 1]*nest.axis[a].stride*nest.axis[a].xs
    return place


cdef inline void interior(const Nest* nest, const Box* box, Py_ssize_t* low, Py_ssize_t* high) noexcept nogil:
    """The outputs low .. high of each axis whose taps of the box all lie inside x."""
    cdef const Window* d
    cdef int a
    for a in range(3):
        d = &nest.axis[a]
        low[a] = clip_low(d.dilation*box.k0[a] - d.offset, d.stride)
        high[a] = clip_high(d.dilation*(box.k1[a] - 1) - d.offset, d.stride, d.size, d.out)


cdef inline bint within(const Py_ssize_t* at, const Py_ssize_t* low, const Py_ssize_t* high) noexcept nogil:
    return low[0] <= at[1] < high[0] and low[1] <= at[2] < high[1] and low[2] <= at[3] < high[2]


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


ctypedef struct Taps:
    # The taps of a box for the pixels of one row: where each goes in a panel, and what it reads.
    Py_ssize_t count, o0, o1     # of the row that they are for
    Py_ssize_t place_in[KC]      # in packed products
    Py_ssize_t start[KC]         # position along the row of the row's first pixel
    Py_ssize_t origin[KC]        # of the row in x
    bint reads[KC]               # whether there is such a row


cdef inline void find_taps(const Nest* nest, const Box* box, bint channel_last, Py_ssize_t o0, Py_ssize_t o1,
                           Taps* taps) noexcept nogil:
    cdef const Window* a = &nest.axis[0]
    cdef const Window* b = &nest.axis[1]
    cdef const Window* d = &nest.axis[2]
    cdef Py_ssize_t sc, k0, k1, k2, i0, i1, t = 0
    cdef Py_ssize_t sk[3]
    steps(box, channel_last, &sc, sk)
    for k0 in range(box.k0[0], box.k1[0]):
        i0 = locate(a, a.stride*o0 + a.dilation*k0 - a.offset)
        for k1 in range(box.k0[1], box.k1[1]):
            i1 = locate(b, b.stride*o1 + b.dilation*k1 - b.offset)
            for k2 in range(box.k0[2], box.k1[2]):
                taps.place_in[t] = (k0 - box.k0[0])*sk[0] + (k1 - box.k0[1])*sk[1] + (k2 - box.k0[2])*sk[2]
                taps.start[t] = d.dilation*k2 - d.offset
                taps.reads[t] = i0 >= 0 and i1 >= 0
                taps.origin[t] = i0*a.xs + i1*b.xs
                t += 1
    taps.count, taps.o0, taps.o1 = t, o0, o1


cdef inline bint pack_run(const Job* job, const real* x, const Box* box, const Taps* taps, Py_ssize_t o2,
                          Py_ssize_t length, Py_ssize_t sc, real* to, Py_ssize_t width) noexcept nogil:
    """`length` neighbouring pixels of a row, from o2, as lanes of a panel; whether some taps read nothing.

    Channels are walked outside: the rows of one channel stay in L1 for all its taps, where channels lie a power of two
    apart and would push each other out. sc: the step of a channel in packed products.
    """
    cdef const Nest* nest = job.nest
    cdef const Window* d = &nest.axis[2]
    cdef Py_ssize_t t, c, j, start, step = d.stride*d.xs, each = box.k1[2] - box.k0[2]
    cdef real* line
    cdef const real* p
    cdef bint absent = False, ahead = step <= 2 and box.c1 - box.c0 > 2
    if nest.xc == 1 and step > 2:
        return pack_turned(job, x, box, taps, o2, length, sc, to, width)
    for c in range(box.c0, box.c1):
        p = x + c*nest.xc
        line = to + (c - box.c0)*sc*width
        for t in range(taps.count):
            start = d.stride*o2 + taps.start[t]
            if ahead and t % each == 0:  # the channel after next: channels lie far apart
                for j in range(0, length*step, 16):
                    v_prefetch_read(p + taps.origin[t] + start*d.xs + 2*nest.xc + j)
            if taps.reads[t] and start >= 0 and start + (length - 1)*d.stride < d.size:
                copy(line + taps.place_in[t]*width, p + taps.origin[t] + start*d.xs, step, length)
            else:
                absent |= pack_rim(job, p + taps.origin[t], start, d.stride, taps.reads[t], length,
                                   line + taps.place_in[t]*width)
    return absent


cdef inline bint pack_rim(const Job* job, const real* p, Py_ssize_t start, Py_ssize_t step, bint reads,
                          Py_ssize_t length, real* to) noexcept nogil:
    """Positions start, start + step, ... of one row of one channel, which may leave the array (one tap of a row of
    pixels, or a row of taps of one pixel); whether some of them read nothing."""
    cdef const Window* d = &job.nest.axis[2]
    cdef Py_ssize_t low, high
    if not reads:
        constant(to, job.cval, 1, length)
        return True
    low = min(clip_low(start, step), length)
    high = max(clip_high(start, step, d.size, length), low)
    copy(to + low, p + (start + low*step)*d.xs, step*d.xs, high - low)
    return fill_ends(job, p, start, step, low, high, length, to)


cdef inline bint fill_ends(const Job* job, const real* p, Py_ssize_t start, Py_ssize_t step, Py_ssize_t low,
                           Py_ssize_t high, Py_ssize_t length, real* to) noexcept nogil:
    """Of `length` positions those before `low` and from `high`, which lie outside the row; whether some read nothing."""
    cdef const Window* d = &job.nest.axis[2]
    cdef Py_ssize_t i, j = 0
    cdef bint absent = False
    while j < length:
        if j == low:
            j = high
            if j == length:
                break
        i = locate(d, start + j*step)
        absent |= i < 0
        to[j] = job.cval if i < 0 else p[i*d.xs]
        j += 1
    return absent


cdef inline bint pack_turned(const Job* job, const real* x, const Box* box, const Taps* taps, Py_ssize_t o2,
                             Py_ssize_t length, Py_ssize_t sc, real* to, Py_ssize_t width) noexcept nogil:
    """`pack_run` where channels are contiguous in x: pixels are rows of channels that become lanes."""
    cdef const Window* d = &job.nest.axis[2]
    cdef Py_ssize_t t, c, j, i, low, high, start, channels = box.c1 - box.c0
    cdef const real* p
    cdef real* here
    cdef bint absent = False
    for t in range(taps.count):
        low, high = 0, 0
        start = d.stride*o2 + taps.start[t]
        p = x + taps.origin[t] + box.c0
        here = to + taps.place_in[t]*width
        if taps.reads[t]:
            low = min(clip_low(start, d.stride), length)
            high = max(clip_high(start, d.stride, d.size, length), low)
            turn(here + low, sc*width, p + (start + low*d.stride)*d.xs, d.stride*d.xs, high - low, channels)
        for j in range(length):
            if low <= j and j < high:
                continue
            i = locate(d, start + j*d.stride) if taps.reads[t] else -1
            absent |= i < 0
            for c in range(channels):
                here[c*sc*width + j] = job.cval if i < 0 else p[i*d.xs + c]
    return absent


cdef inline void pack_lanes(const Job* job, const real* x, const Box* box, Py_ssize_t kc, Py_ssize_t first,
                            Py_ssize_t count, real* to, char* flags, char* inside, bint in_place) noexcept nogil:
    """Pixels first .. first + count as panels (panel, kc, lanes), but for whole ones that lie `inside` a row of x."""
    cdef Py_ssize_t panel, lane, start, end, width, length, sc
    cdef Py_ssize_t low[3]
    cdef Py_ssize_t high[3]
    cdef Py_ssize_t at[4]
    cdef Py_ssize_t sk[3]
    cdef Taps taps
    cdef bint absent
    steps(box, job.channel_last, &sc, sk)
    taps.count, taps.o0, taps.o1 = 0, -1, -1
    interior(job.nest, box, low, high)
    for panel in range(panels(count)):
        start = panel_start(count, panel)
        lane, end = start, min(panel_start(count, panel + 1), count)
        width = panel_start(count, panel + 1) - start
        absent = False
        inside[panel] = False
        if in_place and end - start == width:
            place(job.nest, first + start, at)
            if within(at, low, high) and at[3] + width <= high[2]:
                inside[panel], flags[panel] = True, False
                continue
        while lane < end:
            place(job.nest, first + lane, at)
            length = min(end - lane, job.nest.axis[2].out - at[3])
            if at[1] != taps.o0 or at[2] != taps.o1:
                find_taps(job.nest, box, job.channel_last, at[1], at[2], &taps)
            absent |= pack_run(job, x + at[0]*job.nest.xn, box, &taps, at[3], length, sc, to + start*kc + lane - start,
                               width)
            lane += length
        flags[panel] = absent and job.cval == 0
        if end - start < width:  # what memory held may be denormal, and then each product of it takes 100 cycles
            for lane in range(kc):
                constant(to + start*kc + lane*width + end - start, 0, 1, width - (end - start))


cdef inline bint pack_pixel(const Job* job, const real* x, const Box* box, const Py_ssize_t* at,
                            real* to) noexcept nogil:
    """The window of one pixel as a row; whether some taps read nothing."""
    cdef const Nest* nest = job.nest
    cdef const Window* d = &nest.axis[2]
    cdef Py_ssize_t sc
    cdef Py_ssize_t sk[3]
    cdef Py_ssize_t k0, k1, k2, i0, i1, i2, c, count = box.c1 - box.c0
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
            if not job.channel_last:
                for c in range(count):
                    absent |= pack_rim(job, p + c*nest.xc, d.stride*at[3] + d.dilation*box.k0[2] - d.offset, d.dilation,
                                       i0 >= 0 and i1 >= 0, box.k1[2] - box.k0[2], line + c*sc)
                continue
            for k2 in range(box.k0[2], box.k1[2]):
                i2 = locate(d, d.stride*at[3] + d.dilation*k2 - d.offset)
                if i0 < 0 or i1 < 0 or i2 < 0:
                    absent = True
                    constant(line, job.cval, 1, count)
                else:
                    copy(line, p + i2*d.xs, nest.xc, count)
                line += sk[2]
    return absent


cdef inline Py_ssize_t runs(const Nest* nest, const Box* box, Py_ssize_t* offset) noexcept nogil:
    """Where the runs of a window start in x, for windows that lie inside it.

    Returns the length of a run: the channels of the box, or those of all its neighbouring taps where these adjoin in
    memory.
    """
    cdef const Window* d = &nest.axis[2]
    cdef Py_ssize_t length = box.c1 - box.c0, k0, k1, k2, number = 0, each = box.k1[2] - box.k0[2]
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


cdef inline void pack_rows(const Job* job, const real* x, const Box* box, Py_ssize_t kc, Py_ssize_t first,
                           Py_ssize_t count, real* to, char* flags, char* inside, bint in_place) noexcept nogil:
    """Pixels first .. first + count as rows (pixel, kc), but for tiles whose windows lie `inside` x; a flag a tile."""
    cdef const Nest* nest = job.nest
    cdef Py_ssize_t tile, j, r, length = 0
    cdef Py_ssize_t offset[KC]
    cdef Py_ssize_t at[4]
    cdef Py_ssize_t start[4]
    cdef Py_ssize_t low[3]
    cdef Py_ssize_t high[3]
    cdef const real* p
    interior(nest, box, low, high)
    if job.channel_last and nest.xc == 1:
        length = runs(nest, box, offset)
    place(nest, first, at)
    for tile in range((count + MR - 1) // MR):
        flags[tile], inside[tile] = False, in_place
        for r in range(4):
            start[r] = at[r]
        for j in range(tile*MR, min(tile*MR + MR, count)):
            inside[tile] = inside[tile] and within(at, low, high)
            advance(nest, at)
        if inside[tile]:
            continue
        for r in range(4):
            at[r] = start[r]
        for j in range(tile*MR, min(tile*MR + MR, count)):
            if length and within(at, low, high):
                p = x + source_of(nest, at)
                for r in range(kc // length):
                    v_copy(to + j*kc + r*length, p + offset[r], length)
            elif pack_pixel(job, x + at[0]*nest.xn, box, at, to + j*kc) and job.cval == 0:
                flags[tile] = True
            advance(nest, at)


cdef inline void gather(real* to, Py_ssize_t to_step, const real* p, Py_ssize_t step, Py_ssize_t count) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(count):
        to[j*to_step] = p[j*step]


cdef inline void pack_weights(const Job* job, const real* w, const Box* box, Py_ssize_t low, Py_ssize_t high,
                              Py_ssize_t width, bint lanes, Py_ssize_t kc, real* to) noexcept nogil:
    """Output channels low .. high of a box as lanes (kc, width) or as rows (width, kc); the rest is zero."""
    cdef const Nest* nest = job.nest
    cdef Py_ssize_t sc
    cdef Py_ssize_t sk[3]
    cdef Py_ssize_t k0, k1, k2, c, at
    cdef real* line
    cdef const real* p
    steps(box, job.channel_last, &sc, sk)
    if lanes and nest.axis[2].ws == 1 and not job.channel_last and nest.wm > 2:
        for k0 in range(box.k0[0], box.k1[0]):
            for k1 in range(box.k0[1], box.k1[1]):
                for c in range(box.c0, box.c1):
                    line = to + ((k0 - box.k0[0])*sk[0] + (k1 - box.k0[1])*sk[1] + (c - box.c0)*sc)*width
                    p = w + k0*nest.axis[0].ws + k1*nest.axis[1].ws + box.k0[2] + c*nest.wc + low*nest.wm
                    turn(line, width, p, nest.wm, high - low, box.k1[2] - box.k0[2])
                    for k2 in range(box.k1[2] - box.k0[2]):
                        constant(line + k2*width + (high - low), 0, 1, width - (high - low))
        return
    if not lanes:  # taps inside, since they mostly share a line of w, and lines lie far apart
        for c in range(box.c0, box.c1):
            for k0 in range(box.k0[0], box.k1[0]):
                for k1 in range(box.k0[1], box.k1[1]):
                    for k2 in range(box.k0[2], box.k1[2]):
                        line = (to + (k0 - box.k0[0])*sk[0] + (k1 - box.k0[1])*sk[1] + (k2 - box.k0[2])*sk[2]
                                + (c - box.c0)*sc)
                        p = w + k0*nest.axis[0].ws + k1*nest.axis[1].ws + k2*nest.axis[2].ws + c*nest.wc + low*nest.wm
                        gather(line, kc, p, nest.wm, high - low)
                        constant(line + (high - low)*kc, 0, kc, width - (high - low))
        return
    for k0 in range(box.k0[0], box.k1[0]):
        for k1 in range(box.k0[1], box.k1[1]):
            for k2 in range(box.k0[2], box.k1[2]):
                at = (k0 - box.k0[0])*sk[0] + (k1 - box.k0[1])*sk[1] + (k2 - box.k0[2])*sk[2]
                if nest.wc == 1 and nest.wm > 2:
                    p = w + k0*nest.axis[0].ws + k1*nest.axis[1].ws + k2*nest.axis[2].ws + box.c0 + low*nest.wm
                    turn(to + at*width, sc*width, p, nest.wm, high - low, box.c1 - box.c0)
                    for c in range(box.c1 - box.c0):
                        constant(to + (at + c*sc)*width + (high - low), 0, 1, width - (high - low))
                    continue
                for c in range(box.c0, box.c1):
                    line = to + (at + (c - box.c0)*sc)*width
                    p = w + k0*nest.axis[0].ws + k1*nest.axis[1].ws + k2*nest.axis[2].ws + c*nest.wc + low*nest.wm
                    if nest.wm == 1:
                        v_copy(line, p, high - low)
                    else:
                        gather(line, 1, p, nest.wm, high - low)
                    constant(line + (high - low), 0, 1, width - (high - low))
