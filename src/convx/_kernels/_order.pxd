# The names of _order.h. `place` and `vplace` are declared as long so that Cython lets them be added.
from _real cimport real, vreal

cdef extern from "_order.h" nogil:
    ctypedef long place
    ctypedef long vplace
    place NOWHERE "CONVX_NOWHERE"
    real LOWEST "CONVX_LOWEST"
    vplace p_load(const place*)
    void p_store(place*, vplace)
    vplace p_set(place)
    vplace p_line(place)
    vreal v_low(vreal, vreal)
    vreal v_high(vreal, vreal)
    vreal v_evens(vreal, vreal)
    vreal v_odds(vreal, vreal)
    vreal p_bits(vplace)
    vplace v_bits(vreal)
    ctypedef struct vmask:
        pass
    vmask m_between(Py_ssize_t, Py_ssize_t)
    vreal v_where(const real*, vmask, vreal)
    vreal v_some(const real*, vmask)
    void v_at(real*, vreal, vmask)
    vreal v_strided(const real*, Py_ssize_t, Py_ssize_t, Py_ssize_t, vreal)
    void v_scatter(real*, Py_ssize_t, vreal, Py_ssize_t)
    vplace p_where(const place*, vmask)
    void p_at(place*, vplace, vmask)
    vreal v_max(vreal, vreal)
    void v_first(vreal*, vplace*, vreal, vplace)
    void v_placed(vreal*, vplace*, vreal, vplace)
    vreal v_route(vreal, vreal, vplace, vplace)
    vreal v_route_all(vreal, vreal, vplace, vplace)
    vreal v_quotient(vreal, vreal, vreal)
