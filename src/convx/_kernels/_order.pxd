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
    vreal v_second(const real*)
    vplace p_second(const place*)
    void v_mix(real*, vreal, vreal)
    vreal v_low(vreal, vreal)
    vreal v_high(vreal, vreal)
    vreal v_evens(vreal, vreal)
    vreal v_odds(vreal, vreal)
    vreal v_next(vreal, vreal)
    vreal v_after(vreal, vreal)
    vreal v_max(vreal, vreal)
    void v_take(vreal*, vplace*, vreal, vplace)
    void v_take_first(vreal*, vplace*, vreal, vplace)
    vreal v_give(vreal, vplace, vplace, vreal)
    vreal v_give_same(vreal, vreal, vreal, vreal)
    vplace p_line(place)
    vreal v_every(const real*, Py_ssize_t)
    vplace p_every(const place*, Py_ssize_t)
    vplace p_part(const place*, Py_ssize_t)
    void p_put(place*, vplace, Py_ssize_t)
