"""What the windows of a pooling read: tables, lists of rows, blocks of a row, groups of planes.

The cells under an output are a list of rows (all axes but the inner one) times a run of positions along the inner axis;
absent cells are left out. Tables made once per call hold the runs of every axis, whatever base, stride and rank are.
"""

from libc.stdlib cimport malloc
from _real cimport real
from _nest cimport clip_low, clip_high
from _order cimport place, NOWHERE, LOWEST

cdef extern from "_pool.h" nogil:
    ctypedef struct PoolAxis:
        Py_ssize_t out, taps, size, base, stride, dilation, offset, tap_step, xs, ys, ps
    ctypedef struct PoolPhase:
        Py_ssize_t taps, stride, dilation, start
    ctypedef struct Pool:
        Py_ssize_t n, g, xn, xg, yn, yg, lanes, rank, along_row, tie_by_place, inverse, step, block, width, low, ring
        PoolAxis axis[1]
    ctypedef struct Run:
        Py_ssize_t i, count, step
    const PoolPhase* phases_of(const Pool*)

cdef enum:
    CHUNK = 64  # rows in one list
    GROUP = 16  # planes at a time
    MOST = 64   # axes of an array

ctypedef struct Walk:
    # The rows of one window: a counter over the taps of all axes but the inner one, and the list that it fills.
    const Run* run[MOST]
    Py_ssize_t k[MOST]
    Py_ssize_t total, done, count
    Py_ssize_t at[CHUNK]
    place id[CHUNK]


cdef inline void tabulate(const PoolAxis* a, Run* table) noexcept nogil:
    """What every output reads along an axis: taps k0, k0 + tap_step, ... inside the array."""
    cdef Py_ssize_t o, k, low, high, start, step = a.dilation*a.tap_step // a.base, many
    for o in range(a.out):
        table[o].count = 0
        table[o].i = 0
        table[o].step = step
        k = 0
        while k < a.taps and k < a.tap_step and (a.stride*o + a.dilation*k - a.offset) % a.base != 0:
            k += 1
        if k >= a.taps or k >= a.tap_step:
            continue
        start = (a.stride*o + a.dilation*k - a.offset) // a.base
        many = (a.taps - k + a.tap_step - 1) // a.tap_step
        if step > 0:
            low = clip_low(start, step)
            high = clip_high(start, step, a.size, many)
        else:  # seen from the other end of the axis
            low = clip_low(a.size - 1 - start, -step)
            high = clip_high(a.size - 1 - start, -step, a.size, many)
        if high > low:
            table[o].i = start + low*step
            table[o].count = high - low


cdef inline Run* make_tables(const Pool* pool, const Run** tables) except NULL:
    """One table after another, and where each starts; the caller frees them."""
    cdef Py_ssize_t a, total = 1
    for a in range(pool.rank):
        total += pool.axis[a].out
    cdef Run* found = <Run*>malloc(total*sizeof(Run))
    if found == NULL:
        raise MemoryError("tables of the pool kernel")
    cdef Run* p = found
    for a in range(pool.rank):
        tabulate(&pool.axis[a], p)
        tables[a] = p
        p += pool.axis[a].out
    return found


cdef inline void begin(Walk* walk, const Pool* pool, const Run* const* tables, Py_ssize_t row) noexcept nogil:
    """A window's rows, for output row number `row` of the axes outside."""
    cdef Py_ssize_t a = pool.rank - 2
    walk.total, walk.done = 1, 0
    while a >= 0:
        if a > 0:
            walk.run[a] = tables[a] + row % pool.axis[a].out
            row = row // pool.axis[a].out
        else:
            walk.run[a] = tables[a] + row
        walk.k[a] = 0
        walk.total *= walk.run[a].count
        a -= 1


cdef inline bint more(Walk* walk, const Pool* pool) noexcept nogil:
    """Fill the list with the next rows; whether others are left."""
    cdef Py_ssize_t a, i, at, id
    walk.count = 0
    while walk.count < CHUNK and walk.done < walk.total:
        at = id = 0
        for a in range(pool.rank - 1):
            i = walk.run[a].i + walk.k[a]*walk.run[a].step
            at += i*pool.axis[a].xs
            if a == 0 and pool.ring > 0:
                i %= pool.ring
            id += i*pool.axis[a].ps
        walk.at[walk.count] = at
        walk.id[walk.count] = <place>id
        walk.count += 1
        walk.done += 1
        a = pool.rank - 2
        while a >= 0:
            walk.k[a] += 1
            if walk.k[a] < walk.run[a].count:
                break
            walk.k[a] = 0
            a -= 1
    return walk.done < walk.total


cdef inline Py_ssize_t output_row(const Pool* pool, Py_ssize_t row) noexcept nogil:
    """Where output row number `row` starts in a plane of y."""
    cdef Py_ssize_t a = pool.rank - 2, at = 0
    while a > 0:
        at += row % pool.axis[a].out * pool.axis[a].ys
        row = row // pool.axis[a].out
        a -= 1
    return at + row*pool.axis[0].ys if a == 0 else at


cdef inline Py_ssize_t rows_of(const Pool* pool) noexcept nogil:
    cdef Py_ssize_t a, rows = 1
    for a in range(pool.rank - 1):
        rows *= pool.axis[a].out
    return rows


cdef inline Py_ssize_t blocks_of(const Pool* pool) noexcept nogil:
    cdef Py_ssize_t outs = pool.block*pool.step
    return (pool.axis[pool.rank - 1].out + outs - 1) // outs if pool.along_row else 1


cdef inline Py_ssize_t bands_of(Py_ssize_t planes, Py_ssize_t rows, int threads) noexcept nogil:
    """Into how many bands of rows a plane is cut so that all threads have work."""
    return max(1, min(rows, (4*threads + planes - 1) // max(planes, 1))) if planes < 4*threads else 1


ctypedef struct Part:
    # A block of a row: which outputs, and which positions of x its padded row has: start on, [low, high) in the array.
    Py_ssize_t first, outs, start, low, high


cdef inline void begin_block(const Pool* pool, Py_ssize_t block, Part* part) noexcept nogil:
    cdef const PoolAxis* d = &pool.axis[pool.rank - 1]
    part.first = block*pool.block*pool.step
    part.outs = min(pool.block*pool.step, d.out - part.first)
    part.start = pool.low + block*pool.block*phases_of(pool).stride
    part.low = min(max(part.start, 0), part.start + pool.width)
    part.high = max(min(part.start + pool.width, d.size), part.low)


cdef inline void pad(const Pool* pool, const Part* part, real* scratch, const real value) noexcept nogil:
    """Fill the padding of a padded row; it is the same for all rows of a block."""
    cdef Py_ssize_t j
    for j in range(part.low - part.start):
        scratch[j] = value
    for j in range(part.high - part.start, pool.width):
        scratch[j] = value


cdef inline void pad_places(const Pool* pool, const Part* part, place* ids) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(part.low - part.start):
        ids[j] = NOWHERE
    for j in range(part.high - part.start, pool.width):
        ids[j] = NOWHERE


ctypedef struct Group:
    # Rows that are walked over together: `rows` of them, xs and ys apart, in each of `count` planes, xp and yp apart.
    # One list of rows under a window serves them all, and when a padded row is read, the writes to it have long left
    # the processor's store queue. There are no lists of places here, and inner loops keep what they need in registers:
    # a load from the stack often has the low bits of the address of a store to y before it, and waits for that (20
    # instead of 26 us for 256 planes of 28 x 28 values and windows of 2 x 2).
    Py_ssize_t count, x, y, xp, yp, rows, xs, ys


cdef inline Py_ssize_t group_size(const Pool* pool, int threads) noexcept nogil:
    return max(1, min(GROUP, min(8192 // pool.width, pool.n*pool.g // (2*threads)))) if pool.along_row else 1


cdef inline Py_ssize_t groups_of(const Pool* pool, Py_ssize_t size) noexcept nogil:
    return pool.n*((pool.g + size - 1) // size)


cdef inline void begin_group(const Pool* pool, Py_ssize_t number, Py_ssize_t size, Group* group) noexcept nogil:
    """The same row of (at most) `size` planes."""
    cdef Py_ssize_t each = (pool.g + size - 1) // size, n = number // each, first = number % each * size
    group.count = min(size, pool.g - first)
    group.x, group.xp = n*pool.xn + first*pool.xg, pool.xg
    group.y, group.yp = n*pool.yn + first*pool.yg, pool.yg
    group.rows, group.xs, group.ys = 1, 0, 0


cdef inline void begin_rows(const Pool* pool, const Group* group, const Part* part, real* scratch,
                            place* ids) noexcept nogil:
    """Fill the padding of the padded rows of a group."""
    cdef Py_ssize_t p
    for p in range(group.count):
        pad(pool, part, scratch + p*pool.width, LOWEST)
        pad_places(pool, part, ids + p*pool.width)


cdef inline Py_ssize_t begin_series(const Pool* pool, const Run* const* tables, const real* counts, Py_ssize_t row,
                                    Py_ssize_t end, Group* group) noexcept nogil:
    """How many rows from this one on, before number `end`, have the same window, moved; their steps. counts: what the
    last axis outside is divided by, which is the same for them, or NULL."""
    cdef Py_ssize_t n = 1, o
    cdef const PoolAxis* d
    cdef const Run* t
    group.xs = group.ys = 0
    if pool.rank == 1:
        return 1
    d = &pool.axis[pool.rank - 2]
    o = row % d.out
    t = tables[pool.rank - 2] + o
    end = min(end - row, d.out - o)
    if end < 2:
        return 1
    group.xs, group.ys = (t[1].i - t.i)*d.xs, d.ys
    while n < end and t[n].count == t.count and t[n].i == t.i + n*(t[1].i - t.i) and (
            counts == NULL or counts[o + n] == counts[o]):
        n += 1
    return n
