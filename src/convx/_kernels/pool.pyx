"""Windows combined: their sum, their largest value and where it is, and the gradient of the largest.

The sum:       y[n, g, o] = sum or max over k of x[n, g, i(o, k)]; there are no weights and no sum over channels
The schedule:  axis by axis (`_stage.pxd`), as a sum over a box is a sum of sums over its edges. What one stage leaves
               the next one reads from scratch: a group of planes, or a band of one, that stays in the cache. Tables made
               once per call say what each output reads along an axis, absent cells left out.
Gradient:      the stages that find the largest values leave what they found in each as marks; the stages of the
               role swap, in reverse order, pass dy on where the marks agree. What one found is one cell for every output
               of the next that reads it, so the mark of a stage and the next one's tell all.
Bits:          every output is folded along its own runs, whatever planes, bands and vectors it is done with.
Assumes:       the lanes, or the last axis, have stride 1 in x and y; places fit a `place`.
"""

from libc.stdlib cimport malloc, free
from cython.parallel cimport prange, threadid
from _real cimport real, V
from _nest cimport address, clip_low, clip_high, PyBytes_AS_STRING
from _order cimport place
from _stage cimport (
    SUM, MAX, FIRST, PLACED, ROUTE, ROUTE_KEY, ROUTE_ALL, X, MARK, Y, KEY, ID, MOST, Pool, PoolAxis, PoolPhase, Run,
    phases_of, Stage, lane_stage,
)
from _along cimport along_stage

LANES = V

cdef enum:
    NONE = -2  # no axis; -1 stands for the planes
    ROOM = 1 << 13  # values of scratch of a thread, if it can be: with what it reads and writes in the second cache

ctypedef struct Field:
    # Where the cells of an array lie: strides of planes and axes, and how far before the array index 0 of axis 0 is.
    Py_ssize_t plane, ahead
    Py_ssize_t step[MOST]

ctypedef struct Band:
    # Indices along the first axis: of the cells and of the outputs of a pooling.
    Py_ssize_t x_low, x_high, y_low, y_high

ctypedef struct Cut:
    # Tasks: `groups` times `planes` planes of an image, and `bands` of the first axis of outputs, in steps of `grain`.
    Py_ssize_t planes, groups, bands, grain, tasks

ctypedef struct Task:
    # Arrays before the first stage, between the stages, and after the last, with their marks.
    Py_ssize_t planes
    real* value[MOST + 1]
    place* mark[MOST + 1]
    Field value_field[MOST + 1]
    Field mark_field[MOST + 1]


# Tables ---------------------------------------------------------------------------------------------------------------

cdef void tabulate(const PoolAxis* a, Run* table) noexcept nogil:
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


cdef Run* make_tables(const Pool* pool, const Run** tables) except NULL:
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


cdef void reads_of(const Pool* pool, const Run* table, Py_ssize_t low, Py_ssize_t high, Py_ssize_t* start,
                   Py_ssize_t* stop) noexcept nogil:
    """Between which indices of the first axis outputs low .. high - 1 read."""
    cdef Py_ssize_t o, last
    start[0], stop[0] = low, high
    if pool.axis[0].turn < 0:
        return
    start[0], stop[0] = pool.axis[0].size, 0
    for o in range(low, high):
        if table[o].count > 0:
            last = table[o].i + (table[o].count - 1)*table[o].step
            start[0] = min(start[0], min(table[o].i, last))
            stop[0] = max(stop[0], max(table[o].i, last) + 1)
    start[0] = min(start[0], stop[0])


# Arrays ---------------------------------------------------------------------------------------------------------------

cdef Py_ssize_t lay(const Pool* pool, Py_ssize_t turn, const Band* band, Field* f) noexcept nogil:
    """The field of a scratch array before this turn; the cells of a plane."""
    cdef const PoolAxis* d
    cdef Py_ssize_t a = pool.rank - 1, step = pool.lanes
    cdef bint done
    while a >= 0:
        d = &pool.axis[a]
        done = 0 <= d.turn < turn
        f.step[a] = step
        if a > 0:
            step *= d.out if done else d.size
        else:
            f.ahead = step*(band.y_low if done else band.x_low)
            step *= band.y_high - band.y_low if done else band.x_high - band.x_low
        a -= 1
    f.plane = step
    return step


cdef void lay_outside(const Pool* pool, Field* x, Field* y) noexcept nogil:
    cdef Py_ssize_t a
    x.plane, y.plane, x.ahead, y.ahead = pool.xg, pool.yg, 0, 0
    for a in range(pool.rank):
        x.step[a] = pool.axis[a].xs
        y.step[a] = pool.axis[a].ys


cdef inline Py_ssize_t hop_of(const Field* f, Py_ssize_t axis) noexcept nogil:
    return f.plane if axis < 0 else f.step[axis]


# Stages ---------------------------------------------------------------------------------------------------------------

cdef void nest(const Pool* pool, Stage* s, Py_ssize_t axis, Py_ssize_t turn, Py_ssize_t planes, const Band* band,
               const Field** fields, const real** factors, bint counts_ids, Py_ssize_t partner) noexcept nogil:
    """The loops of a stage along `axis`: planes and the other axes, those that lie in one line in all arrays as one;
    the last ones become lanes where they can. partner: the axis that is combined too, the last loop; or NONE."""
    cdef Py_ssize_t b, count, low, last = pool.rank - 1, d = -1
    cdef Py_ssize_t hop[5]
    cdef int role
    cdef bint same, done
    s.n, s.id_hop, s.across, s.own = pool.lanes, 0, NULL, factors[axis]
    s.varied = factors[axis] != NULL
    for role in range(4):
        s.hop[role] = fields[role].step[axis]
    s.hop[ID] = pool.axis[axis].id
    while last >= 0 and last != axis and last != partner and not (pool.lanes > 1 and (counts_ids or s.varied)):
        same = last > 0 and not (s.n > pool.lanes and (counts_ids or s.varied))
        for role in range(4):
            same = same and fields[role].step[last] == s.n
        if not same:
            break
        s.across = factors[last]
        s.id_hop = pool.axis[last].id
        s.n *= pool.axis[last].out if 0 <= pool.axis[last].turn < turn else pool.axis[last].size
        last -= 1
    s.loops.rank = 0
    for b in range(-1, last + 1):
        if b == axis:
            continue
        if b < 0:
            count, low = planes, 0
        else:
            done = 0 <= pool.axis[b].turn < turn
            done = done or b == partner
            count, low = pool.axis[b].out if done else pool.axis[b].size, 0
            if b == 0:
                low = band.y_low if done else band.x_low
                count = (band.y_high if done else band.x_high) - low
        same = d >= 0 and not s.varied and b != partner
        for role in range(4):
            hop[role] = hop_of(fields[role], b)
            same = same and s.loops.hop[d][role] == count*hop[role]
        hop[ID] = pool.axis[b].id if b >= 0 else 0
        same = same and (s.loops.hop[d][ID] == count*hop[ID] or not counts_ids)
        if same:
            s.loops.count[d] *= count
        else:
            d += 1
            s.loops.count[d] = count
            s.loops.factors[d] = factors[b] + low if b >= 0 and factors[b] != NULL else NULL
        if b == partner:
            s.partner, s.partner_hop, hop[X] = s.partner + low, hop[X], 0
        for role in range(5):
            s.loops.hop[d][role] = hop[role]
        if b == 0:  # the cursor starts at the band
            s.x += low*hop[X]
            s.mark += low*hop[MARK]
            s.y += low*hop[Y]
            s.key += low*hop[KEY]
            s.id0 += low*hop[ID]
    s.loops.rank = d + 1


cdef inline void by(const Stage* s, bint along, const int op) noexcept nogil:
    if not along:
        lane_stage(s, op)
    elif s.phases == 1 and s.phase.stride == 1:
        along_stage(s, op, 1, 1)
    elif s.phases == 1 and s.phase.stride == 2:
        along_stage(s, op, 2, 1)
    elif s.phases == 2 and s.phase.stride == 1 and (op == SUM or op >= ROUTE):  # the swap of a stride of 2
        along_stage(s, op, 1, 2)
    else:
        along_stage(s, op, 0, 0)


cdef void work(const Stage* s, bint along, int op) noexcept nogil:
    if op == SUM:
        by(s, along, SUM)
    elif op == MAX:
        by(s, along, MAX)
    elif op == FIRST:
        by(s, along, FIRST)
    elif op == PLACED:
        by(s, along, PLACED)
    elif op == ROUTE:
        by(s, along, ROUTE)
    elif op == ROUTE_KEY:
        by(s, along, ROUTE_KEY)
    else:
        by(s, along, ROUTE_ALL)


cdef Py_ssize_t axis_of(const Pool* pool, Py_ssize_t turn, Py_ssize_t before) noexcept nogil:
    """The last axis of this turn before axis number `before`, or NONE."""
    cdef Py_ssize_t a = before - 1
    while a >= 0 and pool.axis[a].turn != turn:
        a -= 1
    return a if a >= 0 else NONE


cdef void stage(const Pool* pool, const Run* const* tables, const Task* t, const Band* band, Py_ssize_t turn,
                Py_ssize_t source, Py_ssize_t target, const real* counts, int op) noexcept nogil:
    """The stage along the axis of this turn, from the arrays number `source` to those number `target`."""
    cdef Stage s
    cdef const Field* fields[4]
    cdef const real* factors[MOST]
    cdef Py_ssize_t axis = axis_of(pool, turn, pool.rank), partner = axis_of(pool, turn, axis), a
    cdef const PoolAxis* d = &pool.axis[axis]
    cdef bint along = pool.along and axis == pool.rank - 1
    cdef bint marked = op >= PLACED, keyed = op in (FIRST, PLACED, ROUTE_KEY, ROUTE_ALL)
    fields[X], fields[Y] = &t.value_field[source], &t.value_field[target]
    fields[MARK] = &t.mark_field[source] if marked else fields[X]
    fields[KEY] = &t.mark_field[target] if keyed else fields[Y]
    s.x = t.value[source] - fields[X].ahead
    s.y = t.value[target] - fields[Y].ahead
    s.mark = t.mark[source] - fields[MARK].ahead if marked else <const place*>s.x
    s.key = t.mark[target] - fields[KEY].ahead if keyed else <place*>s.y
    s.id0 = 0
    s.divided, s.inverse, s.times, s.over = counts != NULL, pool.inverse, 1, 1
    for a in range(pool.rank):
        factors[a] = NULL
        if counts != NULL and pool.counts == 2:
            factors[a] = counts
            counts += pool.axis[a].out
    if counts != NULL and pool.counts == 1:
        s.times = counts[0]
        s.over = 1/counts[0]
    s.table, s.phase, s.phases = tables[axis], phases_of(pool), pool.phases
    s.low, s.high, s.x_low, s.x_high = 0, d.out, 0, d.size
    if axis == 0:
        s.low, s.high, s.x_low, s.x_high = band.y_low, band.y_high, band.x_low, band.x_high
    s.partner, s.partner_hop = tables[partner] if partner >= 0 else NULL, 0
    nest(pool, &s, axis, turn, t.planes, band, fields, factors, op == FIRST or op == ROUTE, partner)
    if along:
        s.across = s.own
    work(&s, along, op)


cdef void stages(const Pool* pool, const Run* const* tables, const Task* t, const Band* band, const real* counts,
                 int op) noexcept nogil:
    """All of them; op: of the first (of the later ones, PLACED follows FIRST). Sums are divided in the last."""
    cdef Py_ssize_t turn
    for turn in range(pool.turns):
        stage(pool, tables, t, band, turn, turn, turn + 1, counts if turn == pool.turns - 1 else NULL,
              PLACED if op == FIRST and turn > 0 else op)


# Tasks ----------------------------------------------------------------------------------------------------------------

cdef Py_ssize_t scratch(const Pool* pool, const Band* band, Py_ssize_t last) noexcept nogil:
    """Cells of a plane's arrays after the turns 1 .. last."""
    cdef Field field
    cdef Py_ssize_t turn, total = 0
    for turn in range(1, last + 1):
        total += lay(pool, turn, band, &field)
    return total


cdef void cut(const Pool* pool, Py_ssize_t cells, int threads, Cut* c) noexcept nogil:
    """Into groups of planes, or bands of one, so that scratch (`cells` a plane) stays in the cache and all threads have
    work."""
    cdef const PoolAxis* d = &pool.axis[0]
    cdef Py_ssize_t spread = d.dilation if d.dilation > 0 else -d.dilation
    cdef Py_ssize_t reach = min(d.out, d.taps*spread//d.stride + 1) if d.turn >= 0 else 1
    cdef Py_ssize_t rows = d.out
    c.grain = 64*pool.phases if pool.along and pool.rank == 1 else 1
    cells = max(cells, <Py_ssize_t>1)
    c.planes = max(<Py_ssize_t>1, min(pool.g, min(ROOM // cells, pool.n*pool.g // (4*threads))))
    c.groups = (pool.g + c.planes - 1) // c.planes
    if cells > ROOM:
        rows = min(rows, max(rows*ROOM // cells, 4*reach))
    if threads > 1 and pool.n*c.groups < 4*threads:
        rows = min(rows, max(d.out*pool.n*c.groups // (4*threads), reach))
    rows = (max(rows, <Py_ssize_t>1) + c.grain - 1) // c.grain * c.grain
    c.bands = (d.out + rows - 1) // rows
    c.tasks = pool.n*c.groups*c.bands


cdef Band* make_bands(const Pool* pool, const Run* table, const Cut* c) except NULL:
    """What every band of outputs reads; the caller frees them."""
    cdef Py_ssize_t b
    cdef Band* bands = <Band*>malloc(c.bands*sizeof(Band))
    if bands == NULL:
        raise MemoryError("bands of the pool kernel")
    for b in range(c.bands):
        bands[b].y_low = bands[b - 1].y_high if b > 0 else 0
        bands[b].y_high = min((pool.axis[0].out*(b + 1) // c.bands + c.grain - 1) // c.grain * c.grain, pool.axis[0].out)
        reads_of(pool, table, bands[b].y_low, bands[b].y_high, &bands[b].x_low, &bands[b].x_high)
    return bands


cdef inline void whole(const Pool* pool, Band* band) noexcept nogil:
    band.x_low, band.x_high, band.y_low, band.y_high = 0, pool.axis[0].size, 0, pool.axis[0].out


cdef void begin_task(const Pool* pool, const Cut* c, Py_ssize_t number, const Band* band, Py_ssize_t last, real* values,
                     place* marks, const real* x, Py_ssize_t* y, Task* t) noexcept nogil:
    """Its planes, their scratch arrays and what they read (t.value[0]); y: the first element of the planes in y."""
    cdef Py_ssize_t turn, size, image = number // c.bands // c.groups, g = number // c.bands % c.groups * c.planes
    t.planes = min(c.planes, pool.g - g)
    t.value[0] = <real*>x + image*pool.xn + g*pool.xg
    y[0] = image*pool.yn + g*pool.yg
    lay_outside(pool, &t.value_field[0], &t.value_field[pool.turns])
    t.mark_field[pool.turns] = t.value_field[pool.turns]
    for turn in range(1, last + 1):
        size = lay(pool, turn, band, &t.value_field[turn])*t.planes
        t.mark_field[turn] = t.value_field[turn]
        t.value[turn], t.mark[turn] = values, marks
        values += size
        marks += size


cdef void values_task(const Pool* pool, const Run* const* tables, const Cut* c, Py_ssize_t number, const Band* bands,
                      real* scratch, place* marks, const real* x, real* y, place* at, const real* counts,
                      int op) noexcept nogil:
    cdef Task t
    cdef const Band* band = bands + number % c.bands
    cdef Py_ssize_t to
    begin_task(pool, c, number, band, pool.turns - 1, scratch, marks, x, &to, &t)
    t.value[pool.turns] = y + to
    t.mark[pool.turns] = at + to
    stages(pool, tables, &t, band, counts, op)


cdef void forward(const Pool* pool, const real* x, real* y, place* at, const real* counts, int op, int threads) except *:
    """y, and with FIRST the places; counts: NULL, or what sums are divided by."""
    cdef const Run* tables[MOST]
    cdef Band all
    cdef Cut c
    cdef Py_ssize_t t, size = 0
    cdef Run* made = make_tables(pool, tables)
    whole(pool, &all)
    cut(pool, max(scratch(pool, &all, pool.turns - 1), scratch(pool, &all, pool.turns) // 2), threads, &c)
    cdef Band* bands = NULL
    cdef real* room = NULL
    try:
        bands = make_bands(pool, tables[0], &c)
        for t in range(c.bands):
            size = max(size, c.planes*scratch(pool, bands + t, pool.turns - 1))
        room = <real*>malloc((2*size*threads + 1)*sizeof(real))
        if room == NULL:
            raise MemoryError("scratch of the pool kernel")
        for t in prange(c.tasks, nogil=True, num_threads=threads, schedule='static'):
            values_task(pool, tables, &c, t, bands, room + 2*size*threadid(), <place*>(room + 2*size*threadid() + size),
                        x, y, at, counts, op)
    finally:
        free(room)
        free(bands)
        free(made)


def values(x_array, y_array, pool_bytes, counts_array, bint largest, int threads):
    """y of a pooling. counts_array: None, or what the sums are divided by."""
    cdef const real* counts = NULL
    if counts_array is not None:
        counts = address(counts_array)
    forward(<const Pool*>PyBytes_AS_STRING(pool_bytes), address(x_array), address(y_array), NULL, counts,
            MAX if largest else SUM, threads)


def places(x_array, y_array, places_array, pool_bytes, int threads):
    """y of a max pooling and where it was found, as wide as y's values."""
    forward(<const Pool*>PyBytes_AS_STRING(pool_bytes), address(x_array), address(y_array),
            <place*>address(places_array), NULL, FIRST, threads)


cdef void gradient_task(const Pool* pool, const Pool* back, const Run* const* tables, const Run* const* back_tables,
                        const Cut* c, Py_ssize_t number, const Band* band, const Band* back_band, real* scratch,
                        place* marks, const real* x, const real* dy, real* dx, bint ties_all) noexcept nogil:
    """Forward over what the band of dx hangs on, and back."""
    cdef Task t
    cdef Py_ssize_t turn, last = pool.turns, to
    begin_task(pool, c, number, band, last, scratch, marks, x, &to, &t)
    if ties_all:  # the marks are values
        for turn in range(1, last + 1):
            t.value[turn] = <real*>t.mark[turn]
        stages(pool, tables, &t, band, NULL, MAX)
        for turn in range(1, last):
            t.value[turn] = scratch + (<real*>t.mark[turn] - <real*>marks)
        t.mark[0] = <place*>t.value[0]
    else:
        stages(pool, tables, &t, band, NULL, FIRST)
    t.value[0] = dx + (t.value[0] - <real*>x)
    t.mark_field[0] = t.value_field[0]
    lay_outside(back, &t.value_field[last], &t.value_field[0])
    t.value[last] = <real*>dy + to
    for turn in range(last):
        stage(back, back_tables, &t, back_band, turn, last - turn, last - turn - 1, NULL,
              ROUTE_ALL if ties_all else ROUTE if turn == last - 1 else ROUTE_KEY)


def gradient(x_array, dy_array, dx_array, pool_bytes, back_bytes, bint ties_all, int threads):
    """dx: dy where x is the largest of its window, 0 elsewhere; it lies in memory as x does. back_bytes: the pooling
    from y to x, its turns in reverse order."""
    cdef const Pool* pool = <const Pool*>PyBytes_AS_STRING(pool_bytes)
    cdef const Pool* back = <const Pool*>PyBytes_AS_STRING(back_bytes)
    cdef const real* x = address(x_array)
    cdef const real* dy = address(dy_array)
    cdef real* dx = address(dx_array)
    cdef const Run* tables[MOST]
    cdef const Run* back_tables[MOST]
    cdef Band all
    cdef Cut c
    cdef Py_ssize_t t, size = 0
    cdef Run* made = NULL
    cdef Run* back_made = NULL
    cdef Band* bands = NULL
    cdef Band* back_bands = NULL
    cdef real* room = NULL
    whole(pool, &all)
    cut(back, 2*scratch(pool, &all, pool.turns), threads, &c)
    try:
        made = make_tables(pool, tables)
        back_made = make_tables(back, back_tables)
        back_bands = make_bands(back, back_tables[0], &c)
        bands = make_bands(back, back_tables[0], &c)
        for t in range(c.bands):
            bands[t].y_low, bands[t].y_high = back_bands[t].x_low, back_bands[t].x_high
            reads_of(pool, tables[0], bands[t].y_low, bands[t].y_high, &bands[t].x_low, &bands[t].x_high)
            bands[t].x_low = min(bands[t].x_low, back_bands[t].y_low)
            bands[t].x_high = max(bands[t].x_high, back_bands[t].y_high)
            size = max(size, c.planes*scratch(pool, bands + t, pool.turns))
        room = <real*>malloc((2*size*threads + 1)*sizeof(real))
        if room == NULL:
            raise MemoryError("scratch of the pool kernel")
        for t in prange(c.tasks, nogil=True, num_threads=threads, schedule='static'):
            gradient_task(pool, back, tables, back_tables, &c, t, bands + t % c.bands, back_bands + t % c.bands,
                          room + 2*size*threadid(), <place*>(room + 2*size*threadid() + size), x, dy, dx, ties_all)
    finally:
        free(room)
        free(bands)
        free(back_bands)
        free(made)
        free(back_made)
