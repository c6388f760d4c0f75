/* Memory for results, on whole cache lines (64 bytes): a vector that is stored across two lines takes two stores.
   As in NumPy's own allocator, large blocks ask for huge pages. */
#include <stdlib.h>
#include <string.h>
#if defined(__linux__)
#include <stdint.h>
#include <sys/mman.h>
#endif

enum { LINE = 64 };

static void *lines_malloc(void *ctx, size_t size) {
    void *memory;
    (void)ctx;
#if defined(_WIN32)
    memory = malloc(size ? size : 1);
#else
    memory = aligned_alloc(LINE, (size + LINE) / LINE * LINE);
#endif
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    if (memory && size >= (size_t)1 << 22) {
        uintptr_t first = ((uintptr_t)memory + 4095) / 4096 * 4096, last = ((uintptr_t)memory + size) / 4096 * 4096;
        madvise((void *)first, last - first, MADV_HUGEPAGE);
    }
#endif
    return memory;
}

static void *lines_calloc(void *ctx, size_t count, size_t size) {
    void *memory = size && count > (size_t)-1 / size ? NULL : lines_malloc(ctx, count * size);
    return memory ? memset(memory, 0, count * size) : NULL;
}

static void *lines_realloc(void *ctx, void *memory, size_t size) {
    (void)ctx;
    return realloc(memory, size ? size : 1);
}

static void lines_free(void *ctx, void *memory, size_t size) {
    (void)ctx;
    (void)size;
    free(memory);
}

static PyDataMem_Handler lines_handler = {
    "convx_cache_lines", 1, {NULL, lines_malloc, lines_calloc, lines_realloc, lines_free}};
