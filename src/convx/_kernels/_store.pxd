"""How gemm stores tiles that do not go straight into y: they are not whole there, or their columns are no neighbours."""

from _real cimport real, vreal, V, MR, v_load, v_store, v_store_even, v_even, v_set, v_transpose
from _pack cimport offset

cdef extern from "Python.h":
    Py_ssize_t HOLE "PY_SSIZE_T_MIN"  # the place of a column that belongs to no pixel


ctypedef struct Target:
    # Where a tile goes, and what is added to it: y itself, a value per row, or one per column.
    real* row[MR]
    real bias[MR]
    const real* column_bias
    bint add
    int times
    bint check, bad   # look for sums that are not finite before storing; whether there were some (none is stored)


cdef inline void put(const real* tile, Py_ssize_t width, Py_ssize_t rows, Py_ssize_t columns, real* y,
                     const Py_ssize_t* row_at, const Py_ssize_t* column_at, const Target* to) noexcept nogil:
    """What `product` does at its end, for tiles that are not whole: rows are contiguous in y."""
    cdef Py_ssize_t i, j
    cdef real* line
    for i in range(rows):
        line = y + row_at[i] + column_at[0]
        if to.add:
            for j in range(columns):
                line[j] = tile[j] + line[j]
        elif to.column_bias != NULL:
            for j in range(columns):
                line[j] = tile[j] + to.column_bias[j]
        else:
            for j in range(columns):
                line[j] = tile[j] + to.bias[i]
        tile += width


cdef inline Py_ssize_t even(const Py_ssize_t* at, Py_ssize_t count, Py_ssize_t* step) noexcept nogil:
    """How many places, from the first, follow each other at one step."""
    cdef Py_ssize_t n = 1
    step[0] = 1
    if count < 2 or at[1] == HOLE:
        return 1
    step[0] = at[1] - at[0]
    while n < count and at[n] == at[0] + n*step[0]:
        n += 1
    return n


cdef inline vreal sum_of(const real* p, real init, bint add, const real* line, const int step) noexcept nogil:
    """V values of a tile and what is added to them: init, or what is there, `step` apart."""
    if not add:
        return v_load(p) + v_set(init)
    if step == 1:
        return v_load(p) + v_load(line)
    return v_load(p) + v_even(v_load(line), v_load(line + V - 1))


cdef inline void put_run(const real* p, Py_ssize_t run, real init, bint add, real* line, const int step) noexcept nogil:
    """At least V neighbours of a row, which lie `step` (1 or 2) apart in y; the last vector overlaps the one before."""
    cdef vreal last = sum_of(p + run - V, init, add, line + (run - V)*step, step)
    cdef vreal sums
    cdef Py_ssize_t j = 0
    while j < run - V:
        sums = sum_of(p + j, init, add, line + j*step, step)
        if step == 1:
            v_store(line + j, sums)
        else:
            v_store_even(line + 2*j, sums)
        j += V
    if step == 1:
        v_store(line + run - V, last)
    else:
        v_store_even(line + 2*(run - V), last)


cdef inline void scatter(const real* tile, Py_ssize_t width, Py_ssize_t rows, Py_ssize_t columns, real* y,
                         const Py_ssize_t* row_at, const Py_ssize_t* column_at, const real* bias,
                         const Target* to) noexcept nogil:
    """`put` where columns need not be neighbours in y: they are mostly some even steps apart. bias: one a row, or NULL.
    """
    cdef Py_ssize_t i, j, run, step, first = 0
    cdef const real* p
    cdef real* line
    cdef real init
    while first < columns:
        if column_at[first] == HOLE:
            first += 1
            continue
        run = even(column_at + first, columns - first, &step)
        for i in range(rows):
            init = 0 if bias == NULL else bias[i]
            p = tile + i*width + first
            line = y + row_at[i] + column_at[first]
            if to.column_bias != NULL and not to.add:
                for j in range(run):
                    line[j*step] = p[j] + to.column_bias[first + j]
            elif run >= V and step == 1:
                put_run(p, run, init, to.add, line, 1)
            elif run >= V and step == 2:
                put_run(p, run, init, to.add, line, 2)
            elif to.add:
                for j in range(run):
                    line[j*step] = p[j] + line[j*step]
            else:
                for j in range(run):
                    line[j*step] = p[j] + init
        first += run


cdef inline void put_lane(const real* sums, const int count, real* line, const real* bias, real init,
                          bint add) noexcept nogil:
    """One column of a tile, whose values are neighbours in y. bias: one a row, or NULL."""
    cdef int i
    if count == V:
        v_store(line, v_load(sums) + (v_load(line) if add else v_set(init) if bias == NULL else v_load(bias)))
        return
    for i in range(count):
        line[i] = sums[i] + (line[i] if add else init if bias == NULL else bias[i])


cdef inline void put_turned(const real* tile, Py_ssize_t width, Py_ssize_t rows, Py_ssize_t columns, real* y,
                            const Py_ssize_t* row_at, const Py_ssize_t* column_at, const real* bias,
                            const Target* to) noexcept nogil:
    """`scatter` where rows are mostly neighbours in y: squares of V x V are turned in registers.

    A tile of MR rows may be less than a square: there must be room for V of them, whatever they hold.
    """
    cdef Py_ssize_t i = 0, j, run, step
    cdef real square[V*V]
    cdef real* line
    cdef real init
    while i < rows:
        run = even(row_at + i, min(rows - i, <Py_ssize_t>V), &step)
        if step != 1 or (run < V and run < MR):
            scatter(tile + i*width, width, run, columns, y, row_at + i, column_at, offset(bias, i), to)
            i += run
            continue
        for j in range(columns):
            if j % V == 0:
                v_transpose(square, V, tile + i*width + j, width)
            if column_at[j] == HOLE:
                continue
            line = y + row_at[i] + column_at[j]
            init = 0 if to.column_bias == NULL else to.column_bias[j]
            if run >= V:
                put_lane(square + j % V*V, V, line, offset(bias, i), init, to.add)
            else:
                put_lane(square + j % V*V, MR, line, offset(bias, i), init, to.add)
        i += V if run >= V else MR
