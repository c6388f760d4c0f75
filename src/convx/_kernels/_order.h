/* Which of two values is the larger, in vectors: `place` numbers the cells, as wide as a value. A nan is larger than any
   number; of equal values the one with the smaller place. Windows of pooling are compared with these. */
#ifndef CONVX_ORDER_H
#define CONVX_ORDER_H
#include <math.h>
#if defined(__AVX__) && defined(__GNUC__)
#include <immintrin.h>
#endif
#include "_masks.h"

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
/* b where m says so, else a */
#if defined(__AVX__) && !defined(__AVX512F__)
static inline vplace p_pick(vplace m, vplace a, vplace b) {
#if defined(CONVX_F32)
    return (vplace)_mm256_blendv_ps((__m256)a, (__m256)b, (__m256)m);
#else
    return (vplace)_mm256_blendv_pd((__m256d)a, (__m256d)b, (__m256d)m);
#endif
}
#else
static inline vplace p_pick(vplace m, vplace a, vplace b) { return (m & b) | (~m & a); }
#endif
static inline vreal v_pick(vplace m, vreal a, vreal b) { return (vreal)p_pick(m, (vplace)a, (vplace)b); }
/* a where m says so, else 0 */
static inline vreal v_only(vplace m, vreal a) { return (vreal)(m & (vplace)a); }
#if !defined(CONVX_I64)
#define CONVX_NAN(v) ((vplace)((v) != (v)))
#else
#define CONVX_NAN(v) p_set(0)
#endif
#define CONVX_TRUE(condition) ((vplace)(condition))
/* a[j], b[j] in turn: the first and the second half */
static inline vreal v_low(vreal a, vreal b) { return CONVX_MIX(a, b, CONVX_LOW); }
static inline vreal v_high(vreal a, vreal b) { return CONVX_MIX(a, b, CONVX_HIGH); }
/* to[2*j], to[2*j + 1] = a[j], b[j] for j < V */
static inline void v_mix(real *to, vreal a, vreal b) {
    v_store(to, v_low(a, b));
    v_store(to + V, v_high(a, b));
}
#else
typedef place vplace;
static inline vplace p_load(const place *p) { return *p; }
static inline void p_store(place *p, vplace v) { *p = v; }
static inline vplace p_set(place a) { return a; }
static inline vplace p_pick(vplace m, vplace a, vplace b) { return m ? b : a; }
static inline vreal v_pick(vplace m, vreal a, vreal b) { return m ? b : a; }
static inline vreal v_only(vplace m, vreal a) { return m ? a : 0; }
#define CONVX_NAN(v) (-(place)((v) != (v)))
#define CONVX_TRUE(condition) (-(place)(condition))
static inline vreal v_low(vreal a, vreal b) { (void)b; return a; }
static inline vreal v_high(vreal a, vreal b) { (void)a; return b; }
static inline void v_mix(real *to, vreal a, vreal b) { to[0] = a; to[1] = b; }
#endif

/* Whether b, which comes later, takes the place of a: it is larger, or the first nan. */
#if defined(CONVX_I64)
static inline vplace v_wins(vreal a, vreal b) { return CONVX_TRUE(b > a); }
#else
static inline vplace v_wins(vreal a, vreal b) { return ~CONVX_TRUE(b <= a) & CONVX_TRUE(a == a); }
#endif
/* The larger of a and b: a nan wins. The instructions return their second operand where one is a nan: one of the two
   orders keeps it, and the bits of a nan or-ed with any others are a nan. */
#if defined(__AVX__) && defined(__GNUC__) && !defined(CONVX_I64)
#if defined(__AVX512F__) && defined(CONVX_F32)
#define CONVX_MAX(a, b) (vplace)_mm512_max_ps((__m512)(a), (__m512)(b))
#elif defined(__AVX512F__)
#define CONVX_MAX(a, b) (vplace)_mm512_max_pd((__m512d)(a), (__m512d)(b))
#elif defined(CONVX_F32)
#define CONVX_MAX(a, b) (vplace)_mm256_max_ps((__m256)(a), (__m256)(b))
#else
#define CONVX_MAX(a, b) (vplace)_mm256_max_pd((__m256d)(a), (__m256d)(b))
#endif
static inline vreal v_max(vreal a, vreal b) { return (vreal)(CONVX_MAX(a, b) | CONVX_MAX(b, a)); }
#else
static inline vreal v_max(vreal a, vreal b) { return v_pick(v_wins(a, b), a, b); }
#endif
/* Equal, or nan both. */
static inline vplace v_same(vreal a, vreal b) { return CONVX_TRUE(a == b) | (CONVX_NAN(a) & CONVX_NAN(b)); }
static inline vplace p_same(vplace a, vplace b) { return CONVX_TRUE(a == b); }
static inline vplace p_less(vplace a, vplace b) { return CONVX_TRUE(a < b); }

/* b, which comes later, and its place, where b wins over the best one so far; v_take_first: where they are equal and its
   place is the smaller one, too. */
#if defined(__AVX512F__) && !defined(CONVX_I64)
#if defined(CONVX_F32)
#define CONVX_TEST(m, a, b, how) _mm512_mask_cmp_ps_mask(m, (__m512)(a), (__m512)(b), how)
#define CONVX_TAKE(m, a, b) _mm512_mask_mov_epi32((__m512i)(a), m, (__m512i)(b))
#else
#define CONVX_TEST(m, a, b, how) _mm512_mask_cmp_pd_mask(m, (__m512d)(a), (__m512d)(b), how)
#define CONVX_TAKE(m, a, b) _mm512_mask_mov_epi64((__m512i)(a), m, (__m512i)(b))
#endif
static inline void v_take(vreal *best, vplace *where, vreal b, vplace here) {
    const __mmask16 ordered = (__mmask16)CONVX_TEST(-1, *best, *best, _CMP_ORD_Q);
    const __mmask16 m = (__mmask16)CONVX_TEST(ordered, b, *best, _CMP_NLE_UQ);
    *best = (vreal)CONVX_TAKE(m, *best, b);
    *where = (vplace)CONVX_TAKE(m, *where, here);
}
#else
static inline void v_take(vreal *best, vplace *where, vreal b, vplace here) {
    const vplace m = v_wins(*best, b);
    *best = v_pick(m, *best, b);
    *where = p_pick(m, *where, here);
}
#endif
static inline void v_take_first(vreal *best, vplace *where, vreal b, vplace here) {
    const vplace m = v_wins(*best, b) | (v_same(*best, b) & p_less(here, *where));
    *best = v_pick(m, *best, b);
    *where = p_pick(m, *where, here);
}
/* sum + g where `at` is `here`; v_give_same: where a is b. */
#if defined(__AVX512F__) && defined(CONVX_F32)
static inline vreal v_give(vreal sum, vplace at, vplace here, vreal g) {
    return (vreal)_mm512_mask_add_ps((__m512)sum, _mm512_cmpeq_epi32_mask((__m512i)at, (__m512i)here), (__m512)sum,
                                     (__m512)g);
}
#elif defined(__AVX512F__) && defined(CONVX_F64)
static inline vreal v_give(vreal sum, vplace at, vplace here, vreal g) {
    return (vreal)_mm512_mask_add_pd((__m512d)sum, _mm512_cmpeq_epi64_mask((__m512i)at, (__m512i)here), (__m512d)sum,
                                     (__m512d)g);
}
#else
static inline vreal v_give(vreal sum, vplace at, vplace here, vreal g) { return sum + v_only(p_same(at, here), g); }
#endif
static inline vreal v_give_same(vreal sum, vreal a, vreal b, vreal g) { return sum + v_only(v_same(a, b), g); }

/* p[0], p[2], ...; p[2*V - 1] is read too */
#if defined(__GNUC__)
#if CONVX_VBYTES == 64
#define CONVX_PAIRS_4 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30
#define CONVX_PAIRS_8 0, 2, 4, 6, 8, 10, 12, 14
#define CONVX_ODDS_4 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31
#define CONVX_ODDS_8 1, 3, 5, 7, 9, 11, 13, 15
#define CONVX_NEXT_4 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16
#define CONVX_AFTER_4 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17
#define CONVX_NEXT_8 1, 2, 3, 4, 5, 6, 7, 8
#define CONVX_AFTER_8 2, 3, 4, 5, 6, 7, 8, 9
#elif CONVX_VBYTES == 32
#define CONVX_PAIRS_4 0, 2, 4, 6, 8, 10, 12, 14
#define CONVX_PAIRS_8 0, 2, 4, 6
#define CONVX_ODDS_4 1, 3, 5, 7, 9, 11, 13, 15
#define CONVX_ODDS_8 1, 3, 5, 7
#define CONVX_NEXT_4 1, 2, 3, 4, 5, 6, 7, 8
#define CONVX_AFTER_4 2, 3, 4, 5, 6, 7, 8, 9
#define CONVX_NEXT_8 1, 2, 3, 4
#define CONVX_AFTER_8 2, 3, 4, 5
#else
#define CONVX_PAIRS_4 0, 2, 4, 6
#define CONVX_PAIRS_8 0, 2
#define CONVX_ODDS_4 1, 3, 5, 7
#define CONVX_ODDS_8 1, 3
#define CONVX_NEXT_4 1, 2, 3, 4
#define CONVX_AFTER_4 2, 3, 4, 5
#define CONVX_NEXT_8 1, 2
#define CONVX_AFTER_8 2, 3
#endif
#if defined(CONVX_F32)
#define CONVX_PAIRS CONVX_PAIRS_4
#define CONVX_ODDS CONVX_ODDS_4
#define CONVX_NEXT CONVX_NEXT_4
#define CONVX_AFTER CONVX_AFTER_4
#else
#define CONVX_PAIRS CONVX_PAIRS_8
#define CONVX_ODDS CONVX_ODDS_8
#define CONVX_NEXT CONVX_NEXT_8
#define CONVX_AFTER CONVX_AFTER_8
#endif
/* a[0], a[2], ..., b[0], b[2], ...; a[1], a[3], ..., b[1], ... */
static inline vreal v_evens(vreal a, vreal b) { return CONVX_MIX(a, b, CONVX_PAIRS); }
static inline vreal v_odds(vreal a, vreal b) { return CONVX_MIX(a, b, CONVX_ODDS); }
/* V values of a and b, one behind the other, from the second and from the third on */
static inline vreal v_next(vreal a, vreal b) { return CONVX_MIX(a, b, CONVX_NEXT); }
static inline vreal v_after(vreal a, vreal b) { return CONVX_MIX(a, b, CONVX_AFTER); }
static inline vreal v_second(const real *p) { return v_evens(v_load(p), v_load(p + V)); }
static inline vplace p_second(const place *p) { return CONVX_MIX(p_load(p), p_load(p + V), CONVX_PAIRS); }
#else
static inline vreal v_evens(vreal a, vreal b) { (void)b; return a; }
static inline vreal v_odds(vreal a, vreal b) { (void)a; return b; }
static inline vreal v_next(vreal a, vreal b) { (void)a; return b; }
static inline vreal v_after(vreal a, vreal b) { (void)a; return b; } /* never: there are not so many */
static inline vreal v_second(const real *p) { return *p; }
static inline vplace p_second(const place *p) { return *p; }
#endif

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
static inline vplace p_part(const place *p, ptrdiff_t count) {
    return (vplace)v_part((const real *)(const void *)p, count);
}
static inline void p_put(place *p, vplace v, ptrdiff_t count) { v_put((real *)(void *)p, (vreal)v, count); }
#endif
