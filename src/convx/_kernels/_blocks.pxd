"""How gemm cuts its pixels into blocks: lines of them, or rectangles whose strips stay in L2."""

from _real cimport MR, V
from _nest cimport Nest, Window
from _pack cimport Job, Cut, KC, panels
from _weights cimport channel_units
from _strip cimport STRIP, Strip, box_taps, shape

cdef enum:
    BLOCK = 240        # pixels of a block of KC products: packed, they stay in L2 (1 MB; flat between 96 and 384)
    LONGEST = 1344     # pixels of any block; with few products blocks are longer, since rows of y are (20 % for 27)
    WIDEST = 480       # columns of a strip (flat between 240 and 1024)


ctypedef struct Blocks:
    # How the pixels are cut: images x rows x line blocks; a line is cut at multiples of `unit`.
    Py_ssize_t images, rows, line, unit, units
    Py_ssize_t count, values, panels  # of the largest block: pixels, packed values, panels


cdef inline Py_ssize_t even_parts(Py_ssize_t parts, Py_ssize_t others, Py_ssize_t most, int threads) noexcept nogil:
    """`parts`, or the next number of them that gives every thread as many (each part is met by `others`)."""
    cdef Py_ssize_t more
    if threads <= others*parts < 8*threads:
        for more in range(min(<Py_ssize_t>threads, most - parts + 1)):
            if others*(parts + more) % threads == 0:
                return parts + more
    return parts


cdef inline bint by_pixels(const Job* job, Py_ssize_t units, int threads) noexcept nogil:
    """Whether threads share few pixels rather than the output channels: what comes out more even. Where each thread packs
    or keeps the weights of its own channels, only if that is an eighth: they are in its cache then.
    """
    cdef Py_ssize_t channels = channel_units(job)
    cdef Py_ssize_t pixel_share = (units + threads - 1) // threads*channels
    cdef Py_ssize_t channel_share = (channels + threads - 1) // threads*units
    if job.flat or job.packed != NULL:
        return 8*pixel_share < 7*channel_share
    return pixel_share <= channel_share


cdef inline Py_ssize_t shares(const Job* job, Py_ssize_t parts, Py_ssize_t others, Py_ssize_t most,
                              int threads) noexcept nogil:
    """`parts`, or as many, of at most `most`, as give all threads the same; where there are fewer than threads, only if
    these do not share the output channels better."""
    if others*parts < threads and by_pixels(job, most, threads):
        parts = min(most, (threads + others - 1) // others)
    return even_parts(parts, others, most, threads)


cdef inline void line_blocks(const Job* job, const Cut* cuts, int threads, Blocks* to) noexcept nogil:
    """Blocks of a line of all pixels."""
    cdef Py_ssize_t unit = MR if job.flat else V, kc = 1, block, units
    cdef int j
    for j in range(4):
        kc *= cuts.size[j]
    units = (job.pixels + unit - 1) // unit
    block = min(<Py_ssize_t>LONGEST, max(<Py_ssize_t>BLOCK, BLOCK*KC // kc))
    to.line = shares(job, (job.pixels + block - 1) // block, job.nest.g, units, threads)
    to.images, to.rows, to.unit, to.units = 1, 1, unit, units
    to.count = (units + to.line - 1) // to.line*unit
    to.values = (to.count + MR)*kc + V
    to.panels = panels(to.count)


cdef inline void strip_blocks(const Job* job, const Cut* cuts, int threads, Blocks* to) noexcept nogil:
    """Rectangular blocks whose strips fit STRIP."""
    cdef const Nest* nest = job.nest
    cdef const Window* b = &nest.axis[1]
    cdef const Window* d = &nest.axis[2]
    cdef Py_ssize_t planes = box_taps(cuts, job.channel_last, 3)*box_taps(cuts, job.channel_last, 0), rows
    cdef Strip strip
    to.images, to.unit, to.units = nest.n*nest.axis[0].out, V, (d.out + V - 1) // V
    to.line = even_parts((d.out + WIDEST - 1) // WIDEST, nest.g*to.images*b.out, to.units, threads)
    shape(job, cuts, 1, min(d.out, (to.units + to.line - 1) // to.line*V), &strip)
    rows = STRIP*strip.high // (planes*strip.plane) - strip.high + 1
    rows = max(<Py_ssize_t>1, min(min(rows, LONGEST // strip.columns), b.out))
    to.rows = shares(job, (b.out + rows - 1) // rows, nest.g*to.images*to.line, b.out, threads)
    rows = (b.out + to.rows - 1) // to.rows
    shape(job, cuts, rows, strip.columns, &strip)
    to.count, to.values = rows*strip.pitch, planes*strip.plane + V
    to.panels = rows*panels(strip.pitch)


cdef inline Py_ssize_t block_at(const Job* job, const Cut* cuts, const Blocks* blocks, Py_ssize_t number,
                         Strip* strip) noexcept nogil:
    """The first pixel and the shape of a block."""
    cdef const Nest* nest = job.nest
    cdef Py_ssize_t most = nest.axis[2].out if job.strips else job.pixels
    cdef Py_ssize_t q = number % blocks.line, row, image, r0, r1 = 1, c0, c1
    row = number // blocks.line % blocks.rows
    image = number // blocks.line // blocks.rows
    c0 = q*blocks.units // blocks.line*blocks.unit
    c1 = min((q + 1)*blocks.units // blocks.line*blocks.unit, most)
    if not job.strips:
        strip.rows, strip.columns, strip.across, strip.pitch, strip.open = 1, c1 - c0, c1 - c0, 0, False
        return c0
    r0, r1 = row*nest.axis[1].out // blocks.rows, (row + 1)*nest.axis[1].out // blocks.rows
    shape(job, cuts, r1 - r0, c1 - c0, strip)
    return (image*nest.axis[1].out + r0)*nest.axis[2].out + c0
