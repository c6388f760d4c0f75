"""Dense layers as a matrix product over packed tiles: no im2col array, only a tile's worth of it per thread.

The sum:       y[n, m, o] = init + sum over (c, k) of x[n, c, i(o, k)] * w[m, c, k], for each group: a product of the
               weights (rows m) with the windows (columns: pixels, all batches and positions in one line).
The schedule:  one side of the product is broadcast, MR rows of it; the other runs in vectors, a panel of up to three.
               MR x 3 sums stay in registers. Either side may be x (`flat` = 0: pixels in vectors, for layouts whose
               rows are contiguous; `flat` = 1: output channels in vectors, for channels-last). The inner sum is cut
               into boxes of at most KC products; for each box a thread packs its block of pixels once and passes
               all weights by it.
               With `strips` a block is a rectangle, and the taps of a channel read one copy of its rows (_strip.pxd).
Packing:       absorbs stride, dilation, boundary and layout. Weights are read in place where a row of them is
               contiguous, else packed before (`pack`), in slices of at most LIMIT bytes.
Edges:         taps that read nothing are packed as zeros; a tile with such taps whose sums are not finite is done
               again by the definition, so that zero padding never meets an infinite weight.
Assumes:       weights shared by all outputs (no w stride along o).
"""

from libc.stdlib cimport malloc, free
from cython.parallel cimport prange, threadid
from _real cimport real, vreal, V, MR, v_load, v_store, v_set, v_prefetch, spoiled, v_spoiled
from _nest cimport Nest, Window, Box, address, exact, PyBytes_AS_STRING
from _pack cimport (NV, KC, Job, Cut, cut, box_at, panels, panel_start, offset, place, advance, pack_lanes, pack_rows,
                    pack_weights)
from _strip cimport STRIP, Strip, shape, box_taps, fill_strip, panel_absent

cdef enum:
    BLOCK = 240        # pixels of a block of KC products: packed, they stay in L2 (1 MB; flat between 96 and 384)
    LONGEST = 1344     # pixels of any block; with few products blocks are longer, since rows of y are (20 % for 27)
    TOGETHER = 16      # flat tiles that are stored together where a column of y is a run of pixels
    WIDEST = 480       # columns of a strip (flat between 240 and 1024)
    LIMIT = 12582912   # bytes of packed weights at a time, where they are not read in place

LANES, ROWS = V, MR


ctypedef struct Panel:
    # Neighbouring columns of the product: pixels of a block, of which `columns` are real.
    Py_ssize_t pixel, width, columns
    Py_ssize_t base  # in the strip
    bint joined      # its pixels are neighbours in y


ctypedef struct Part:
    # A packed block of `count` pixels for one box, and the units u0 .. u1 of output channels to do.
    Box box
    const real* block
    const char* flags           # tiles in which some taps read nothing, and cval is 0
    const Panel* panel
    Py_ssize_t panels
    const Py_ssize_t* where     # of each product in a strip; NULL: packed one after another
    const Py_ssize_t* pixel_at  # where a pixel's output lies
    Py_ssize_t kc, before, count, u0, u1
    Py_ssize_t p0, columns      # the block's first pixel; its columns (without strips: count)
    bint first


ctypedef struct Target:
    # Where a tile goes, and what is added to it: y itself, a value per row, or one per column.
    real* row[MR]
    real bias[MR]
    const real* column_bias
    bint add
    int times
    bint check, bad   # look for sums that are not finite before storing; whether there were some (none is stored)


# ---- the register tile

cdef inline void product(Py_ssize_t kc, const real** rows, const real* b, const Py_ssize_t* where, Target* to,
                         const int nv, const bint strips) noexcept nogil:
    """MR rows of `to` (nv vectors each) = or += rows (MR x kc) times b (kc x nv vectors, with strips at b + where[k]).

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
                bv[j] = v_load(b + (where[k] if strips else k*nv*V) + j*V)
            for i in range(MR):
                for j in range(nv):
                    acc[i][j] += bv[j] * a[i][k]
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


cdef void tile_product(const Part* part, const real** rows, const real* b, Target* to, Py_ssize_t width) noexcept nogil:
    if part.where == NULL:
        if width == 3*V:
            product(part.kc, rows, b, NULL, to, 3, False)
        elif width == 2*V:
            product(part.kc, rows, b, NULL, to, 2, False)
        else:
            product(part.kc, rows, b, NULL, to, 1, False)
    elif width == 3*V:
        product(part.kc, rows, b, part.where, to, 3, True)
    elif width == 2*V:
        product(part.kc, rows, b, part.where, to, 2, True)
    else:
        product(part.kc, rows, b, part.where, to, 1, True)


cdef void put(const real* tile, Py_ssize_t width, Py_ssize_t rows, Py_ssize_t columns, real* y,
              const Py_ssize_t* row_at, const Py_ssize_t* column_at, bint contiguous, const Target* to) noexcept nogil:
    """What `product` does at its end, for tiles that are not whole or not contiguous in y. Without a value per column
    rows have one each, but for more than MR of them, which have none."""
    cdef Py_ssize_t i, j
    cdef real* line
    cdef real init
    cdef bint near = not contiguous
    for i in range(1, rows):
        near = near and row_at[i] == row_at[0] + i
    if near:
        # Rows are neighbours in y: column by column, each a contiguous run.
        for j in range(columns):
            line = y + row_at[0] + column_at[j]
            init = 0 if to.column_bias == NULL else to.column_bias[j]
            for i in range(rows):
                if to.add:
                    init = line[i]
                elif to.column_bias == NULL and rows <= MR:
                    init = to.bias[i]
                line[i] = tile[i*width + j] + init
        return
    for i in range(rows):
        line = y + row_at[i] + (column_at[0] if contiguous else 0)
        init = 0 if rows > MR else to.bias[i]
        if to.add and contiguous:
            for j in range(columns):
                line[j] = tile[j] + line[j]
        elif to.column_bias == NULL and contiguous:
            for j in range(columns):
                line[j] = tile[j] + init
        elif contiguous:
            for j in range(columns):
                line[j] = tile[j] + to.column_bias[j]
        else:
            for j in range(columns):
                if to.add:
                    init = line[column_at[j]]
                elif to.column_bias != NULL:
                    init = to.column_bias[j]
                line[column_at[j]] = tile[j] + init
        tile += width


cdef inline void finish(const Job* job, const Part* part, const real* x, const real* w, real* y, const real** rows,
                        const real* b, Target* to, Py_ssize_t width, Py_ssize_t count, Py_ssize_t columns,
                        const Py_ssize_t* row_at, const Py_ssize_t* column_at, bint contiguous, bint flag,
                        Py_ssize_t pixel, Py_ssize_t m) noexcept nogil:
    """One tile, straight into y where it is whole and contiguous there, else by a copy that `mend` may correct."""
    cdef real tile[MR*NV*V]
    cdef int i
    to.check, to.bad, to.times = flag, False, 1
    if contiguous and count == MR and columns == width:
        for i in range(MR):
            to.row[i] = y + row_at[i] + column_at[0]
        tile_product(part, rows, b, to, width)
        if not to.bad:
            return
    put_aside(job, part, x, w, rows, b, tile, width, count, columns, flag, pixel, m)
    put(tile, width, count, columns, y, row_at, column_at, contiguous, to)


cdef void put_aside(const Job* job, const Part* part, const real* x, const real* w, const real** rows, const real* b,
                    real* tile, Py_ssize_t width, Py_ssize_t count, Py_ssize_t columns, bint flag, Py_ssize_t pixel,
                    Py_ssize_t m) noexcept nogil:
    """The sums of one tile (MR x width), corrected where that is called for."""
    cdef Target aside
    cdef int i
    for i in range(MR):
        aside.row[i] = tile + i*width
        aside.bias[i] = 0
    aside.add, aside.column_bias, aside.check, aside.times = False, NULL, False, 1
    tile_product(part, rows, b, &aside, width)
    if flag:
        mend(job, part, x, w, tile, width, count, columns, pixel, m)


cdef inline void at_pixel(const Nest* nest, Py_ssize_t p0, Py_ssize_t columns, Py_ssize_t pixel,
                          Py_ssize_t* at) noexcept nogil:
    """(n, o0, o1, o2) of a pixel of a block."""
    place(nest, p0 + pixel // columns*nest.axis[2].out + pixel % columns, at)


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
            at_pixel(job.nest, part.p0, part.columns, pixel + (i if job.flat else j), at)
            tile[i*width + j] = exact(job.nest, &part.box, x + at[0]*job.nest.xn,
                                      w + (job.m0 + m + (j if job.flat else i))*job.nest.wm, at[1], at[2], at[3], 0,
                                      job.cval)


cdef void sweep_flat(const Job* job, const Part* part, const real* x, const real* w, real* y, const real* bias,
                     const real* packed) noexcept nogil:
    """Channels-last: a panel of weights meets all rows of the block. Where the columns of y are runs of pixels, as in the
    weight gradients of channels-first layers, tiles are stored TOGETHER: lines of y lie far apart."""
    cdef Py_ssize_t channels = job.m1 - job.m0, last = part.count - 1, t, m, width, columns, pixel, inner, rows
    cdef Py_ssize_t tiles = (part.count + MR - 1) // MR, kept = 0
    cdef Py_ssize_t row_at[MR]
    cdef Py_ssize_t column_at[NV*V]
    cdef real tile[TOGETHER*MR*NV*V]
    cdef const real* row[MR]
    cdef const real* b
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
        b = packed + m*job.depth + part.before*width
        kept = 0
        for inner in range(tiles):
            pixel = inner*MR
            rows = min(<Py_ssize_t>MR, part.count - pixel)
            for i in range(MR):
                row[i] = part.block + min(pixel + i, last)*part.kc
                row_at[i] = part.pixel_at[min(pixel + i, last)]
            if job.nest.ym == 1:
                finish(job, part, x, w, y, row, b, &to, width, rows, columns, row_at, column_at, True,
                       part.flags[inner], pixel, m)
                continue
            put_aside(job, part, x, w, row, b, tile + kept*MR*width, width, rows, columns, part.flags[inner], pixel, m)
            kept += 1
            if kept == TOGETHER or inner == tiles - 1:
                put(tile, width, (kept - 1)*MR + rows, columns, y, part.pixel_at + pixel - (kept - 1)*MR, column_at,
                    False, &to)
                kept = 0


cdef void sweep_rows(const Job* job, const Part* part, const real* x, const real* w, real* y, const real* bias,
                     const real* packed) noexcept nogil:
    """MR rows of weights meet all panels of the block: the smaller piece of the weights stays in L1."""
    cdef Py_ssize_t channels = job.m1 - job.m0, t, m, inner, rows
    cdef Py_ssize_t row_at[MR]
    cdef const real* row[MR]
    cdef const Panel* p
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
        for inner in range(part.panels):
            p = part.panel + inner
            finish(job, part, x, w, y, row, part.block + (p.pixel*part.kc if part.where == NULL else p.base), &to,
                   p.width, rows, p.columns, row_at, part.pixel_at + p.pixel, p.joined, part.flags[inner], p.pixel, m)


cdef inline const real* weight_row(const Job* job, const real* w, const real* packed, Py_ssize_t m, Py_ssize_t before,
                                   Py_ssize_t kc) noexcept nogil:
    """Row m of the slice's weights of a box: in place, or among the packed rows (panel of MR, box, row)."""
    if packed == NULL:
        return w + (job.m0 + m)*job.nest.wm + before
    return packed + m // MR*MR*job.depth + before*MR + m % MR*kc


ctypedef struct Room:
    # A thread's scratch: the packed block or strip, places of pixels and of products, panels, flags.
    real* block
    Py_ssize_t* pixel_at
    Py_ssize_t* where
    Panel* panel
    char* flags


cdef Py_ssize_t split_panels(const Job* job, const Strip* strip, const Py_ssize_t* pixel_at, Panel* to) noexcept nogil:
    """The panels of a block, row by row; their number."""
    cdef Py_ssize_t row, q, j, number = 0
    cdef Panel* p
    for row in range(strip.rows):
        for q in range(panels(strip.columns)):
            p = to + number
            j = panel_start(strip.columns, q)
            p.pixel, p.width = row*strip.columns + j, panel_start(strip.columns, q + 1) - j
            p.columns = min(p.width, strip.columns - j)
            p.base = row*job.nest.axis[1].stride*strip.line + j
            p.joined = True
            for j in range(p.pixel + 1, p.pixel + p.columns):
                p.joined = p.joined and pixel_at[j] == pixel_at[j - 1] + 1
            number += 1
    return number


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
    cdef Py_ssize_t number, j, row
    cdef Py_ssize_t at[4]
    cdef Part part
    part.count, part.panels = strip.rows*strip.columns, 0
    for row in range(strip.rows):
        place(nest, p0 + row*nest.axis[2].out, at)
        for j in range(row*strip.columns, (row + 1)*strip.columns):
            room.pixel_at[j] = at[0]*nest.yn + at[1]*nest.axis[0].ys + at[2]*nest.axis[1].ys + at[3]*nest.axis[2].ys
            advance(nest, at)
    if not job.flat:
        part.panels = split_panels(job, strip, room.pixel_at, room.panel)
    part.block, part.flags, part.panel, part.pixel_at = room.block, room.flags, room.panel, room.pixel_at
    part.where = room.where if job.strips else NULL
    part.p0, part.columns, part.u0, part.u1, part.before = p0, strip.columns, u0, u1, 0
    for number in range(cuts.boxes):
        part.kc = box_at(cuts, job.channel_last, number, &part.box)
        part.first = job.first and number == 0
        if job.flat:
            pack_rows(job, x, &part.box, part.kc, p0, part.count, room.block, room.flags)
            sweep_flat(job, &part, x, w, y, bias, packed)
        else:
            if job.strips:
                strip_of(job, x, strip, &part, room)
            else:
                pack_lanes(job, x, &part.box, part.kc, p0, part.count, room.block, room.flags)
            sweep_rows(job, &part, x, w, y, bias, packed)
        part.before += part.kc


cdef void strip_of(const Job* job, const real* x, const Strip* strip, Part* part, Room room) noexcept nogil:
    """The strip of a box, its places, and the flags of the panels."""
    cdef Py_ssize_t at[4]
    cdef Py_ssize_t j
    cdef bint absent
    place(job.nest, part.p0, at)
    absent = fill_strip(job, x + at[0]*job.nest.xn, &part.box, strip, at, room.block, room.where) and job.cval == 0
    for j in range(part.panels):
        room.flags[j] = False
        if absent:
            at_pixel(job.nest, part.p0, part.columns, part.panel[j].pixel, at)
            room.flags[j] = panel_absent(job.nest, &part.box, at, part.panel[j].columns)


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


ctypedef struct Blocks:
    # How the pixels are cut: images x rows x line blocks; a line is cut at multiples of `unit`.
    Py_ssize_t images, rows, line, unit, units
    Py_ssize_t count, values, panels  # of the largest block: pixels, packed values, panels


cdef void line_blocks(const Job* job, const Cut* cuts, int threads, Blocks* to) noexcept nogil:
    """Blocks of a line of all pixels."""
    cdef Py_ssize_t unit = MR if job.flat else V, kc = 1, block, units
    cdef int j
    for j in range(4):
        kc *= cuts.size[j]
    units = (job.pixels + unit - 1) // unit
    block = min(<Py_ssize_t>LONGEST, max(<Py_ssize_t>BLOCK, BLOCK*KC // kc))
    to.line = (job.pixels + block - 1) // block
    if job.nest.g*to.line >= threads and to.line < 8*threads:
        to.line = min(units, (to.line + threads - 1) // threads*threads)
    to.images, to.rows, to.unit, to.units = 1, 1, unit, units
    to.count = (units + to.line - 1) // to.line*unit
    to.values = (to.count + MR)*kc + V
    to.panels = panels(to.count)


cdef void strip_blocks(const Job* job, const Cut* cuts, int threads, Blocks* to) noexcept nogil:
    """Rectangular blocks whose strips fit STRIP."""
    cdef const Nest* nest = job.nest
    cdef const Window* b = &nest.axis[1]
    cdef const Window* d = &nest.axis[2]
    cdef Py_ssize_t planes = box_taps(cuts, job.channel_last, 3)*box_taps(cuts, job.channel_last, 0)
    cdef Py_ssize_t taps1 = box_taps(cuts, job.channel_last, 1), taps2 = box_taps(cuts, job.channel_last, 2), rows
    cdef Strip strip
    to.images, to.unit, to.units = nest.n*nest.axis[0].out, V, (d.out + V - 1) // V
    to.line = (d.out + WIDEST - 1) // WIDEST
    shape(nest, taps1, taps2, 1, min(d.out, (to.units + to.line - 1) // to.line*V), &strip)
    rows = (STRIP // (planes*strip.line) - strip.height) // b.stride + 1
    rows = max(<Py_ssize_t>1, min(min(rows, LONGEST // strip.columns), b.out))
    to.rows = (b.out + rows - 1) // rows
    if nest.g*to.images*to.line*to.rows >= threads and to.images*to.line*to.rows < 8*threads:
        to.rows = min(b.out, (to.rows + threads - 1) // threads*threads)
    rows = (b.out + to.rows - 1) // to.rows
    shape(nest, taps1, taps2, rows, strip.columns, &strip)
    to.count, to.values = rows*strip.columns, planes*strip.height*strip.line + V
    to.panels = rows*panels(strip.columns)


cdef Py_ssize_t block_at(const Job* job, const Cut* cuts, const Blocks* blocks, Py_ssize_t number,
                         Strip* strip) noexcept nogil:
    """The first pixel and the shape of a block."""
    cdef const Nest* nest = job.nest
    cdef Py_ssize_t most = nest.axis[2].out if job.strips else job.pixels
    cdef Py_ssize_t q = number % blocks.line, row, image, r0, r1 = 1, c0, c1
    row = number // blocks.line % blocks.rows
    image = number // blocks.line // blocks.rows
    c0 = q*blocks.units // blocks.line*blocks.unit
    c1 = min((q + 1)*blocks.units // blocks.line*blocks.unit, most)
    if not job.strips:
        strip.rows, strip.columns, strip.line = 1, c1 - c0, 0
        return c0
    r0, r1 = row*nest.axis[1].out // blocks.rows, (row + 1)*nest.axis[1].out // blocks.rows
    shape(nest, box_taps(cuts, job.channel_last, 1), box_taps(cuts, job.channel_last, 2), r1 - r0, c1 - c0, strip)
    return (image*nest.axis[1].out + r0)*nest.axis[2].out + c0


cdef int multiply(Job* job, const Cut* cuts, int threads) noexcept nogil:
    """All tasks of a slice of output channels; 1 if there was no memory."""
    cdef Py_ssize_t channels = channel_units(job), splits = 1, number, t, size
    cdef Blocks blocks
    if job.strips:
        strip_blocks(job, cuts, threads, &blocks)
    else:
        line_blocks(job, cuts, threads, &blocks)
    number = blocks.images*blocks.rows*blocks.line
    if job.nest.g*number < threads:
        splits = min(<Py_ssize_t>threads, channels)  # few pixels: split the output channels too
    blocks.values = (blocks.values + 15) // 16*16
    size = blocks.values*sizeof(real) + (blocks.count + KC)*sizeof(Py_ssize_t) + blocks.panels*sizeof(Panel)
    size = (size + blocks.panels + blocks.count + 127) // 64*64
    cdef char* memory = <char*>malloc(size*threads + 64)
    if memory == NULL:
        return 1
    cdef char* aligned = memory + (64 - <Py_ssize_t>(<size_t>memory % 64))
    # guided: a thread's blocks are neighbours, and so are the lines of y that it writes (12 % of a first layer)
    for t in prange(job.nest.g*number*splits, num_threads=threads, schedule='guided'):
        task(job, cuts, &blocks, t // splits // number, t // splits % number, t % splits*channels // splits,
             (t % splits + 1)*channels // splits, aligned + threadid()*size)
    free(memory)
    return 0


cdef void task(const Job* job, const Cut* cuts, const Blocks* blocks, Py_ssize_t g, Py_ssize_t number, Py_ssize_t u0,
               Py_ssize_t u1, char* memory) noexcept nogil:
    """`block_task` with a thread's scratch laid out."""
    cdef Strip strip
    cdef Room room
    cdef Py_ssize_t p0 = block_at(job, cuts, blocks, number, &strip)
    room.block = <real*>memory
    room.pixel_at = <Py_ssize_t*>(memory + blocks.values*sizeof(real))
    room.where = room.pixel_at + blocks.count
    room.panel = <Panel*>(room.where + KC)
    room.flags = <char*>(room.panel + blocks.panels)
    block_task(job, cuts, g, p0, &strip, u0, u1, room)


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
        bint in_place, bint strips, packed_array, int threads):
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
    job.strips = strips
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
