/* Which of two values is the larger, in vectors: `place` numbers the cells, as wide as a value. A nan is larger than any
   number; of equal values the one with the smaller place. Windows of pooling are compared with these. */
#ifndef CONVX_ORDER_H
#define CONVX_ORDER_H
#include <math.h>
#if defined(__AVX__) && defined(__GNUC__)
#include <immintrin.h>
#endif
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

/* Vectors of places; `vtruth` says yes or no for every lane. v_wins: whether b takes the place of a, which came earlier:
   it is larger, or the first nan. v_same: equal, or nan both. v_pick, p_pick: b where m says so, else a. v_plus: a + b
   there, else a. */
#if defined(__GNUC__)
typedef place vplace __attribute__((vector_size(CONVX_VBYTES), aligned(sizeof(place)), may_alias));
static inline vplace p_load(const place *p) { return *(const vplace *)p; }
static inline void p_store(place *p, vplace v) { *(vplace *)p = v; }
static inline vplace p_set(place a) { vplace zero = {0}; return zero + a; }
static inline vreal p_bits(vplace a) { return (vreal)a; }
static inline vplace v_bits(vreal a) { return (vplace)a; }
/* a[j], b[j] in turn: the first and the second half */
static inline vreal v_low(vreal a, vreal b) { return CONVX_MIX(a, b, CONVX_LOW); }
static inline vreal v_high(vreal a, vreal b) { return CONVX_MIX(a, b, CONVX_HIGH); }
#else
typedef place vplace;
static inline vplace p_load(const place *p) { return *p; }
static inline void p_store(place *p, vplace v) { *p = v; }
static inline vplace p_set(place a) { return a; }
static inline vreal p_bits(vplace a) { vreal v; memcpy(&v, &a, sizeof v); return v; }
static inline vplace v_bits(vreal a) { vplace v; memcpy(&v, &a, sizeof v); return v; }
static inline vreal v_low(vreal a, vreal b) { (void)b; return a; }
static inline vreal v_high(vreal a, vreal b) { (void)a; return b; }
#endif

#if defined(__AVX512F__) && defined(__GNUC__)
typedef uint32_t vtruth;
#if defined(CONVX_F32)
#define CONVX_512(name) _mm512_##name##_ps
#define CONVX_512I(name, end) _mm512_##name##_epi32##end
#define CONVX_BITS(a) ((__m512)(a))
#define CONVX_MASK(m) ((__mmask16)(m))
#else
#define CONVX_512(name) _mm512_##name##_pd
#define CONVX_512I(name, end) _mm512_##name##_epi64##end
#define CONVX_BITS(a) ((__m512d)(a))
#define CONVX_MASK(m) ((__mmask8)(m))
#endif
#define CONVX_INTS(a) ((__m512i)(a))
static inline vreal v_pick(vtruth m, vreal a, vreal b) {
    return (vreal)CONVX_512(mask_blend)(CONVX_MASK(m), CONVX_BITS(a), CONVX_BITS(b));
}
static inline vplace p_pick(vtruth m, vplace a, vplace b) {
    return (vplace)CONVX_512I(mask_blend, )(CONVX_MASK(m), CONVX_INTS(a), CONVX_INTS(b));
}
static inline vtruth p_same(vplace a, vplace b) { return CONVX_512I(cmpeq, _mask)(CONVX_INTS(a), CONVX_INTS(b)); }
static inline vtruth p_less(vplace a, vplace b) { return CONVX_512I(cmplt, _mask)(CONVX_INTS(a), CONVX_INTS(b)); }
#if defined(CONVX_I64)
static inline vtruth v_wins(vreal a, vreal b) { return _mm512_cmpgt_epu64_mask(CONVX_INTS(b), CONVX_INTS(a)); }
static inline vtruth v_same(vreal a, vreal b) { return _mm512_cmpeq_epi64_mask(CONVX_INTS(a), CONVX_INTS(b)); }
static inline vreal v_plus(vtruth m, vreal a, vreal b) { return a + v_pick(m, v_set(0), b); }
#else
#if defined(CONVX_F32)
#define CONVX_COMPARE(a, b, how) _mm512_cmp_ps_mask((__m512)(a), (__m512)(b), how)
#else
#define CONVX_COMPARE(a, b, how) _mm512_cmp_pd_mask((__m512d)(a), (__m512d)(b), how)
#endif
static inline vtruth v_wins(vreal a, vreal b) {
    return CONVX_COMPARE(b, a, _CMP_NLE_UQ) & CONVX_COMPARE(a, a, _CMP_ORD_Q);
}
static inline vtruth v_same(vreal a, vreal b) {
    return CONVX_COMPARE(a, b, _CMP_EQ_OQ) | (CONVX_COMPARE(a, a, _CMP_UNORD_Q) & CONVX_COMPARE(b, b, _CMP_UNORD_Q));
}
static inline vreal v_plus(vtruth m, vreal a, vreal b) {
    return (vreal)CONVX_512(mask_add)(CONVX_BITS(a), CONVX_MASK(m), CONVX_BITS(a), CONVX_BITS(b));
}
#endif
#else
typedef vplace vtruth;
#if defined(__GNUC__)
#define CONVX_TRUE(condition) ((vplace)(condition))
#else
#define CONVX_TRUE(condition) (-(place)(condition))
#endif
#if defined(__AVX__) && defined(__GNUC__)
static inline vplace p_pick(vtruth m, vplace a, vplace b) {
#if defined(CONVX_F32)
    return (vplace)_mm256_blendv_ps((__m256)a, (__m256)b, (__m256)m);
#else
    return (vplace)_mm256_blendv_pd((__m256d)a, (__m256d)b, (__m256d)m);
#endif
}
#else
static inline vplace p_pick(vtruth m, vplace a, vplace b) { return (m & b) | (~m & a); }
#endif
static inline vreal v_pick(vtruth m, vreal a, vreal b) { return p_bits(p_pick(m, v_bits(a), v_bits(b))); }
static inline vtruth p_same(vplace a, vplace b) { return CONVX_TRUE(a == b); }
static inline vtruth p_less(vplace a, vplace b) { return CONVX_TRUE(a < b); }
#if defined(CONVX_I64)
static inline vtruth v_wins(vreal a, vreal b) { return CONVX_TRUE(b > a); }
static inline vtruth v_same(vreal a, vreal b) { return CONVX_TRUE(a == b); }
#else
static inline vtruth v_wins(vreal a, vreal b) { return ~CONVX_TRUE(b <= a) & CONVX_TRUE(a == a); }
static inline vtruth v_same(vreal a, vreal b) {
    return CONVX_TRUE(a == b) | (CONVX_TRUE(a != a) & CONVX_TRUE(b != b));
}
#endif
static inline vreal v_plus(vtruth m, vreal a, vreal b) { return a + p_bits(m & v_bits(b)); }
#endif

/* The larger of a and b: a nan wins. The instructions return their second operand where one is a nan: one of the two
   orders keeps it, and the bits of a nan or-ed with any others are a nan. */
#if defined(__AVX__) && defined(__GNUC__) && !defined(CONVX_I64)
#if defined(__AVX512F__)
#define CONVX_MAX(a, b) (vplace)CONVX_512(max)(CONVX_BITS(a), CONVX_BITS(b))
#elif defined(CONVX_F32)
#define CONVX_MAX(a, b) (vplace)_mm256_max_ps((__m256)(a), (__m256)(b))
#else
#define CONVX_MAX(a, b) (vplace)_mm256_max_pd((__m256d)(a), (__m256d)(b))
#endif
static inline vreal v_max(vreal a, vreal b) { return (vreal)(CONVX_MAX(a, b) | CONVX_MAX(b, a)); }
#else
static inline vreal v_max(vreal a, vreal b) { return v_pick(v_wins(a, b), a, b); }
#endif

/* The larger value and its place, b being later; then of values with any places: of equal ones the smaller place. */
static inline void v_first(vreal *a, vplace *at, vreal b, vplace here) {
    vtruth m = v_wins(*a, b);
    *a = v_pick(m, *a, b);
    *at = p_pick(m, *at, here);
}
static inline void v_placed(vreal *a, vplace *at, vreal b, vplace here) {
    vtruth m = v_wins(*a, b) | (v_same(*a, b) & p_less(here, *at));
    *a = v_pick(m, *a, b);
    *at = p_pick(m, *at, here);
}
/* a + b where the marks agree: they are places, or the bits of values. */
static inline vreal v_route(vreal a, vreal b, vplace mark, vplace key) { return v_plus(p_same(mark, key), a, b); }
static inline vreal v_route_all(vreal a, vreal b, vplace mark, vplace key) {
    return v_plus(v_same(p_bits(mark), p_bits(key)), a, b);
}

/* a / b, rounded once; r is 1 / b. One step of Newton corrects the product (Markstein: the result is the rounded quotient
   if r is the rounded reciprocal, tiny remainders apart); where that is no number the product is the answer. */
static inline vreal v_quotient(vreal a, vreal b, vreal r) {
#if defined(__AVX512F__) && defined(__GNUC__) && !defined(CONVX_I64)
    vreal q = a * r, rest = (vreal)CONVX_512(fnmadd)(CONVX_BITS(q), CONVX_BITS(b), CONVX_BITS(a));
    vreal better = (vreal)CONVX_512(fmadd)(CONVX_BITS(rest), CONVX_BITS(r), CONVX_BITS(q));
    return v_pick(CONVX_COMPARE(better, better, _CMP_ORD_Q), q, better);
#else
    (void)r;
    return a / b;
#endif
}

#if defined(__GNUC__)
#if CONVX_VBYTES == 64
#define CONVX_PAIRS_4 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30
#define CONVX_PAIRS_8 0, 2, 4, 6, 8, 10, 12, 14
#define CONVX_ODDS_4 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31
#define CONVX_ODDS_8 1, 3, 5, 7, 9, 11, 13, 15
#elif CONVX_VBYTES == 32
#define CONVX_PAIRS_4 0, 2, 4, 6, 8, 10, 12, 14
#define CONVX_PAIRS_8 0, 2, 4, 6
#define CONVX_ODDS_4 1, 3, 5, 7, 9, 11, 13, 15
#define CONVX_ODDS_8 1, 3, 5, 7
#else
#define CONVX_PAIRS_4 0, 2, 4, 6
#define CONVX_PAIRS_8 0, 2
#define CONVX_ODDS_4 1, 3, 5, 7
#define CONVX_ODDS_8 1, 3
#endif
#if defined(CONVX_F32)
#define CONVX_PAIRS CONVX_PAIRS_4
#define CONVX_ODDS CONVX_ODDS_4
#else
#define CONVX_PAIRS CONVX_PAIRS_8
#define CONVX_ODDS CONVX_ODDS_8
#endif
/* a[0], a[2], ..., b[0], b[2], ...; a[1], a[3], ..., b[1], ... */
static inline vreal v_evens(vreal a, vreal b) { return CONVX_MIX(a, b, CONVX_PAIRS); }
static inline vreal v_odds(vreal a, vreal b) { return CONVX_MIX(a, b, CONVX_ODDS); }
#else
static inline vreal v_evens(vreal a, vreal b) { (void)b; return a; }
static inline vreal v_odds(vreal a, vreal b) { (void)a; return b; }
#endif

/* 0, step, 2*step, ... */
static inline vplace p_line(place step) {
    place lanes[V];
    int i;
    for (i = 0; i < V; i++) lanes[i] = step * i;
    return p_load(lanes);
}
/* Some lanes of a vector: m_between names low .. high - 1; v_where reads them (the others are those of fill), v_some
   too (the others are 0), v_at writes them. The memory of the others is not touched. */
#if defined(__AVX512F__)
typedef uint32_t vmask;
#define CONVX_LANES(n) ((1u << ((n) < 0 ? 0 : (n) > V ? V : (n))) - 1)
static inline vmask m_between(ptrdiff_t low, ptrdiff_t high) { return CONVX_LANES(high) & ~CONVX_LANES(low); }
#if defined(CONVX_F32)
static inline vreal v_where(const real *p, vmask m, vreal fill) {
    return (vreal)_mm512_mask_loadu_ps((__m512)fill, (__mmask16)m, p);
}
static inline vreal v_some(const real *p, vmask m) { return (vreal)_mm512_maskz_loadu_ps((__mmask16)m, p); }
static inline void v_at(real *p, vreal v, vmask m) { _mm512_mask_storeu_ps(p, (__mmask16)m, (__m512)v); }
#else
static inline vreal v_where(const real *p, vmask m, vreal fill) {
    return (vreal)_mm512_mask_loadu_epi64((__m512i)fill, (__mmask8)m, p);
}
static inline vreal v_some(const real *p, vmask m) { return (vreal)_mm512_maskz_loadu_epi64((__mmask8)m, p); }
static inline void v_at(real *p, vreal v, vmask m) { _mm512_mask_storeu_epi64(p, (__mmask8)m, (__m512i)v); }
#endif
#elif defined(__AVX2__)
typedef vplace vmask;
static inline vmask m_between(ptrdiff_t low, ptrdiff_t high) {
#if defined(CONVX_F32)
    const vplace lanes = {0, 1, 2, 3, 4, 5, 6, 7};
#else
    const vplace lanes = {0, 1, 2, 3};
#endif
    place l = (place)(low < 0 ? 0 : low > V ? V : low), h = (place)(high < 0 ? 0 : high > V ? V : high);
    return CONVX_TRUE(lanes >= p_set(l)) & CONVX_TRUE(lanes < p_set(h));
}
#if defined(CONVX_F32)
static inline vreal v_some(const real *p, vmask m) {
    return (vreal)_mm256_maskload_epi32((const int *)(const void *)p, (__m256i)m);
}
static inline void v_at(real *p, vreal v, vmask m) {
    _mm256_maskstore_epi32((int *)(void *)p, (__m256i)m, (__m256i)v);
}
#else
static inline vreal v_some(const real *p, vmask m) {
    return (vreal)_mm256_maskload_epi64((const long long *)(const void *)p, (__m256i)m);
}
static inline void v_at(real *p, vreal v, vmask m) {
    _mm256_maskstore_epi64((long long *)(void *)p, (__m256i)m, (__m256i)v);
}
#endif
static inline vreal v_where(const real *p, vmask m, vreal fill) { return v_pick(m, fill, v_some(p, m)); }
#else
typedef struct {
    ptrdiff_t low, high;
} vmask;
static inline vmask m_between(ptrdiff_t low, ptrdiff_t high) {
    vmask m = {low < 0 ? 0 : low, high > V ? V : high};
    return m;
}
static inline vreal v_where(const real *p, vmask m, vreal fill) {
    real lanes[V];
    ptrdiff_t j;
    if (m.low == 0 && m.high == V) return v_load(p);
    v_store(lanes, fill);
    for (j = m.low; j < m.high; j++) lanes[j] = p[j];
    return v_load(lanes);
}
static inline vreal v_some(const real *p, vmask m) { return v_where(p, m, v_set(0)); }
static inline void v_at(real *p, vreal v, vmask m) {
    real lanes[V];
    if (m.low == 0 && m.high == V) {
        v_store(p, v);
        return;
    }
    v_store(lanes, v);
    if (m.low < m.high) v_copy(p + m.low, lanes + m.low, m.high - m.low);
}
#endif
/* Lanes low .. high - 1 are p[step*lane], the others fill; and p[step*lane] = lane of v for the first count. */
static inline vreal v_strided(const real *p, ptrdiff_t step, ptrdiff_t low, ptrdiff_t high, vreal fill) {
    real lanes[V];
    ptrdiff_t j;
    v_store(lanes, fill);
    for (j = low < 0 ? 0 : low; j < (high > V ? V : high); j++) lanes[j] = p[step * j];
    return v_load(lanes);
}
static inline void v_scatter(real *p, ptrdiff_t step, vreal v, ptrdiff_t count) {
    real lanes[V];
    ptrdiff_t j;
    v_store(lanes, v);
    for (j = 0; j < (count > V ? V : count); j++) p[step * j] = lanes[j];
}
/* The same of places: NOWHERE in the others. */
static inline vplace p_where(const place *p, vmask m) {
    return v_bits(v_where((const real *)(const void *)p, m, p_bits(p_set(CONVX_NOWHERE))));
}
static inline void p_at(place *p, vplace v, vmask m) { v_at((real *)(void *)p, p_bits(v), m); }
#endif
