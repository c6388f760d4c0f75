#ifndef CONVX_CPU_H
#define CONVX_CPU_H
#if (defined(__x86_64__) || defined(__i386__)) && defined(__GNUC__)
static inline int convx_has_v2(void) {
    __builtin_cpu_init();
    return __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("popcnt");
}
static inline int convx_has_v3(void) {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
}
static inline int convx_has_v4(void) {
    __builtin_cpu_init();
    return convx_has_v3() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}
#else
static inline int convx_has_v2(void) { return 1; }
static inline int convx_has_v3(void) { return 0; }
static inline int convx_has_v4(void) { return 0; }
#endif
static inline int convx_openmp(void) {
#ifdef _OPENMP
    return _OPENMP;
#else
    return 0;
#endif
}
#endif
