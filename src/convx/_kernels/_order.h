/* Which of two values is the larger, in vectors: `place` numbers the cells, as wide as a value. A nan is larger than any
   number; of equal values the one with the smaller place. Windows of pooling are compared with these. */
#ifndef CONVX_ORDER_H
#define CONVX_ORDER_H
#include <math.h>
#include "_real.h"

#if defined(CONVX_F32)
typedef int32_t place;
#define CONVX_NOWHERE INT32_MAX
#else
typedef int64_t place;
#define CONVX_NOWHERE INT64_MAX
#endif
#if defined(CONVX_I64)
#define CONVX_LOWEST 0 /* real is unsigned */
#else
#define CONVX_LOWEST (-(real)INFINITY)
#endif

#if defined(__GNUC__)
typedef place vplace __attribute__((vector_size(CONVX_VBYTES), aligned(sizeof(place)), may_alias));
static inline vplace p_load(const place *p) { return *(const vplace *)p; }
static inline void p_store(place *p, vplace v) { *(vplace *)p = v; }
static inline vplace p_set(place a) { vplace zero = {0}; return zero + a; }
static inline vplace p_pick(vplace m, vplace a, vplace b) { return (m & b) | (~m & a); }
static inline vreal v_pick(vplace m, vreal a, vreal b) { return (vreal)p_pick(m, (vplace)a, (vplace)b); }
/* a where m says so, else 0 */
static inline vreal v_only(vplace m, vreal a) { return (vreal)(m & (vplace)a); }
static inline vplace p_even(vplace a, vplace b) { return (vplace)v_even((vreal)a, (vreal)b); }
#if !defined(CONVX_I64)
#define CONVX_NAN(v) ((vplace)((v) != (v)))
#else
#define CONVX_NAN(v) p_set(0)
#endif
#define CONVX_TRUE(condition) ((vplace)(condition))
/* to[2*j], to[2*j + 1] = a[j], b[j] for j < V */
static inline void v_mix(real *to, vreal a, vreal b) {
    v_store(to, CONVX_MIX(a, b, CONVX_LOW));
    v_store(to + V, CONVX_MIX(a, b, CONVX_HIGH));
}
#else
typedef place vplace;
static inline vplace p_load(const place *p) { return *p; }
static inline void p_store(place *p, vplace v) { *p = v; }
static inline vplace p_set(place a) { return a; }
static inline vplace p_pick(vplace m, vplace a, vplace b) { return m ? b : a; }
static inline vreal v_pick(vplace m, vreal a, vreal b) { return m ? b : a; }
static inline vreal v_only(vplace m, vreal a) { return m ? a : 0; }
static inline vplace p_even(vplace a, vplace b) { (void)b; return a; }
#define CONVX_NAN(v) (-(place)((v) != (v)))
#define CONVX_TRUE(condition) (-(place)(condition))
static inline void v_mix(real *to, vreal a, vreal b) { to[0] = a; to[1] = b; }
#endif

/* The larger of a and b: a nan wins. */
static inline vreal v_max(vreal a, vreal b) { return v_pick(CONVX_TRUE(b > a) | CONVX_NAN(b), a, b); }
/* Whether b, which comes later, takes the place of a. */
static inline vplace v_wins(vreal a, vreal b) { return CONVX_TRUE(b > a) | (CONVX_NAN(b) & ~CONVX_NAN(a)); }
/* Equal, or nan both. */
static inline vplace v_same(vreal a, vreal b) { return CONVX_TRUE(a == b) | (CONVX_NAN(a) & CONVX_NAN(b)); }
static inline vplace p_same(vplace a, vplace b) { return CONVX_TRUE(a == b); }
static inline vplace p_less(vplace a, vplace b) { return CONVX_TRUE(a < b); }

/* 0, step, 2*step, ... */
static inline vplace p_line(place step) {
    place lanes[V];
    int i;
    for (i = 0; i < V; i++) lanes[i] = step * i;
    return p_load(lanes);
}
/* p[0], p[step], ... */
static inline vreal v_every(const real *p, ptrdiff_t step) {
    real lanes[V];
    int i;
    for (i = 0; i < V; i++) lanes[i] = p[step * i];
    return v_load(lanes);
}
static inline vplace p_every(const place *p, ptrdiff_t step) {
    place lanes[V];
    int i;
    for (i = 0; i < V; i++) lanes[i] = p[step * i];
    return p_load(lanes);
}
/* The first count values of a vector in memory (all of them if count is V or more); no others are touched. */
static inline vreal v_part(const real *p, ptrdiff_t count) {
    real lanes[V];
    int i;
    if (count >= V) return v_load(p);
    for (i = 0; i < V; i++) lanes[i] = i < count ? p[i] : 0;
    return v_load(lanes);
}
static inline void v_put(real *p, vreal v, ptrdiff_t count) {
    real lanes[V];
    int i;
    if (count >= V) { v_store(p, v); return; }
    v_store(lanes, v);
    for (i = 0; i < count; i++) p[i] = lanes[i];
}
static inline vplace p_part(const place *p, ptrdiff_t count) {
    place lanes[V];
    int i;
    if (count >= V) return p_load(p);
    for (i = 0; i < V; i++) lanes[i] = i < count ? p[i] : 0;
    return p_load(lanes);
}
static inline void p_put(place *p, vplace v, ptrdiff_t count) {
    place lanes[V];
    int i;
    if (count >= V) { p_store(p, v); return; }
    p_store(lanes, v);
    for (i = 0; i < count; i++) p[i] = lanes[i];
}

/* The numbers of a pooling: two plain loops, the lanes, and per axis the relation of _geometry.py and the strides of x,
   y and the places. The last axis is the inner one: rows of outputs run along it. A row of outputs comes in
   `step` phases, each with taps of its own (one phase but for gradients): phase f has the outputs f + step*j and reads
   start + stride*j + dilation*k of the padded row, which begins at position low of x. The phases follow the axes. */
typedef struct {
    ptrdiff_t out, taps, size, base, stride, dilation, offset, tap_step, xs, ys, ps;
} PoolAxis;
typedef struct {
    ptrdiff_t taps, stride, dilation, start;
} PoolPhase;
typedef struct {
    ptrdiff_t n, g, xn, xg, yn, yg, lanes, rank, along_row, tie_by_place, step, block, width, low;
    PoolAxis axis[];
} Pool;
/* What one output reads along one axis: count positions from i on, step apart. */
typedef struct {
    ptrdiff_t i, count, step;
} Run;
#endif
