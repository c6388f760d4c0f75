"""Packing the weights of gemm: panels of lanes (flat) or of MR rows, box by box."""

from _real cimport real, MR, V
from _nest cimport Nest, Box
from _pack cimport Job, Cut, box_at, panels, panel_start, steps, pack_weights


cdef inline Py_ssize_t channel_units(const Job* job) noexcept nogil:
    """Panels (flat) or MR-rows of a slice of output channels."""
    cdef Py_ssize_t count = job.m1 - job.m0
    return panels(count) if job.flat else (count + MR - 1) // MR


cdef inline Py_ssize_t packed_lines(const Job* job) noexcept nogil:
    """Packed rows or lanes of a group's slice of output channels, padding included."""
    cdef Py_ssize_t count = job.m1 - job.m0
    if job.flat:
        return (count + V - 1) // V * V
    return (count + MR - 1) // MR * MR


cdef inline bint abreast(const Job* job) noexcept nogil:
    """Whether the products of MR packed rows lie side by side: where rows are neighbours in w, as in input gradients."""
    return not job.flat and job.nest.wm == 1 and not job.strips


cdef inline void pack_group(const Job* job, const Cut* cuts, Py_ssize_t g, Py_ssize_t panel, real* to) noexcept nogil:
    """One panel (flat: lanes; else MR rows) of a group's weights, all boxes."""
    cdef Py_ssize_t count = job.m1 - job.m0, low, end, width, number, kc, before = 0
    cdef Box box
    if job.flat:
        low, end = panel_start(count, panel), panel_start(count, panel + 1)
    else:
        low, end = panel*MR, (panel + 1)*MR
    width = end - low
    to += (g*packed_lines(job) + low)*job.depth
    for number in range(cuts.boxes):
        kc = box_at(cuts, job.channel_last, number, &box)
        pack_weights(job, job.w + g*job.nest.wg, &box, job.m0 + low, job.m0 + min(end, count), width, job.flat, kc,
                     to + before*width)
        before += kc


cdef inline void pack_abreast(const Job* job, const Cut* cuts, Py_ssize_t g, Py_ssize_t first, Py_ssize_t last,
                       real* to) noexcept nogil:
    """Panels first .. last of a group's weights (panel, box, kc, MR): a run of neighbours in w is read at once."""
    cdef const Nest* nest = job.nest
    cdef Py_ssize_t number, kc, sc, k0, k1, k2, c, t, i, rows, before = 0, count = job.m1 - job.m0
    cdef Py_ssize_t sk[3]
    cdef const real* p
    cdef real* line
    cdef Box box
    for number in range(cuts.boxes):
        kc = box_at(cuts, job.channel_last, number, &box)
        steps(&box, job.channel_last, &sc, sk)
        for k0 in range(box.k0[0], box.k1[0]):
            for k1 in range(box.k0[1], box.k1[1]):
                for k2 in range(box.k0[2], box.k1[2]):
                    for c in range(box.c0, box.c1):
                        p = (job.w + g*nest.wg + job.m0 + k0*nest.axis[0].ws + k1*nest.axis[1].ws + k2*nest.axis[2].ws
                             + c*nest.wc)
                        line = to + g*packed_lines(job)*job.depth + (before + (k0 - box.k0[0])*sk[0]
                               + (k1 - box.k0[1])*sk[1] + (k2 - box.k0[2])*sk[2] + (c - box.c0)*sc)*MR
                        for t in range(first, last):
                            rows = min(<Py_ssize_t>MR, count - t*MR)
                            for i in range(MR):
                                line[t*MR*job.depth + i] = p[t*MR + i] if i < rows else 0
        before += kc
