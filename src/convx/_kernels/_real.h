/* The arithmetic of one build row: `real`, a vector `vreal` of V of them, loads and stores. Nothing else is C. */
#ifndef CONVX_REAL_H
#define CONVX_REAL_H
#include <stdint.h>
#include <stddef.h>
#include <string.h>
#if defined(__AVX512F__)
#include <immintrin.h>
#endif

#if defined(CONVX_F32)
typedef float real;
#elif defined(CONVX_F64)
typedef double real;
#else
typedef uint64_t real; /* unsigned: sums modulo 2**64 are defined, for signed numbers too */
#endif

#if defined(__FMA__) || defined(__aarch64__)
#define CONVX_FMA
#endif

#if defined(__AVX512F__)
#define CONVX_VBYTES 64
#elif defined(__AVX__)
#define CONVX_VBYTES 32
#else
#define CONVX_VBYTES 16
#endif

/* Register tiles. gemm: MR rows x 3 vectors (32 registers hold 24 sums, 3 columns and a broadcast; 16 hold 12).
   stencil: 4 rows x NS vectors, 8 x NS/2, or 8 x 1; it ASKS for what tiles read next where a vector is a line (those of
   32 bytes took as long or a tenth longer). thin: TR pixels x TV vectors, or LR channels x LV vectors. */
#if defined(__AVX512F__) || defined(__aarch64__)
#define CONVX_MR 8
#define CONVX_NS 4
#define CONVX_THIN TR = 6, TV = 4, LR = 3, LV = 7
#else
#define CONVX_MR 4
#define CONVX_NS 2
#define CONVX_THIN TR = 4, TV = 3, LR = 3, LV = 3
#endif

#if defined(__GNUC__)
typedef real vreal __attribute__((vector_size(CONVX_VBYTES), aligned(sizeof(real)), may_alias));
enum { V = CONVX_VBYTES / (int)sizeof(real), MR = CONVX_MR, NS = CONVX_NS, ASKS = CONVX_VBYTES == 64, CONVX_THIN };
static inline vreal v_load(const real *p) { return *(const vreal *)p; }
static inline void v_store(real *p, vreal v) { *(vreal *)p = v; }
static inline vreal v_set(real a) { vreal zero = {0}; return a - zero; } /* -0, too */
/* a[0], a[2], ... then b[1], b[3], ... */
#if CONVX_VBYTES == 64
#define CONVX_EVEN_4 0, 2, 4, 6, 8, 10, 12, 14, 17, 19, 21, 23, 25, 27, 29, 31
#define CONVX_EVEN_8 0, 2, 4, 6, 9, 11, 13, 15
#elif CONVX_VBYTES == 32
#define CONVX_EVEN_4 0, 2, 4, 6, 9, 11, 13, 15
#define CONVX_EVEN_8 0, 2, 5, 7
#else
#define CONVX_EVEN_4 0, 2, 5, 7
#define CONVX_EVEN_8 0, 3
#endif
#if defined(CONVX_F32)
#define CONVX_EVEN CONVX_EVEN_4
typedef int32_t vindex __attribute__((vector_size(CONVX_VBYTES)));
#else
#define CONVX_EVEN CONVX_EVEN_8
typedef int64_t vindex __attribute__((vector_size(CONVX_VBYTES)));
#endif
/* The first, then the second halves of a and b, value by value in turn. */
#if CONVX_VBYTES == 64
#define CONVX_LOW_4 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define CONVX_HIGH_4 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#define CONVX_LOW_8 0, 8, 1, 9, 2, 10, 3, 11
#define CONVX_HIGH_8 4, 12, 5, 13, 6, 14, 7, 15
#elif CONVX_VBYTES == 32
#define CONVX_LOW_4 0, 8, 1, 9, 2, 10, 3, 11
#define CONVX_HIGH_4 4, 12, 5, 13, 6, 14, 7, 15
#define CONVX_LOW_8 0, 4, 1, 5
#define CONVX_HIGH_8 2, 6, 3, 7
#else
#define CONVX_LOW_4 0, 4, 1, 5
#define CONVX_HIGH_4 2, 6, 3, 7
#define CONVX_LOW_8 0, 2
#define CONVX_HIGH_8 1, 3
#endif
#if defined(CONVX_F32)
#define CONVX_LOW CONVX_LOW_4
#define CONVX_HIGH CONVX_HIGH_4
#else
#define CONVX_LOW CONVX_LOW_8
#define CONVX_HIGH CONVX_HIGH_8
#endif
#if defined(__clang__)
#define CONVX_MIX(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define CONVX_MIX(a, b, ...) __builtin_shuffle(a, b, (vindex){__VA_ARGS__})
#endif
static inline vreal v_even(vreal a, vreal b) { return CONVX_MIX(a, b, CONVX_EVEN); }
/* The rows of a become columns: log2(V) rounds of halves in turn. */
static inline void v_turn(real *to, ptrdiff_t to_step, vreal *a) {
    vreal b[V];
    int i, n;
    for (n = 1; n < V; n *= 2) {
        for (i = 0; i < V / 2; i++) {
            b[2 * i] = CONVX_MIX(a[i], a[i + V / 2], CONVX_LOW);
            b[2 * i + 1] = CONVX_MIX(a[i], a[i + V / 2], CONVX_HIGH);
        }
        for (i = 0; i < V; i++) a[i] = b[i];
    }
    for (i = 0; i < V; i++) v_store(to + i * to_step, a[i]);
}
/* to[j*to_step + i] = p[i*step + j] for i, j < V */
static inline void v_transpose(real *to, ptrdiff_t to_step, const real *p, ptrdiff_t step) {
    vreal a[V];
    int i;
    for (i = 0; i < V; i++) a[i] = v_load(p + i * step);
    v_turn(to, to_step, a);
}
/* to[j*V + i] = p[at[i] + j] */
static inline void v_transpose_rows(real *to, const real *p, const ptrdiff_t *at) {
    vreal a[V];
    int i;
    for (i = 0; i < V; i++) a[i] = v_load(p + at[i]);
    v_turn(to, V, a);
}
/* to[j*V + i] = p[j*step + index[i]] for j < count; every index is below V, and p[j*step + V - 1] may be read */
static inline void v_copy_permuted(real *to, const real *p, ptrdiff_t step, ptrdiff_t count, const ptrdiff_t *index) {
    ptrdiff_t j;
    int i;
#if defined(__clang__)
    for (j = 0; j < count; j++)
        for (i = 0; i < V; i++) to[j * V + i] = p[j * step + index[i]];
#else
    vindex from;
    for (i = 0; i < V; i++) from[i] = index[i];
    for (j = 0; j < count; j++) v_store(to + j * V, __builtin_shuffle(v_load(p + j * step), from));
#endif
}
/* p[0], p[2], ... = the first `count` values; what lies between them is not written. */
static inline void v_store_second(real *p, vreal v, ptrdiff_t count) {
#if defined(__AVX512F__) && !defined(CONVX_I64)
    const unsigned mask = 0x55555555u & (unsigned)((1ull << (2 * count)) - 1);
    vreal a = CONVX_MIX(v, v, CONVX_LOW), b = CONVX_MIX(v, v, CONVX_HIGH);
#if defined(CONVX_F32)
    _mm512_mask_storeu_ps(p, (__mmask16)mask, (__m512)a);
    _mm512_mask_storeu_ps(p + V, (__mmask16)(mask >> 16), (__m512)b);
#else
    _mm512_mask_storeu_pd(p, (__mmask8)mask, (__m512d)a);
    _mm512_mask_storeu_pd(p + V, (__mmask8)(mask >> 8), (__m512d)b);
#endif
#else
    real values[V];
    ptrdiff_t j;
    v_store(values, v);
    for (j = 0; j < count; j++) p[2 * j] = values[j];
#endif
}
/* p[0], p[1], ... = a[0], b[0], a[1], b[1], ... */
static inline void v_store_pair(real *p, vreal a, vreal b) {
    v_store(p, CONVX_MIX(a, b, CONVX_LOW));
    v_store(p + V, CONVX_MIX(a, b, CONVX_HIGH));
}
/* The value, from now on in a register: GCC would rather load an unaligned vector again for each of its uses. */
#if defined(__x86_64__)
#define CONVX_REGISTER "+v"
#elif defined(__aarch64__)
#define CONVX_REGISTER "+w"
#endif
static inline vreal v_keep(vreal v) {
#if defined(CONVX_REGISTER)
    __asm__("" : CONVX_REGISTER(v));
#endif
    return v;
}
#else
typedef real vreal;
static inline vreal v_keep(vreal v) { return v; }
static inline vreal v_even(vreal a, vreal b) { (void)b; return a; }
static inline void v_transpose(real *to, ptrdiff_t to_step, const real *p, ptrdiff_t step) {
    (void)to_step; (void)step; *to = *p;
}
static inline void v_transpose_rows(real *to, const real *p, const ptrdiff_t *at) { *to = p[at[0]]; }
static inline void v_store_second(real *p, vreal v, ptrdiff_t count) { (void)count; *p = v; }
static inline void v_copy_permuted(real *to, const real *p, ptrdiff_t step, ptrdiff_t count, const ptrdiff_t *index) {
    ptrdiff_t j;
    for (j = 0; j < count; j++) to[j] = p[j * step + index[0]];
}
enum { V = 1, MR = CONVX_MR, NS = CONVX_NS, ASKS = CONVX_VBYTES == 64, CONVX_THIN };
static inline vreal v_load(const real *p) { return *p; }
static inline void v_store(real *p, vreal v) { *p = v; }
static inline vreal v_set(real a) { return a; }
static inline void v_store_pair(real *p, vreal a, vreal b) { p[0] = a; p[1] = b; }
#endif

/* The address, from now on in a register of its own: GCC would rather keep many sums of one address and some strides,
   and reload them from the stack. */
static inline const real *p_keep(const real *p) {
#if defined(__GNUC__)
    __asm__("" : "+r"(p));
#endif
    return p;
}

/* Ask for the line at p, which will be written. */
static inline void v_prefetch(const real *p) {
#if defined(__GNUC__)
    __builtin_prefetch(p, 1);
#else
    (void)p;
#endif
}

/* Into the second cache: what is read in a while. */
static inline void v_prefetch_far(const real *p) {
#if defined(__GNUC__)
    __builtin_prefetch(p, 0, 2);
#else
    (void)p;
#endif
}

static inline void v_prefetch_read(const real *p) {
#if defined(__GNUC__)
    __builtin_prefetch(p, 0);
#else
    (void)p;
#endif
}

/* Copy count values and touch no others: whole vectors and one that overlaps the last, or two overlapping halves. */
static inline void v_copy(real *to, const real *p, ptrdiff_t count) {
    ptrdiff_t j, size = count * (ptrdiff_t)sizeof(real);
    if (count >= V) {
        for (j = 0; j + V < count; j += V) v_store(to + j, v_load(p + j));
        v_store(to + count - V, v_load(p + count - V));
    } else {
        char *t = (char *)to;
        const char *f = (const char *)p;
        if (size >= 32) { memcpy(t, f, 32); memcpy(t + size - 32, f + size - 32, 32); }
        else if (size >= 16) { memcpy(t, f, 16); memcpy(t + size - 16, f + size - 16, 16); }
        else if (size >= 8) { memcpy(t, f, 8); memcpy(t + size - 8, f + size - 8, 8); }
        else if (size > 0) memcpy(t, f, 4);
    }
}

/* p[0], p[2], ... = v[0], v[1], ...; what lies between is not written. */
static inline void v_store_even(real *p, vreal v) {
#if defined(__AVX512F__) && defined(CONVX_F32)
    _mm512_mask_storeu_ps(p, 0x5555, (__m512)CONVX_MIX(v, v, CONVX_LOW));
    _mm512_mask_storeu_ps(p + V, 0x5555, (__m512)CONVX_MIX(v, v, CONVX_HIGH));
#elif defined(__AVX512F__) && defined(CONVX_F64)
    _mm512_mask_storeu_pd(p, 0x55, (__m512d)CONVX_MIX(v, v, CONVX_LOW));
    _mm512_mask_storeu_pd(p + V, 0x55, (__m512d)CONVX_MIX(v, v, CONVX_HIGH));
#else
    real lanes[V];
    int i;
    v_store(lanes, v);
    for (i = 0; i < V; i++) p[2 * i] = lanes[i];
#endif
}

/* Every second value of p: p[0], p[2], ... count of them; nothing behind the last one is read. */
static inline void v_copy_even(real *to, const real *p, ptrdiff_t count) {
    ptrdiff_t j = 0;
    if (count >= V) {
        for (; j + V < count; j += V) v_store(to + j, v_even(v_load(p + 2 * j), v_load(p + 2 * j + V - 1)));
        j = count - V;
        v_store(to + j, v_even(v_load(p + 2 * j), v_load(p + 2 * j + V - 1)));
    } else
        for (; j < count; j++) to[j] = p[2 * j];
}

/* c + a*b, rounded as the vectors of this row are: once where the row has fused multiply-add. Spelt out, since GCC
   would turn a scalar sum into vector products and plain additions, and lanes and leftovers would differ in bits. */
static inline real muladd(real a, real b, real c) {
#if defined(CONVX_FMA) && defined(CONVX_F32)
    return __builtin_fmaf(a, b, c);
#elif defined(CONVX_FMA) && defined(CONVX_F64)
    return __builtin_fma(a, b, c);
#else
    return c + a * b;
#endif
}

/* Not finite: nan or infinite. Integers always are finite. */
#if defined(CONVX_I64)
static inline int spoiled(real a) { (void)a; return 0; }
#else
static inline int spoiled(real a) { return !(a - a == 0); }
#endif
static inline int v_spoiled(vreal v) {
    real lanes[V];
    int i, bad = 0;
    v_store(lanes, v);
    for (i = 0; i < V; i++) bad |= spoiled(lanes[i]);
    return bad;
}
#endif
