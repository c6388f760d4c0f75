/* Loads and stores of some lanes of a vector. */
#ifndef CONVX_MASKS_H
#define CONVX_MASKS_H
#if defined(__AVX__) && defined(__GNUC__)
#include <immintrin.h>
#endif
#include "_real.h"

/* Some lanes of a vector: m_between names low .. high - 1; v_where reads them (the others are those of fill), v_some
   too (the others are 0), v_at writes them. The memory of the others is not touched. MASKS: whether the row has
   instructions for that. */
#if defined(__AVX512F__)
enum { MASKS = 1 };
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
enum { MASKS = 1 };
typedef vindex vmask;
static inline vmask m_between(ptrdiff_t low, ptrdiff_t high) {
#if defined(CONVX_F32)
    const vmask lanes = {0, 1, 2, 3, 4, 5, 6, 7};
#else
    const vmask lanes = {0, 1, 2, 3};
#endif
    const int l = low < 0 ? 0 : low > V ? V : (int)low, h = high < 0 ? 0 : high > V ? V : (int)high;
    return (vmask)(lanes >= l) & (vmask)(lanes < h);
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
static inline vreal v_where(const real *p, vmask m, vreal fill) {
    return (vreal)(((vmask)fill & ~m) | (vmask)v_some(p, m));
}
#else
enum { MASKS = 0 };
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
/* A vector of which only the first count values are in memory, 0 < count < V; zeros behind them. */
static inline vreal v_part(const real *p, ptrdiff_t count) { return v_some(p, m_between(0, count)); }
/* The first count values of v, to p. */
static inline void v_put(real *p, vreal v, ptrdiff_t count) { v_at(p, v, m_between(0, count)); }
#endif
