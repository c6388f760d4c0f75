/* The numbers of a pooling, as `_windows.py` packs them. */
#ifndef CONVX_POOL_H
#define CONVX_POOL_H
#include <stddef.h>

/* Two plain loops, the lanes, and per axis the relation of _geometry.py, the strides of x and y, what a place counts,
   and its turn: windows are combined along one axis after the other, along those that do nothing (turn -1) never.
   along: the last axis has unit stride in both arrays and is walked in vectors. One row of outputs of it then comes in
   `phases` phases: phase f has the outputs f + phases*j and reads start + stride*j + dilation*k, k < taps.
   What sums are divided by: one number (counts 1) or per axis a vector of factors (counts 2); inverse: as factors. */
typedef struct {
    ptrdiff_t out, taps, size, base, stride, dilation, offset, tap_step, xs, ys, id, turn;
} PoolAxis;
typedef struct {
    ptrdiff_t taps, stride, dilation, start;
} PoolPhase;
typedef struct {
    ptrdiff_t n, g, xn, xg, yn, yg, lanes, rank, turns, along, phases, counts, inverse;
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
