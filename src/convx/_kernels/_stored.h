/* Arrays that are stored in another type than `real`: read as reals, written from reals.

   A type is named by its NumPy kind and size, CONVX_TYPE('u', 1); 0 stands for `real` itself. The loops are plain C that
   compilers turn into vectors: bytes to floats, and floats clamped, cut off and narrowed. */
#ifndef CONVX_STORED_H
#define CONVX_STORED_H
#include <string.h>
#include "_order.h"
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
static inline uint16_t to_half(real f) { return _cvtss_sh((float)f, _MM_FROUND_TO_NEAREST_INT); }
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

enum { STORED_BLOCK = 256 };

/* Halves away from zero, after what lies beyond the ends has become an end, and nan 0. In a loop of its own: compilers
   make bad vectors of loops over types of three sizes. */
static void to_whole(int32_t *__restrict q, const real *__restrict t, ptrdiff_t count, real low, real high) {
    ptrdiff_t j;
    real v;
    if (low == 0)
        for (j = 0; j < count; j++) {
            v = t[j] > 0 ? t[j] : 0;
            v = v < high ? v : high;
            q[j] = (int32_t)(v + CONVX_HALF);
        }
    else
        for (j = 0; j < count; j++) {
            v = t[j] == t[j] ? t[j] : 0;
            v = v > low ? v : low;
            v = v < high ? v : high;
            q[j] = (int32_t)(v + CONVX_SIGN(CONVX_HALF, v));
        }
}

/* Whether they all are far inside the range of int32_t. */
static int are_small(const real *t, ptrdiff_t count) {
    ptrdiff_t j;
    int small = 1;
    for (j = 0; j < count; j++) small &= (t[j] > -0x1p30f) & (t[j] < 0x1p30f);
    return small;
}

#define CONVX_WRITE(T, from, value)                                                        \
    {                                                                                      \
        T *__restrict q = (T *)y;                                                          \
        if (step == 1)                                                                     \
            for (j = 0; j < count; j++) q[j] = value(from[j]);                             \
        else                                                                               \
            for (j = 0; j < count; j++) q[j * step] = value(from[j]);                      \
        return;                                                                            \
    }
/* Types whose ends are int32_t and reals. */
#define CONVX_NARROW(T, low, high)            \
    {                                         \
        to_whole(n, t, count, low, high);     \
        CONVX_WRITE(T, n, (T))                \
    }
/* Wider ones, whose upper end is no real: what reaches `behind`, the power of two behind it, becomes the end. */
#define CONVX_WIDE(T, low, high, behind)                                                   \
    {                                                                                      \
        T *__restrict q = (T *)y;                                                          \
        if (are_small(t, count)) {                                                         \
            to_whole(n, t, count, (low) ? -0x1p30f : 0, 0x1p30f);                          \
            CONVX_WRITE(T, n, (T))                                                         \
        }                                                                                  \
        for (j = 0; j < count; j++) {                                                      \
            const real v = t[j] + CONVX_SIGN(CONVX_HALF, t[j]);                            \
            q[j * step] = v >= (real)(behind) ? (high) : v <= (real)(low) ? (low) : v == v ? (T)v : 0; \
        }                                                                                  \
        return;                                                                            \
    }

/* `count` values, at most STORED_BLOCK, `step` apart. */
static void write_block(char *y, ptrdiff_t step, const real *__restrict t, ptrdiff_t count, int64_t type) {
    int32_t n[STORED_BLOCK];
    ptrdiff_t j;
    switch (type) {
    case CONVX_TYPE('b', 1): CONVX_NARROW(uint8_t, 0, 1)
    case CONVX_TYPE('u', 1): CONVX_NARROW(uint8_t, 0, UINT8_MAX)
    case CONVX_TYPE('i', 1): CONVX_NARROW(int8_t, INT8_MIN, INT8_MAX)
    case CONVX_TYPE('u', 2): CONVX_NARROW(uint16_t, 0, UINT16_MAX)
    case CONVX_TYPE('i', 2): CONVX_NARROW(int16_t, INT16_MIN, INT16_MAX)
    case CONVX_TYPE('u', 4): CONVX_WIDE(uint32_t, 0, UINT32_MAX, 0x1p32)
    case CONVX_TYPE('i', 4): CONVX_WIDE(int32_t, INT32_MIN, INT32_MAX, 0x1p31)
    case CONVX_TYPE('u', 8): CONVX_WIDE(uint64_t, 0, UINT64_MAX, 0x1p64)
    case CONVX_TYPE('i', 8): CONVX_WIDE(int64_t, INT64_MIN, INT64_MAX, 0x1p63)
    case CONVX_TYPE('f', 4): CONVX_WRITE(float, t, (float))
#if defined(__F16C__)
    case CONVX_TYPE('f', 2): CONVX_WRITE(uint16_t, t, to_half)
#endif
    default: CONVX_WRITE(real, t, CONVX_ITSELF)
    }
}

/* y[j*step] = (p[j] + init) / divisor + offset, as y is stored. size: the bytes of a value of y */
static inline void write_run(char *y, ptrdiff_t step, ptrdiff_t size, const real *__restrict p, ptrdiff_t count,
                             real init, const Stored *s) {
    const real divisor = (real)s->divisor, offset = (real)s->offset;
    real t[STORED_BLOCK];
    ptrdiff_t i, j, part;
    for (i = 0; i < count; i += STORED_BLOCK) {
        part = count - i < STORED_BLOCK ? count - i : STORED_BLOCK;
        if (divisor != 1)
            for (j = 0; j < part; j++) t[j] = (p[i + j] + init) / divisor + offset;
        else if (init != 0 || offset != 0)
            for (j = 0; j < part; j++) t[j] = p[i + j] + init + offset;
        write_block(y + i * step * size, step, divisor != 1 || init != 0 || offset != 0 ? t : p + i, part, s->y);
    }
}

/* A vector as it is stored, in the types of pictures: as `write_run` does it value by value. */
enum { SINGLE = CONVX_TYPE('f', 4), BYTE = CONVX_TYPE('u', 1), WORD = CONVX_TYPE('u', 2), SHORT = CONVX_TYPE('i', 2) };
#if defined(__GNUC__)
typedef int32_t vwhole __attribute__((vector_size(V * 4)));
#define CONVX_VECTOR(T)                                                                       \
    {                                                                                         \
        typedef T vstored __attribute__((vector_size(V * sizeof(T))));                        \
        const vstored t = __builtin_convertvector(n, vstored);                                \
        __builtin_memcpy(p, &t, sizeof t);                                                    \
        return;                                                                               \
    }
static inline void v_store_as(char *p, vreal v, const int64_t type) {
    const vreal zero = v_set(0), low = v_set(type == SHORT ? INT16_MIN : 0);
    const vreal high = v_set(type == BYTE ? UINT8_MAX : type == WORD ? UINT16_MAX : INT16_MAX);
    vreal half = v_set(CONVX_HALF);
    vwhole n;
    if (type == SINGLE) {
        typedef float vstored __attribute__((vector_size(V * sizeof(float))));
        const vstored t = __builtin_convertvector(v, vstored);
        __builtin_memcpy(p, &t, sizeof t);
        return;
    }
    if (type == SHORT) {
        v = v_pick(CONVX_NAN(v), v, zero);
        half = v_pick(CONVX_TRUE(v < zero), half, -half);
    }
    v = v_pick(CONVX_TRUE(v > low), low, v);
    v = v_pick(CONVX_TRUE(v < high), high, v);
    n = __builtin_convertvector(v + half, vwhole);
    if (type == BYTE) CONVX_VECTOR(uint8_t)
    if (type == WORD) CONVX_VECTOR(uint16_t)
    CONVX_VECTOR(int16_t)
}
#else
static inline void v_store_as(char *p, vreal v, const int64_t type) { write_block(p, 1, &v, 1, type); }
#endif

static inline void rows_as(char *y, ptrdiff_t y_row, ptrdiff_t size, const real *p, ptrdiff_t p_row, ptrdiff_t rows,
                           ptrdiff_t columns, real add, const int64_t type) {
    char last[V * sizeof(real)];
    ptrdiff_t i, j;
    for (i = 0; i < rows; i++, y += y_row, p += p_row) {
        for (j = 0; j + V <= columns; j += V) v_store_as(y + j * size, v_load(p + j) + v_set(add), type);
        if (j < columns) {
            v_store_as(last, v_load(p + j) + v_set(add), type);
            memcpy(y + j * size, last, (columns - j) * size);
        }
    }
}

/* Rows of p + add, in the type of a picture: the bytes of a row of y, and of a value; p may be read up to whole vectors.
   Never inline: with so much around them the sums of a tile, or what calls it, do not stay in registers. */
#if defined(__GNUC__)
__attribute__((noinline, unused))
#endif
static void write_rows(char *y, ptrdiff_t y_row, ptrdiff_t size, const real *p, ptrdiff_t p_row, ptrdiff_t rows,
                       ptrdiff_t columns, real add, int64_t type) {
    switch (type) {
    case BYTE: rows_as(y, y_row, 1, p, p_row, rows, columns, add, BYTE); break;
    case WORD: rows_as(y, y_row, 2, p, p_row, rows, columns, add, WORD); break;
    case SHORT: rows_as(y, y_row, 2, p, p_row, rows, columns, add, SHORT); break;
    default: rows_as(y, y_row, size, p, p_row, rows, columns, add, SINGLE);
    }
}
#endif
#endif
