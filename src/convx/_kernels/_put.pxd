"""Results of the stencil kernel from planes in scratch: turned, in steps, one by one, or as they are stored."""

from _real cimport real, vreal, V, v_load, v_store, v_set, v_copy, v_transpose, v_store_second, v_store_pair
from _masks cimport m_between, v_at, v_put
from _order cimport v_low, v_high
from _nest cimport Nest, Window
from _stored cimport bytes_of, write_run, write_rows
from _stencil cimport Job


cdef inline void put_rows(const real* p, Py_ssize_t p_row, Py_ssize_t rows, Py_ssize_t columns, real add, real* y,
                          Py_ssize_t y_row) noexcept nogil:
    cdef Py_ssize_t i, j
    for i in range(rows):
        j = 0
        while j + V <= columns:
            v_store(y + j, v_load(p + j) + v_set(add))
            j += V
        if j < columns:
            v_put(y + j, v_load(p + j) + v_set(add), columns - j)
        p += p_row
        y += y_row


cdef inline void put(const Job* job, const real* planes, char* y, Py_ssize_t g, Py_ssize_t groups, Py_ssize_t rows,
                     Py_ssize_t columns) noexcept nogil:
    """y from planes in scratch: turned where its channels are neighbours, else one by one."""
    cdef const Nest* nest = job.nest
    cdef const Window* a = &nest.axis[1]
    cdef const Window* b = &nest.axis[2]
    cdef Py_ssize_t i, j, k, c, d, p, q, at, wide, high, count = groups*nest.m
    cdef Py_ssize_t size = bytes_of(job.stored.y)
    cdef real square[V*V]
    cdef real init[V]
    cdef real* to
    cdef const real* part
    cdef real add
    if job.beside:
        for q in range((count + V - 1) // V):
            c = q*V
            high = min(<Py_ssize_t>V, count - c)
            for k in range(V):
                init[k] = -0.0 if job.bias == NULL or k >= high else job.bias[g*nest.m + c + k]
            for i in range(rows):
                for p in range((columns + V - 1) // V):
                    j = p*V
                    wide = min(<Py_ssize_t>V, columns - j)
                    v_transpose(square, V, planes + c*job.y_plane + i*job.y_row + j, job.y_plane)
                    to = <real*>y + c + i*a.ys + j*b.ys
                    for k in range(wide):
                        if high == V:
                            v_store(to, v_load(square + k*V) + (v_load(init) if job.first else v_load(to)))
                        elif job.first:
                            v_store(square + k*V, v_load(square + k*V) + v_load(init))
                            v_copy(to, square + k*V, high)
                        else:
                            for d in range(high):
                                to[d] += square[k*V + d]
                        to += b.ys
        return
    for c in range(count):
        add = -0.0 if job.bias == NULL else job.bias[g*nest.m + c]
        if job.picture:
            write_rows(y + (c // nest.m*nest.yg + c % nest.m*nest.ym)*size, a.ys*size, size, planes + c*job.y_plane,
                       job.y_row, rows, columns, add, job.stored.y)
            continue
        if b.ys == 1 and job.first and not job.finished:
            put_rows(planes + c*job.y_plane, job.y_row, rows, columns, add,
                     <real*>y + c // nest.m*nest.yg + c % nest.m*nest.ym, a.ys)
            continue
        for i in range(rows):
            part = planes + c*job.y_plane + i*job.y_row
            at = c // nest.m*nest.yg + c % nest.m*nest.ym + i*a.ys
            to = <real*>y + at
            j = 0
            if job.finished:
                write_run(y + at*size, b.ys, size, part, columns, add, &job.stored)
            elif b.ys == 2 and job.first:
                while j < columns:
                    v_store_second(to + 2*j, v_load(part + j) + v_set(add), min(<Py_ssize_t>V, columns - j))
                    j += V
            elif job.first:
                for j in range(columns):
                    to[j*b.ys] = part[j] + add
            else:
                for j in range(columns):
                    to[j*b.ys] += part[j]


cdef inline void put_pair(const Job* even, const real* planes, const real* odd_planes, char* y, Py_ssize_t g,
                          Py_ssize_t groups, Py_ssize_t rows, Py_ssize_t columns, Py_ssize_t odd_columns) noexcept nogil:
    """`put` for columns of two jobs in turn, as many of them or one more of `even`."""
    cdef const Nest* nest = even.nest
    cdef Py_ssize_t c, i, j, at, left
    cdef vreal a, b
    cdef real add
    cdef real* to
    for c in range(groups*nest.m):
        add = -0.0 if even.bias == NULL else even.bias[g*nest.m + c]
        for i in range(rows):
            to = <real*>y + c // nest.m*nest.yg + c % nest.m*nest.ym + i*nest.axis[1].ys
            at = c*even.y_plane + i*even.y_row
            j = 0
            left = columns + odd_columns
            while left > 0:
                a, b = v_load(planes + at + j) + v_set(add), v_load(odd_planes + at + j) + v_set(add)
                if left >= 2*V:
                    v_store_pair(to + 2*j, a, b)
                else:
                    v_at(to + 2*j, v_low(a, b), m_between(0, left))
                    v_at(to + 2*j + V, v_high(a, b), m_between(0, left - V))
                j, left = j + V, left - 2*V
