"""Dense layers as a matrix product over packed tiles: no im2col array, only a tile's worth of it per thread.

The sum:       y[n, m, o] = init + sum over (c, k) of x[n, c, i(o, k)] * w[m, c, k], for each group: a product of the
               weights (rows m) with the windows (columns: pixels, all batches and positions in one line).
The schedule:  one side of the product is broadcast, MR rows of it; the other runs in vectors, a panel of up to three.
               MR x 3 sums stay in registers. Either side may be x (`flat` = 0: pixels in vectors, for layouts whose
               rows are contiguous; `flat` = 1: output channels in vectors, for channels-last). The inner sum is cut
               into boxes of at most KC products; for each box a thread packs its block of pixels once and passes
               all weights by it.
               With `strips` a block is a rectangle, and the taps of a channel read one copy of its rows (_strip.pxd).
               _blocks.pxd cuts blocks, _store.pxd stores tiles that do not go straight into y.
Packing:       absorbs stride, dilation, boundary and layout. What needs none of it is read in place (_walk.pxd): tiles
               of pixels whose windows lie inside x, and weights whose rows are contiguous or whose lanes are
               neighbours. Lanes in place lie in lines far apart: the first tile that reads a panel keeps it, packed,
               for the tiles that follow. Other weights are packed before (`pack`), in slices of at most LIMIT bytes.
               What is packed lies on cache lines.
Edges:         taps that read nothing are packed as zeros; a tile with such taps whose sums are not finite is done
               again by the definition, so that zero padding never meets an infinite weight.
Assumes:       weights shared by all outputs (no w stride along o).
"""

from libc.stdlib cimport malloc, free
from cython.parallel cimport prange, threadid
from _real cimport (real, vreal, V, MR, v_load, v_store, v_set, v_prefetch, v_prefetch_far, spoiled, v_spoiled)
from _nest cimport Nest, Window, Box, address, exact, PyBytes_AS_STRING
from _pack cimport (NV, KC, Job, Cut, cut, box_at, panels, panel_start, offset, place, source_of, pack_lanes, pack_rows)
from _weights cimport channel_units, packed_lines, abreast, pack_group, pack_abreast
from _strip cimport Strip, fill_strip, taps_absent
from _blocks cimport Blocks, line_blocks, strip_blocks, block_at
from _walk cimport Walk, walk
from _store cimport HOLE, Target, put, scatter, put_turned

cdef enum:  # how a tile reads its sides
    PACKED, TABLE, PLACED, BESIDE

cdef enum:
    AHEAD = 16         # products: so early is asked for what is read and kept (flat between 4 and 48)
    TOGETHER = 16      # flat tiles that are stored together where a column of y is a run of pixels
    ABREAST = 16       # panels of rows that are packed together: some lines of w, one after another
    MOST = 16          # nests of a call
    LIMIT = 12582912   # bytes of packed weights at a time, where they are not read in place

LANES, ROWS = V, MR

cdef Py_ssize_t NONE[KC]  # no jumps


ctypedef struct Panel:
    # Neighbouring columns of the product: pixels of a block, of which `columns` are real.
    Py_ssize_t pixel, width, columns
    Py_ssize_t base  # in the strip
    bint joined      # its pixels are neighbours in y


ctypedef struct Part:
    # A block of `count` pixels for one box, and the units u0 .. u1 of output channels to do.
    Box box
    real* block                 # what was packed of it, or kept by its first tiles
    real* kept                  # room for a panel of weights, likewise
    const char* flags           # tiles in which some taps read nothing, and cval is 0
    const char* inside          # tiles that are read in place (or in the strip)
    const Panel* panel
    Py_ssize_t panels
    const Py_ssize_t* pixel_at  # where a pixel's output lies
    const Py_ssize_t* source_at # where its window lies in `source`
    const real* source          # x or the strip, at the first product of the box
    Walk walk
    Py_ssize_t kc, before, count, u0, u1
    Py_ssize_t p0, columns      # the block's first pixel; its columns (without strips: count),
    Py_ssize_t across           # and the step from row to row among its pixels
    bint first


ctypedef struct Reads:
    # The two sides of a tile: kc products in runs of `length`, with steps within a run and jumps behind it. Rows are one
    # run of neighbours if PACKED or TABLE, and so is b if PACKED. BESIDE: as PLACED, where rows are neighbours.
    int kind
    bint keep                   # store what is read of b, packed, for the tiles that follow (PLACED and BESIDE)
    real* b_kept
    const real* row[MR]
    const real* b
    Py_ssize_t kc, length, a_step, b_step
    const Py_ssize_t* a_jump
    const Py_ssize_t* b_jump
    const Py_ssize_t* where     # TABLE: the place of each product in b


# ---- the register tile

cdef inline void product(const Reads* at, Target* to, const int nv, const int kind,
                         const bint keep) noexcept nogil:
    """MR rows of `to` (nv vectors each) = or += the product of MR rows with a panel of nv vectors.

    What is added to is added last, in every kind of tile: the bits of an output must not depend on the tile that it
    falls in. The outermost loop runs once: GCC unrolls early enough to keep acc in registers only inside a loop
    (4 % of a 27-product tile).
    """
    cdef vreal acc[MR][NV]
    cdef vreal bv[NV]
    cdef const real* a[MR]
    cdef const real* b = at.b
    cdef real* b_kept = at.b_kept
    cdef bint stepping = kind == PLACED or kind == BESIDE
    cdef Py_ssize_t k, r = 0, ka = 0, left = at.length, a_step = at.a_step, b_step = at.b_step
    cdef int once
    cdef int i, j
    for once in range(to.times):
        for i in range(MR):
            a[i] = at.row[i]
            for j in range(nv):
                v_prefetch(to.row[i] + j*V)  # rows of y lie far apart: their lines arrive during the sum
                acc[i][j] = v_set(0)
        for k in range(at.kc):
            for j in range(nv):
                if kind == PACKED:
                    bv[j] = v_load(b + k*nv*V + j*V)
                elif kind == TABLE:
                    bv[j] = v_load(b + at.where[k] + j*V)
                else:
                    bv[j] = v_load(b + j*V)
            if keep:
                for j in range(nv):
                    v_prefetch_far(b + AHEAD*b_step + j*V)
                    v_store(b_kept + j*V, bv[j])
                b_kept += nv*V
            for i in range(MR):
                for j in range(nv):
                    if kind == BESIDE:
                        acc[i][j] += bv[j] * a[0][ka + i]
                    elif kind == PLACED:
                        acc[i][j] += bv[j] * a[i][ka]
                    else:
                        acc[i][j] += bv[j] * a[i][k]
            if not stepping:
                continue
            ka += a_step
            b += b_step
            left -= 1
            if left == 0:
                left = at.length
                ka += at.a_jump[r]
                b += at.b_jump[r]
                r += 1
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


cdef inline void wide_product(const Reads* at, Target* to, Py_ssize_t width, const int kind,
                              const bint keep) noexcept nogil:
    if width == 3*V:
        product(at, to, 3, kind, keep)
    elif width == 2*V:
        product(at, to, 2, kind, keep)
    else:
        product(at, to, 1, kind, keep)


cdef void tile_product(const Reads* at, Target* to, Py_ssize_t width) noexcept nogil:
    if at.kind == PACKED:
        wide_product(at, to, width, PACKED, False)
    elif at.kind == TABLE:
        wide_product(at, to, width, TABLE, False)
    elif at.kind == PLACED and at.keep:
        wide_product(at, to, width, PLACED, True)
    elif at.kind == PLACED:
        wide_product(at, to, width, PLACED, False)
    elif at.keep:
        wide_product(at, to, width, BESIDE, True)
    else:
        wide_product(at, to, width, BESIDE, False)


cdef void finish(const Job* job, const Part* part, const real* x, const real* w, real* y, const Reads* at,
                        Target* to, Py_ssize_t width, Py_ssize_t count, Py_ssize_t columns,
                        const Py_ssize_t* row_at, const Py_ssize_t* column_at, bint contiguous, bint flag,
                        Py_ssize_t pixel, Py_ssize_t m) noexcept nogil:
    """One tile, straight into y where it is whole and contiguous there, else by a copy that `mend` may correct."""
    cdef real tile[(MR + V)*NV*V]
    cdef int i
    to.check, to.bad, to.times = flag, False, 1
    if contiguous and count == MR and columns == width:
        for i in range(MR):
            to.row[i] = y + row_at[i] + column_at[0]
        tile_product(at, to, width)
        if not to.bad:
            return
    if job.nest.ym == 1 and not contiguous:
        ask_for(y, 1, columns, row_at, column_at, 1)
    else:
        ask_for(y, count, columns, row_at, column_at, 8)
    put_aside(job, part, x, w, at, tile, width, count, columns, flag, pixel, m)
    if contiguous:
        put(tile, width, count, columns, y, row_at, column_at, to)
    elif job.nest.ym == 1:
        put_turned(tile, width, count, columns, y, row_at, column_at, to.bias, to)
    else:
        scatter(tile, width, count, columns, y, row_at, column_at, to.bias, to)


cdef inline void ask_for(real* y, Py_ssize_t rows, Py_ssize_t columns, const Py_ssize_t* row_at,
                         const Py_ssize_t* column_at, const int each) noexcept nogil:
    """Lines of y that the sums do not prefetch: every row, and one in `each` columns."""
    cdef Py_ssize_t i, j
    for i in range(rows):
        for j in range((columns + each - 1) // each):
            if column_at[j*each] != HOLE:
                v_prefetch(y + row_at[i] + column_at[j*each])


cdef void put_aside(const Job* job, const Part* part, const real* x, const real* w, const Reads* at, real* tile,
                    Py_ssize_t width, Py_ssize_t count, Py_ssize_t columns, bint flag, Py_ssize_t pixel,
                    Py_ssize_t m) noexcept nogil:
    """The sums of one tile (MR x width), corrected where that is called for."""
    cdef Target aside
    cdef int i
    for i in range(MR):
        aside.row[i] = tile + i*width
        aside.bias[i] = 0
    aside.add, aside.column_bias, aside.check, aside.bad, aside.times = False, NULL, flag, False, 1
    tile_product(at, &aside, width)
    if aside.bad:
        aside.check = False
        tile_product(at, &aside, width)
        mend(job, part, x, w, tile, width, count, columns, pixel, m)


cdef inline void at_pixel(const Nest* nest, const Part* part, Py_ssize_t pixel, Py_ssize_t* at) noexcept nogil:
    """(n, o0, o1, o2) of a pixel of a block."""
    place(nest, part.p0 + pixel // part.across*nest.axis[2].out + pixel % part.across, at)


cdef void mend(const Job* job, const Part* part, const real* x, const real* w, real* tile, Py_ssize_t width,
               Py_ssize_t rows, Py_ssize_t columns, Py_ssize_t pixel, Py_ssize_t m) noexcept nogil:
    """The sums of a tile that are not finite, again by the definition."""
    cdef Py_ssize_t i, j, p
    cdef Py_ssize_t at[4]
    for i in range(rows):
        for j in range(columns):
            p = pixel + (i if job.flat else j)
            if spoiled(tile[i*width + j]) and part.pixel_at[p] != HOLE:
                at_pixel(job.nest, part, p, at)
                tile[i*width + j] = exact(job.nest, &part.box, x + at[0]*job.nest.xn,
                                          w + (job.m0 + m + (j if job.flat else i))*job.nest.wm, at[1], at[2], at[3], 0,
                                          job.cval)


cdef inline void sides(const Part* part, bint flat, bint x_inside, bint w_inside, bint beside, Py_ssize_t width,
                       Reads* to) noexcept nogil:
    """How a tile walks: what is packed lies one product after another. beside: the rows of a are neighbours.

    Lanes that are read in place are kept for the next tiles: their lines lie far apart.
    """
    cdef const Walk* walk = &part.walk
    cdef bint a_inside = x_inside if flat else w_inside, b_inside = w_inside if flat else x_inside
    to.kind, to.where, to.keep = PACKED, walk.where, b_inside
    if walk.where != NULL:
        to.kind = TABLE
        return
    if not beside and not b_inside and (not a_inside or (walk.x_plain if flat else walk.w_plain)):
        return
    to.kind, to.length, to.b_step, to.a_jump, to.b_jump = PLACED, walk.length, width, NONE, NONE
    to.a_step = 1
    if beside:
        to.kind, to.a_step = BESIDE, MR
    if a_inside:
        to.a_step = walk.x_step if flat else walk.w_step
        to.a_jump = walk.x_jump if flat else walk.w_jump
    if b_inside:
        to.b_step = walk.w_step if flat else walk.x_step
        to.b_jump = walk.w_jump if flat else walk.x_jump


cdef void sweep_flat(const Job* job, const Part* part, const real* x, const real* w, real* y, const real* bias,
                     const real* packed) noexcept nogil:
    """Channels-last: a panel of weights meets all rows of the block. Where the columns of y are runs of pixels, as in the
    weight gradients of channels-first layers, tiles are stored TOGETHER: lines of y lie far apart."""
    cdef Py_ssize_t channels = job.m1 - job.m0, last = part.count - 1, t, m, width, columns, pixel, inner, rows
    cdef Py_ssize_t tiles = (part.count + MR - 1) // MR, held
    cdef Py_ssize_t row_at[MR]
    cdef Py_ssize_t column_at[NV*V]
    cdef real tile[(TOGETHER*MR + V)*NV*V]  # put_turned reads V rows from any on
    cdef Reads at
    cdef Target to
    cdef int i
    at.kc = part.kc
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
        at.b = w + part.walk.w_first + job.m0 + m if packed == NULL else packed + m*job.depth + part.before*width
        at.b_kept, held = part.kept, 0
        for inner in range(tiles):
            pixel = inner*MR
            rows = min(<Py_ssize_t>MR, part.count - pixel)
            sides(part, True, part.inside[inner], packed == NULL and inner == 0, False, width, &at)
            for i in range(MR):
                row_at[i] = part.pixel_at[min(pixel + i, last)]
                at.row[i] = (part.source + part.source_at[min(pixel + i, last)] if part.inside[inner] else
                             part.block + min(pixel + i, last)*part.kc)
            if job.nest.ym == 1:
                finish(job, part, x, w, y, &at, &to, width, rows, columns, row_at, column_at, True, part.flags[inner],
                       pixel, m)
            else:
                put_aside(job, part, x, w, &at, tile + held*MR*width, width, rows, columns, part.flags[inner], pixel, m)
                held += 1
            if held == TOGETHER or (held > 0 and inner == tiles - 1):
                put_turned(tile, width, (held - 1)*MR + rows, columns, y, part.pixel_at + pixel - (held - 1)*MR,
                           column_at, NULL, &to)
                held = 0
            if packed == NULL:
                at.b = part.kept


cdef void sweep_rows(const Job* job, const Part* part, const real* x, const real* w, real* y, const real* bias,
                     const real* packed) noexcept nogil:
    """MR rows of weights meet all panels of the block, or a panel meets all rows: what changes less often stays in L1."""
    cdef Py_ssize_t channels = job.m1 - job.m0, units = part.u1 - part.u0, t, inner, q, m = 0, rows = 0
    cdef Py_ssize_t row_at[MR]
    cdef bint beside = packed != NULL and abreast(job), w_inside = packed == NULL and not part.walk.w_plain, x_inside
    cdef bint by_panel = part.walk.in_place and part.kc >= 192 and units*MR*part.kc <= 131072
    cdef const Panel* p
    cdef Reads at
    cdef Target to
    cdef int i
    at.kc = part.kc
    to.add, to.column_bias = not part.first, NULL
    for q in range(units*part.panels):
        t = q % units if by_panel else q // part.panels
        inner = q // units if by_panel else q % part.panels
        p = part.panel + inner
        if by_panel or inner == 0:
            m = (part.u0 + t)*MR
            rows = min(<Py_ssize_t>MR, channels - m)
            for i in range(MR):
                at.row[i] = weight_row(job, part, w, packed, min(m + i, channels - 1))
                row_at[i] = (job.m0 + min(m + i, channels - 1))*job.nest.ym
                to.bias[i] = 0 if bias == NULL else bias[min(m + i, channels - 1)]
        x_inside = part.inside[inner] and (t == 0 or job.strips)
        at.b_kept = part.kept if by_panel and part.inside[inner] else part.block + p.pixel*part.kc
        at.b = part.source + p.base if x_inside else at.b_kept
        sides(part, False, x_inside, w_inside, beside, p.width, &at)
        finish(job, part, x, w, y, &at, &to, p.width, rows, p.columns, row_at, part.pixel_at + p.pixel, p.joined,
               part.flags[inner], p.pixel, m)


cdef inline const real* weight_row(const Job* job, const Part* part, const real* w, const real* packed,
                                   Py_ssize_t m) noexcept nogil:
    """Row m of the slice's weights of a box: in place, or among the packed rows (panel of MR, box, row)."""
    if packed == NULL:
        return w + (job.m0 + m)*job.nest.wm + part.walk.w_first
    return packed + m // MR*MR*job.depth + part.before*MR + m % MR*(1 if abreast(job) else part.kc)


ctypedef struct Room:
    # A thread's scratch: the packed block or strip, a panel of weights, places of pixels, jumps, panels, flags.
    real* block
    real* kept
    Py_ssize_t* pixel_at
    Py_ssize_t* source_at
    Py_ssize_t* jumps   # of x, then of w
    Panel* panel
    char* flags
    char* inside


cdef Py_ssize_t split_panels(const Strip* strip, Py_ssize_t count, const Py_ssize_t* pixel_at,
                             const Py_ssize_t* source_at, Panel* to) noexcept nogil:
    """The panels of a block of `count` pixels, row by row unless these are open; their number."""
    cdef Py_ssize_t row, q, j, number = 0, length = count if strip.open else strip.columns
    cdef Panel* p
    for row in range(1 if strip.open else strip.rows):
        for q in range(panels(length)):
            p = to + number
            j = panel_start(length, q)
            p.pixel, p.width = row*length + j, panel_start(length, q + 1) - j
            p.columns = min(p.width, length - j)
            p.base = source_at[p.pixel]
            p.joined = True
            for j in range(p.pixel + 1, p.pixel + p.columns):
                p.joined = p.joined and pixel_at[j] == pixel_at[j - 1] + 1
            number += 1
    return number


cdef void places(const Job* job, Py_ssize_t first, Py_ssize_t in_strip, Py_ssize_t columns, Py_ssize_t across,
                 Py_ssize_t* pixel_at, Py_ssize_t* source_at) noexcept nogil:
    """Where pixels from `first` lie in y, and their windows in x (or in the strip); holes up to the next row."""
    cdef const Nest* nest = job.nest
    cdef const Window* d = &nest.axis[2]
    cdef Py_ssize_t at[4]
    cdef Py_ssize_t j = 0, i, length, y_at, x_at, step = 1 if job.strips else d.stride*d.xs
    while j < columns:
        place(nest, first + j, at)
        length = min(columns - j, d.out - at[3])
        y_at = at[0]*nest.yn + at[1]*nest.axis[0].ys + at[2]*nest.axis[1].ys + at[3]*d.ys
        x_at = in_strip + j if job.strips else source_of(nest, at)
        for i in range(length):
            pixel_at[j + i] = y_at + i*d.ys
            source_at[j + i] = x_at + i*step
        j += length
    for j in range(columns, across):
        pixel_at[j], source_at[j] = HOLE, in_strip + j


cdef void block_task(const Job* job, const Cut* cuts, Py_ssize_t g, Py_ssize_t p0, const Strip* strip, Py_ssize_t u0,
                     Py_ssize_t u1, Room room) noexcept nogil:
    """One group, one block of pixels, units u0 .. u1 of output channels: pack x box by box, multiply, store.

    Without strips the block is one line of pixels, strip.columns of them.
    """
    cdef const Nest* nest = job.nest
    cdef const real* x = job.x + g*nest.xg
    cdef const real* w = job.w + g*nest.wg
    cdef real* y = job.y + g*nest.yg
    cdef const real* bias = offset(job.bias, g*nest.m + job.m0)
    cdef const real* packed = offset(job.packed, g*packed_lines(job)*job.depth)
    cdef Py_ssize_t number, row
    cdef Part part
    part.count, part.panels = (strip.rows - 1)*strip.across + strip.columns, 0
    for row in range(strip.rows):
        places(job, p0 + row*nest.axis[2].out, row*strip.pitch, strip.columns, strip.across,
               room.pixel_at + row*strip.across, room.source_at + row*strip.across)
    if not job.flat:
        part.panels = split_panels(strip, part.count, room.pixel_at, room.source_at, room.panel)
    part.kept, part.block, part.flags, part.panel, part.pixel_at = room.kept, room.block, room.flags, room.panel, room.pixel_at
    part.source_at, part.inside = room.source_at, room.inside
    part.p0, part.columns, part.across, part.u0, part.u1, part.before = p0, strip.columns, strip.across, u0, u1, 0
    for number in range(cuts.boxes):
        part.kc = box_at(cuts, job.channel_last, number, &part.box)
        part.first = job.first and number == 0
        walk(job, &part.box, room.jumps, &part.walk)
        if job.strips:
            part.source = room.block
            strip_of(job, x, strip, &part, room)
        else:
            part.source = x + part.walk.x_first
            if job.flat:
                pack_rows(job, x, &part.box, part.kc, p0, part.count, room.block, room.flags, room.inside,
                          part.walk.in_place)
            else:
                pack_lanes(job, x, &part.box, part.kc, p0, part.count, room.block, room.flags, room.inside,
                           part.walk.in_place)
        if job.flat:
            sweep_flat(job, &part, x, w, y, bias, packed)
        else:
            sweep_rows(job, &part, x, w, y, bias, packed)
        part.before += part.kc


cdef void strip_of(const Job* job, const real* x, const Strip* strip, const Part* part, Room room) noexcept nogil:
    """The strip of a box, and the flags of the panels."""
    cdef Py_ssize_t at[4]
    cdef Py_ssize_t j
    cdef bint absent
    place(job.nest, part.p0, at)
    absent = fill_strip(job, x + at[0]*job.nest.xn, &part.box, strip, at, room.block,
                        room.jumps) and job.cval == 0
    for j in range(part.panels):
        room.inside[j], room.flags[j] = True, absent and panel_absent(job, part, part.panel + j)


cdef bint panel_absent(const Job* job, const Part* part, const Panel* panel) noexcept nogil:
    """Whether some taps of a panel's pixels, row by row, read nothing."""
    cdef Py_ssize_t pixel = panel.pixel, end = pixel + panel.columns, column, length
    cdef Py_ssize_t at[4]
    while pixel < end:
        column = pixel % part.across
        length = min(end - pixel, part.columns - column)
        if length > 0:
            at_pixel(job.nest, part, pixel, at)
            if taps_absent(job.nest, &part.box, at, length):
                return True
        pixel += part.across - column
    return False


cdef inline Py_ssize_t pack_tasks(const Job* job, int threads) noexcept nogil:
    """Panels of weights, or panels that are packed abreast."""
    cdef Py_ssize_t units = channel_units(job)
    if abreast(job):
        units = min(units, max(<Py_ssize_t>threads, (units + ABREAST - 1) // ABREAST))
    return job.nest.g*units


cdef void pack_task(const Job* job, const Cut* cuts, Py_ssize_t t, int threads) noexcept nogil:
    """Task t of all jobs, of which `job` is the first."""
    cdef Py_ssize_t units, tasks
    while t >= pack_tasks(job, threads):
        t -= pack_tasks(job, threads)
        job += 1
        cuts += 1
    units, tasks = channel_units(job), pack_tasks(job, threads) // job.nest.g
    if abreast(job):
        pack_abreast(job, cuts, t // tasks, t % tasks*units // tasks, (t % tasks + 1)*units // tasks,
                     <real*>job.packed)
    else:
        pack_group(job, cuts, t // tasks, t % tasks, <real*>job.packed)


cdef void pack_all(const Job* jobs, const Cut* cuts, int count, int threads) noexcept nogil:
    """The packed weights of all jobs."""
    cdef Py_ssize_t total = 0, t
    cdef int i
    for i in range(count):
        total += pack_tasks(jobs + i, threads)
    for t in prange(total, num_threads=threads, schedule='static'):
        pack_task(jobs, cuts, t, threads)


cdef inline char* aligned(void* memory) noexcept nogil:
    """The first line that begins behind this place: vectors across lines cost twice (20 % of a tile)."""
    return <char*>memory + (64 - <Py_ssize_t>(<size_t>memory % 64))


ctypedef struct Work:
    # What there is to do for a job: `tasks`, which are blocks times `splits` of the output channels.
    Blocks blocks
    Py_ssize_t number, splits, tasks


cdef Py_ssize_t lay_out(const Job* job, const Cut* cuts, int threads, Work* to) noexcept nogil:
    """The tasks of a job; bytes of scratch that one of them takes."""
    cdef Blocks* blocks = &to.blocks
    cdef Py_ssize_t size
    if job.strips:
        strip_blocks(job, cuts, threads, blocks)
    else:
        line_blocks(job, cuts, threads, blocks)
    to.number, to.splits = blocks.images*blocks.rows*blocks.line, 1
    if job.nest.g*to.number < threads:
        to.splits = min(<Py_ssize_t>threads, channel_units(job))  # few pixels: split the output channels too
    to.tasks = job.nest.g*to.number*to.splits
    blocks.values = (blocks.values + 15) // 16*16
    size = (blocks.values + NV*V*KC)*sizeof(real) + 2*(blocks.count + KC)*sizeof(Py_ssize_t) + blocks.panels*sizeof(Panel)
    return (size + 2*(blocks.panels + blocks.count) + 127) // 64*64


cdef int multiply(const Job* jobs, const Cut* cuts, int count, int threads) noexcept nogil:
    """All tasks of some jobs (of a slice of their output channels); 1 if there was no memory."""
    cdef Py_ssize_t parts = 0, size = 0, t
    cdef Work work[MOST]
    cdef int i
    for i in range(count):
        size = max(size, lay_out(jobs + i, cuts + i, threads, work + i))
        parts = max(parts, work[i].tasks)
    cdef char* memory = <char*>malloc(size*threads + 64)
    if memory == NULL:
        return 1
    # guided: a thread's blocks are neighbours, and so are the lines of y that it writes (12 % of a first layer)
    for t in prange(parts, num_threads=threads, schedule='guided'):
        task_of_each(jobs, cuts, work, count, t, parts, aligned(memory) + threadid()*size)
    free(memory)
    return 0


cdef void task_of_each(const Job* jobs, const Cut* cuts, const Work* work, int count, Py_ssize_t part, Py_ssize_t parts,
                       char* memory) noexcept nogil:
    """A part of the tasks of every job: where jobs are phases of one gradient they write the same lines of y."""
    cdef Py_ssize_t t
    cdef int i
    for i in range(count):
        for t in range(part*work[i].tasks // parts, (part + 1)*work[i].tasks // parts):
            task(jobs + i, cuts + i, work + i, t, memory)


cdef void task(const Job* job, const Cut* cuts, const Work* work, Py_ssize_t number, char* memory) noexcept nogil:
    """`block_task` with a thread's scratch laid out."""
    cdef const Blocks* blocks = &work.blocks
    cdef Py_ssize_t units = channel_units(job), s = number % work.splits
    cdef Strip strip
    cdef Room room
    cdef Py_ssize_t p0 = block_at(job, cuts, blocks, number // work.splits % work.number, &strip)
    room.block = <real*>memory
    room.kept = room.block + blocks.values
    room.pixel_at = <Py_ssize_t*>(room.kept + NV*V*KC)
    room.source_at = room.pixel_at + blocks.count
    room.jumps = room.source_at + blocks.count
    room.panel = <Panel*>(room.jumps + 2*KC)
    room.flags = <char*>(room.panel + blocks.panels)
    room.inside = room.flags + blocks.panels + blocks.count
    block_task(job, cuts, number // work.splits // work.number, p0, &strip, s*units // work.splits,
               (s + 1)*units // work.splits, room)


# ---- entries

cdef Py_ssize_t depth_of(const Nest* nest) noexcept nogil:
    return nest.c*nest.axis[0].taps*nest.axis[1].taps*nest.axis[2].taps


def packed_size(nest_bytes, bint flat):
    """Elements that `pack` writes."""
    cdef Job job
    job.nest = <const Nest*>PyBytes_AS_STRING(nest_bytes)
    job.flat, job.m0, job.m1 = flat, 0, job.nest.m
    return job.nest.g*packed_lines(&job)*depth_of(job.nest)


def pack(w_array, to_array, nest_bytes, bint flat, bint channel_last, bint strips, int threads):
    """All weights of a nest as `run` wants them."""
    cdef Job job
    cdef Cut cuts
    job.nest = <const Nest*>PyBytes_AS_STRING(nest_bytes)
    job.packed = address(to_array)
    job.w = address(w_array) + job.nest.w0
    job.flat, job.channel_last, job.strips, job.depth = flat, channel_last, strips, depth_of(job.nest)
    job.m0, job.m1 = 0, job.nest.m
    with nogil:
        cut(job.nest, channel_last, &cuts)
        pack_all(&job, &cuts, 1, threads)


cdef int pack_and_multiply(Job* jobs, const Cut* cuts, int count, real* packed, int threads) noexcept nogil:
    """All tasks of some jobs, whose weights are packed one after another."""
    cdef int i
    for i in range(count):
        jobs[i].packed = packed
        packed += jobs[i].nest.g*packed_lines(jobs + i)*jobs[i].depth
    pack_all(jobs, cuts, count, threads)
    return multiply(jobs, cuts, count, threads)


cdef int slice_by_slice(Job* jobs, const Cut* cuts, int count, Py_ssize_t step, real* packed, int threads) noexcept nogil:
    """One job after another, `step` of its output channels at a time."""
    cdef int i, failed = 0
    for i in range(count):
        jobs[i].m1 = 0
        while jobs[i].m1 < jobs[i].nest.m and not failed:
            jobs[i].m0 = jobs[i].m1
            jobs[i].m1 = min(jobs[i].nest.m, jobs[i].m0 + step)
            failed = pack_and_multiply(jobs + i, cuts + i, 1, packed, threads)
    return failed


def run(x_array, w_array, y_array, bias_array, nest_bytes, bint first, cval_array, bint flat, bint channel_last,
        bint in_place, bint strips, packed_array, int threads):
    """y of one nest, or of some (at most MOST) that share no output. in_place: w is not packed."""
    cdef Job jobs[MOST]
    cdef Cut cuts[MOST]
    cdef Job* job
    cdef const Nest* nests = <const Nest*>PyBytes_AS_STRING(nest_bytes)
    cdef int i, count = len(nest_bytes) // <Py_ssize_t>sizeof(Nest), failed = 0
    cdef Py_ssize_t step = nests.m, size = 0, most = 0
    cdef bint sliced
    cdef void* memory
    if count > MOST:
        raise ValueError(f"{count} nests in a call of the gemm kernel (at most {MOST})")
    for i in range(count):
        job = jobs + i
        job.nest = nests + i
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
        job.flat, job.channel_last, job.first, job.strips = flat, channel_last, first, strips
        job.depth = depth_of(job.nest)
        job.pixels = job.nest.n*job.nest.axis[0].out*job.nest.axis[1].out*job.nest.axis[2].out
        job.m0, job.m1 = 0, job.nest.m
        cut(job.nest, channel_last, cuts + i)
        size += job.nest.g*packed_lines(job)*job.depth
        most = max(most, job.nest.g*job.depth)
    if in_place or packed_array is not None:
        with nogil:
            failed = multiply(jobs, cuts, count, threads)
    else:
        sliced = size*<Py_ssize_t>sizeof(real) > LIMIT
        if sliced:
            step = min(step, max(<Py_ssize_t>1, LIMIT // (most*<Py_ssize_t>sizeof(real)*NV*V))*NV*V)
            size = most*((step + max(V, MR) - 1) // max(V, MR)*max(V, MR))
        memory = malloc(size*sizeof(real) + 64)
        if memory == NULL:
            raise MemoryError("packed weights of the gemm kernel")
        with nogil:
            if sliced:
                failed = slice_by_slice(jobs, cuts, count, step, <real*>aligned(memory), threads)
            else:
                failed = pack_and_multiply(jobs, cuts, count, <real*>aligned(memory), threads)
        free(memory)
    if failed:
        raise MemoryError("scratch of the gemm kernel")
