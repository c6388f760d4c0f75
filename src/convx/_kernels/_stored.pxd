# The names of _stored.h.
from libc.stdint cimport int64_t
from _real cimport real, vreal

cdef extern from "_stored.h" nogil:
    ctypedef struct Stored:
        int64_t x, y
        double divisor, offset
    bint STORES_HALF
    enum:
        SINGLE, BYTE, WORD, SHORT
    void write_rows(char*, Py_ssize_t, Py_ssize_t, const real*, Py_ssize_t, Py_ssize_t, Py_ssize_t, real, int64_t)
    void v_store_as(char*, vreal, const int64_t)
    real read_one(const char*, int64_t)
    void read_run(real*, const char*, Py_ssize_t, Py_ssize_t, int64_t)
    void write_run(char*, Py_ssize_t, Py_ssize_t, const real*, Py_ssize_t, real, const Stored*)


cdef inline Py_ssize_t bytes_of(int64_t type) noexcept nogil:
    """The size of a value of a stored type."""
    return type % 16 if type else <Py_ssize_t>sizeof(real)
