# The names of _masks.h.
from _real cimport real, vreal

cdef extern from "_masks.h" nogil:
    enum:
        MASKS
    ctypedef struct vmask:
        pass
    vmask m_between(Py_ssize_t, Py_ssize_t)
    vreal v_where(const real*, vmask, vreal)
    vreal v_some(const real*, vmask)
    void v_at(real*, vreal, vmask)
    vreal v_part(const real*, Py_ssize_t)
    void v_put(real*, vreal, Py_ssize_t)
