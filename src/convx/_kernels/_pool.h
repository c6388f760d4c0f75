#ifndef CONVX_POOL_H
#define CONVX_POOL_H
#include <stddef.h>

/* The numbers of a pooling: two plain loops, the lanes, and per axis the relation of _geometry.py and the strides of x,
   y and the places. The last axis is the inner one: rows of outputs run along it. A row of outputs comes in
   `step` phases, each with taps of its own (one phase but for gradients): phase f has the outputs f + step*j and reads
   start + stride*j + dilation*k of the padded row, which begins at position low of x. The phases follow the axes.
   inverse: what sums are divided by are powers of two, and given are the factors. ring: so many indices of the first
   axis have a place of their own, 0: all. */
typedef struct {
    ptrdiff_t out, taps, size, base, stride, dilation, offset, tap_step, xs, ys, ps;
} PoolAxis;
typedef struct {
    ptrdiff_t taps, stride, dilation, start;
} PoolPhase;
typedef struct {
    ptrdiff_t n, g, xn, xg, yn, yg, lanes, rank, along_row, tie_by_place, inverse, step, block, width, low, ring;
    PoolAxis axis[];
} Pool;
static inline const PoolPhase *phases_of(const Pool *pool) {
    return (const PoolPhase *)(const void *)(pool->axis + pool->rank);
}
/* What one output reads along one axis: count positions from i on, step apart. */
typedef struct {
    ptrdiff_t i, count, step;
} Run;
#endif
