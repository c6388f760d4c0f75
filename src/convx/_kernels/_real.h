/* The arithmetic of one build row: `real`, a vector `vreal` of V of them, loads and stores. Nothing else is C. */
#ifndef CONVX_REAL_H
#define CONVX_REAL_H
#include <stdint.h>
#include <stddef.h>

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
   stencil: 4 rows x NS vectors. */
#if defined(__AVX512F__) || defined(__aarch64__)
#define CONVX_MR 8
#define CONVX_NS 4
#else
#define CONVX_MR 4
#define CONVX_NS 2
#endif

#if defined(__GNUC__)
typedef real vreal __attribute__((vector_size(CONVX_VBYTES), aligned(sizeof(real)), may_alias));
enum { V = CONVX_VBYTES / (int)sizeof(real), MR = CONVX_MR, NS = CONVX_NS };
static inline vreal v_load(const real *p) { return *(const vreal *)p; }
static inline void v_store(real *p, vreal v) { *(vreal *)p = v; }
static inline vreal v_set(real a) { vreal zero = {0}; return zero + a; }
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
enum { V = 1, MR = CONVX_MR, NS = CONVX_NS };
static inline vreal v_load(const real *p) { return *p; }
static inline void v_store(real *p, vreal v) { *p = v; }
static inline vreal v_set(real a) { return a; }
#endif

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
#endif
