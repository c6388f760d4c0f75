# The names of _real.h. `real` is declared as double so that Python numbers arrive exactly in every row;
# `vreal` too, so that Cython lets vectors be added and multiplied.
cdef extern from "_real.h" nogil:
    ctypedef double real
    ctypedef double vreal
    enum:
        V
        MR
        NS
        ASKS
        TR, TV, LR, LV
    vreal v_load(const real*)
    void v_store(real*, vreal)
    void v_store_even(real*, vreal)
    vreal v_set(real)
    vreal v_keep(vreal)
    const real* p_keep(const real*)
    vreal v_even(vreal, vreal)
    void v_prefetch(const real*)
    void v_prefetch_read(const real*)
    void v_prefetch_far(const real*)
    void v_transpose(real*, Py_ssize_t, const real*, Py_ssize_t)
    void v_transpose_rows(real*, const real*, const Py_ssize_t*)
    void v_copy_permuted(real*, const real*, Py_ssize_t, Py_ssize_t, const Py_ssize_t*)
    void v_copy(real*, const real*, Py_ssize_t)
    void v_store_pair(real*, vreal, vreal)
    void v_store_second(real*, vreal, Py_ssize_t)
    void v_copy_even(real*, const real*, Py_ssize_t)
    real muladd(real, real, real)
    bint spoiled(real)
    bint v_spoiled(vreal)
