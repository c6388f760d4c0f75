"""Which instruction rows this CPU runs, and what OpenMP this build has."""

cdef extern from "_cpu.h" nogil:
    int convx_has_v2()
    int convx_has_v3()
    int convx_has_v4()
    int convx_openmp()


def supported():
    """Names of the rows that this CPU can run."""
    rows = ["base"] if convx_has_v2() else []
    if convx_has_v3():
        rows.append("v3")
    if convx_has_v4():
        rows.append("v4")
    return tuple(rows)


def openmp():
    """The date of the OpenMP specification that the build follows (yyyymm), 0 for a serial build."""
    return convx_openmp()
