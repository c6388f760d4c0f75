/* Arrays that are stored in another type than `real`: read as reals, written from reals.

   A type is named by its NumPy kind and size, CONVX_TYPE('u', 1); 0 stands for `real` itself. The loops are plain C that
   compilers turn into vectors: bytes to floats, and floats clamped, cut off and narrowed. */
#ifndef CONVX_STORED_H
#define CONVX_STORED_H
#include <math.h>
#include "_real.h"
#if defined(__F16C__)
#include <immintrin.h>
#endif

#define CONVX_TYPE(kind, size) ((kind) * 16 + (size))

/* As the solver packs it: what x and y are, and what becomes of a sum: sum / divisor + offset. */
typedef struct { int64_t x, y; double divisor, offset; } Stored;

#if defined(CONVX_F32)
#define CONVX_HALF 0x1.fffffep-2f /* the number below one half: a half would make 1 of itself */
#define CONVX_SIGN __builtin_copysignf
#else
#define CONVX_HALF 0x1.fffffffffffffp-2
#define CONVX_SIGN __builtin_copysign
#endif

#if defined(__F16C__)
#define STORES_HALF 1
static inline float from_half(uint16_t h) { return _cvtsh_ss(h); }
static inline uint16_t to_half(float f) { return _cvtss_sh(f, _MM_FROUND_TO_NEAREST_INT); }
#else
#define STORES_HALF 0
#endif

/* One value. */
static inline real read_one(const char *x, int64_t type) {
    switch (type) {
    case CONVX_TYPE('b', 1): return *(const uint8_t *)x != 0;
    case CONVX_TYPE('u', 1): return *(const uint8_t *)x;
    case CONVX_TYPE('i', 1): return *(const int8_t *)x;
    case CONVX_TYPE('u', 2): return *(const uint16_t *)x;
    case CONVX_TYPE('i', 2): return *(const int16_t *)x;
    case CONVX_TYPE('u', 4): return (real)*(const uint32_t *)x;
    case CONVX_TYPE('i', 4): return (real)*(const int32_t *)x;
    case CONVX_TYPE('u', 8): return (real)*(const uint64_t *)x;
    case CONVX_TYPE('i', 8): return (real)*(const int64_t *)x;
    case CONVX_TYPE('f', 4): return (real)*(const float *)x;
    case CONVX_TYPE('f', 8): return (real)*(const double *)x;
#if defined(__F16C__)
    case CONVX_TYPE('f', 2): return (real)from_half(*(const uint16_t *)x);
#endif
    default: return *(const real *)x;
    }
}

#if !defined(CONVX_I64)
#define CONVX_READ(T, get)                                                  \
    {                                                                       \
        const T *__restrict p = (const T *)x;                                 \
        if (step == 1)                                                      \
            for (j = 0; j < count; j++) to[j] = (real)get(p[j]);            \
        else                                                                \
            for (j = 0; j < count; j++) to[j] = (real)get(p[j * step]);     \
        return;                                                             \
    }
#define CONVX_ITSELF(v) (v)
#define CONVX_TRUTH(v) ((v) != 0)

/* `count` values, `step` apart. */
static void read_run(real *__restrict to, const char *x, ptrdiff_t step, ptrdiff_t count, int64_t type) {
    ptrdiff_t j;
    switch (type) {
    case CONVX_TYPE('b', 1): CONVX_READ(uint8_t, CONVX_TRUTH)
    case CONVX_TYPE('u', 1): CONVX_READ(uint8_t, CONVX_ITSELF)
    case CONVX_TYPE('i', 1): CONVX_READ(int8_t, CONVX_ITSELF)
    case CONVX_TYPE('u', 2): CONVX_READ(uint16_t, CONVX_ITSELF)
    case CONVX_TYPE('i', 2): CONVX_READ(int16_t, CONVX_ITSELF)
    case CONVX_TYPE('u', 4): CONVX_READ(uint32_t, CONVX_ITSELF)
    case CONVX_TYPE('i', 4): CONVX_READ(int32_t, CONVX_ITSELF)
    case CONVX_TYPE('u', 8): CONVX_READ(uint64_t, CONVX_ITSELF)
    case CONVX_TYPE('i', 8): CONVX_READ(int64_t, CONVX_ITSELF)
    case CONVX_TYPE('f', 4): CONVX_READ(float, CONVX_ITSELF)
    case CONVX_TYPE('f', 8): CONVX_READ(double, CONVX_ITSELF)
#if defined(__F16C__)
    case CONVX_TYPE('f', 2): CONVX_READ(uint16_t, from_half)
#endif
    default: CONVX_READ(real, CONVX_ITSELF)
    }
}

#define CONVX_WRITE(T, value)                                               \
    {                                                                       \
        T *__restrict q = (T *)y;                                             \
        if (step == 1)                                                      \
            for (j = 0; j < count; j++) { const real v = t[j]; q[j] = value; }        \
        else                                                                \
            for (j = 0; j < count; j++) { const real v = t[j]; q[j * step] = value; } \
        return;                                                             \
    }
/* Halves away from zero, the ends for what lies beyond, 0 for nan. Ends of up to 16 bits are reals. */
#define CONVX_AWAY(v) ((v) + CONVX_SIGN(CONVX_HALF, v))
#define CONVX_CLAMP(v, low, high) ((v) < (low) ? (low) : (v) > (high) ? (high) : (v) == (v) ? (v) : 0)
#define CONVX_SMALL(T, low, high) CONVX_WRITE(T, (T)(int32_t)CONVX_CLAMP(CONVX_AWAY(v), (real)(low), (real)(high)))
/* Of wider ones the power of two behind the upper end is: what reaches it becomes the end. */
#define CONVX_ENDS(T, v, low, high, behind) ((v) >= (behind) ? (high) : (v) <= (real)(low) ? (low) : (v) == (v) ? (T)(v) : 0)
#define CONVX_LARGE(T, low, high, behind) CONVX_WRITE(T, CONVX_ENDS(T, CONVX_AWAY(v), low, high, (real)(behind)))

/* `count` values of at most STORED_BLOCK, `step` apart, from t. */
static void write_block(char *y, ptrdiff_t step, const real *__restrict t, ptrdiff_t count, int64_t type) {
    ptrdiff_t j;
    switch (type) {
    case CONVX_TYPE('b', 1): CONVX_SMALL(uint8_t, 0, 1)
    case CONVX_TYPE('u', 1): CONVX_SMALL(uint8_t, 0, UINT8_MAX)
    case CONVX_TYPE('i', 1): CONVX_SMALL(int8_t, INT8_MIN, INT8_MAX)
    case CONVX_TYPE('u', 2): CONVX_SMALL(uint16_t, 0, UINT16_MAX)
    case CONVX_TYPE('i', 2): CONVX_SMALL(int16_t, INT16_MIN, INT16_MAX)
    case CONVX_TYPE('u', 4): CONVX_LARGE(uint32_t, 0, UINT32_MAX, 0x1p32)
    case CONVX_TYPE('i', 4): CONVX_LARGE(int32_t, INT32_MIN, INT32_MAX, 0x1p31)
    case CONVX_TYPE('u', 8): CONVX_LARGE(uint64_t, 0, UINT64_MAX, 0x1p64)
    case CONVX_TYPE('i', 8): CONVX_LARGE(int64_t, INT64_MIN, INT64_MAX, 0x1p63)
    case CONVX_TYPE('f', 4): CONVX_WRITE(float, (float)v)
#if defined(__F16C__)
    case CONVX_TYPE('f', 2): CONVX_WRITE(uint16_t, to_half((float)v))
#endif
    default: CONVX_WRITE(real, v)
    }
}

enum { STORED_BLOCK = 256 };

/* y[j*step] = (p[j] + init) / divisor + offset, as y is stored. size: the bytes of a value of y */
static inline void write_run(char *y, ptrdiff_t step, ptrdiff_t size, const real *__restrict p, ptrdiff_t count, real init,
                             const Stored *s) {
    const real divisor = (real)s->divisor, offset = (real)s->offset;
    real t[STORED_BLOCK];
    ptrdiff_t i, j, part;
    for (i = 0; i < count; i += STORED_BLOCK) {
        part = count - i < STORED_BLOCK ? count - i : STORED_BLOCK;
        if (divisor == 1)
            for (j = 0; j < part; j++) t[j] = p[i + j] + init + offset;
        else
            for (j = 0; j < part; j++) t[j] = (p[i + j] + init) / divisor + offset;
        write_block(y + i * step * size, step, t, part, s->y);
    }
}
#endif
#endif
