"""The nest as kernels see it, and the inline functions that every kernel shares."""

from libc.stdint cimport int64_t
from _real cimport real, muladd
from _stored cimport bytes_of, read_one

cdef extern from "_nest.h" nogil:
    ctypedef struct Window:
        Py_ssize_t out, taps, size, stride, dilation, offset, boundary
        Py_ssize_t xs, ws, wo, ys
    ctypedef struct Nest:
        Py_ssize_t n, g, c, m
        Py_ssize_t xn, xg, xc, wg, wm, wc, yn, yg, ym
        Py_ssize_t x0, w0, y0
        Window axis[3]

cdef extern from "Python.h":
    int PyBUF_STRIDES
    int PyObject_GetBuffer(object, Py_buffer*, int) except -1
    void PyBuffer_Release(Py_buffer*)
    char* PyBytes_AS_STRING(object)

cdef extern from "numpy/arrayobject.h":
    ctypedef struct PyArrayObject
    void** PyArray_API
    int _import_array() except -1
    bint PyArray_Check(object)
    void* PyArray_DATA(PyArrayObject*)

cdef enum:  # the order of _geometry.BOUNDARIES
    CONSTANT, EDGE, REFLECT, SYMMETRIC, WRAP


cdef inline real* address(object array) except NULL:
    """The first element of an array (or of a NumPy scalar) that the caller keeps alive."""
    cdef Py_buffer view
    cdef real* p
    if PyArray_API == NULL:
        _import_array()
    if PyArray_Check(array):  # a tenth of the time of a buffer
        return <real*>PyArray_DATA(<PyArrayObject*>array)
    PyObject_GetBuffer(array, &view, PyBUF_STRIDES)
    p = <real*>view.buf
    PyBuffer_Release(&view)
    return p


cdef inline Py_ssize_t locate(const Window* a, Py_ssize_t i) noexcept nogil:
    """The index that position i reads; -1 where it reads nothing (or cval)."""
    cdef Py_ssize_t period
    if 0 <= i < a.size:
        return i
    if a.boundary == CONSTANT:
        return -1
    if a.boundary == EDGE:
        return 0 if i < 0 else a.size - 1
    period = a.size
    if a.boundary == REFLECT:
        period = 2*a.size - 2
    elif a.boundary == SYMMETRIC:
        period = 2*a.size
    if period == 0:
        return 0
    i = i % period
    if i < 0:
        i += period
    if i < a.size:
        return i
    return period - i - (1 if a.boundary == SYMMETRIC else 0)


cdef inline Py_ssize_t clip_low(Py_ssize_t start, Py_ssize_t step) noexcept nogil:
    """The first j >= 0 with start + step*j >= 0."""
    return 0 if start >= 0 else (step - 1 - start) // step


cdef inline Py_ssize_t clip_high(Py_ssize_t start, Py_ssize_t step, Py_ssize_t size, Py_ssize_t count) noexcept nogil:
    """One past the last j < count with start + step*j < size (0 if there is none)."""
    if start >= size:
        return 0
    return min(count, (size - 1 - start) // step + 1)


ctypedef struct Box:
    # A part of the inner sum: first and one-past-last channel, and taps of each axis.
    Py_ssize_t c0, c1
    Py_ssize_t k0[3]
    Py_ssize_t k1[3]


cdef inline void whole(const Nest* nest, Box* box) noexcept nogil:
    """The box of all channels and taps."""
    cdef int a
    box.c0, box.c1 = 0, nest.c
    for a in range(3):
        box.k0[a], box.k1[a] = 0, nest.axis[a].taps


cdef inline real exact(const Nest* nest, const Box* box, const real* x, const real* w, Py_ssize_t o0, Py_ssize_t o1,
                       Py_ssize_t o2, real total, real cval) noexcept nogil:
    """total plus one output (its part in the box) by the definition: a tap that reads nothing is left out. x, w: at
    this batch, group and output channel, channel 0, tap 0."""
    return exact_of(nest, box, <const char*>x, 0, w, o0, o1, o2, total, cval)


cdef inline real exact_of(const Nest* nest, const Box* box, const char* x, const int64_t type, const real* w,
                          Py_ssize_t o0, Py_ssize_t o1, Py_ssize_t o2, real total, real cval) noexcept nogil:
    """`exact` with an x of a stored type."""
    cdef const Window* a = &nest.axis[0]
    cdef const Window* b = &nest.axis[1]
    cdef const Window* d = &nest.axis[2]
    cdef Py_ssize_t k0, k1, k2, i0, i1, i2, c, at, x_at
    w = w + o0*a.wo + o1*b.wo + o2*d.wo
    for k0 in range(box.k0[0], box.k1[0]):
        i0 = locate(a, a.stride*o0 + a.dilation*k0 - a.offset)
        for k1 in range(box.k0[1], box.k1[1]):
            i1 = locate(b, b.stride*o1 + b.dilation*k1 - b.offset)
            for k2 in range(box.k0[2], box.k1[2]):
                i2 = locate(d, d.stride*o2 + d.dilation*k2 - d.offset)
                at = k0*a.ws + k1*b.ws + k2*d.ws
                if i0 < 0 or i1 < 0 or i2 < 0:
                    if cval != 0:
                        for c in range(box.c0, box.c1):
                            total = muladd(cval, w[at + c*nest.wc], total)
                else:
                    x_at = i0*a.xs + i1*b.xs + i2*d.xs
                    for c in range(box.c0, box.c1):
                        total = muladd(read_one(x + (x_at + c*nest.xc)*bytes_of(type), type), w[at + c*nest.wc], total)
    return total
