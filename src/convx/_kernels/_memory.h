/* Memory for results, on whole cache lines (64 bytes): a vector that is stored across two lines takes two stores.
   As in NumPy's own allocator, large blocks ask for huge pages.

   Blocks of 32 MB and more are new pages for every result elsewhere: the C library returns them to the system, which
   fills them with zeros for the next one. That takes longer than a small filter does. Here the last two are kept for
   results of nearly their size, marked as free: the system takes their pages when it needs memory. */
#include <stdlib.h>
#include <string.h>
#if defined(__linux__)
#include <malloc.h>
#include <stdint.h>
#include <sys/mman.h>
#endif

enum { LINE = 64, HUGE_PAGE = 1 << 21, ADVISED = 1 << 22, LARGE = 1 << 25, KEPT = 2 };

#if defined(__linux__)
/* To the system, about the whole pages of a block. */
static void advise(void *memory, size_t size, int advice) {
    const uintptr_t page = 4096, first = ((uintptr_t)memory + page - 1) / page * page;
    const uintptr_t last = ((uintptr_t)memory + size) / page * page;
    if (first < last) madvise((void *)first, last - first, advice);
}
#endif

#if defined(__GLIBC__) && defined(MADV_FREE)
#define KEEPS 1
static const size_t LARGEST = (size_t)1 << 28;
static void *kept[KEPT]; /* exchanged in one step: threads may free and allocate at the same time */
static unsigned last_kept;

static void *take_kept(size_t size) {
    int i;
    for (i = 0; i < KEPT; i++) {
        void *const memory = __atomic_exchange_n(&kept[i], NULL, __ATOMIC_ACQ_REL);
        const size_t room = memory ? malloc_usable_size(memory) : 0;
        if (size <= room && room - size <= size / 4) return memory;
        if (memory) free(__atomic_exchange_n(&kept[i], memory, __ATOMIC_ACQ_REL));
    }
    return NULL;
}

static int keep(void *memory) {
    const size_t room = malloc_usable_size(memory);
    unsigned slot;
    if (room < LARGE || room > LARGEST) return 0;
    advise(memory, room, MADV_FREE);
    slot = __atomic_fetch_add(&last_kept, 1, __ATOMIC_RELAXED) % KEPT;
    free(__atomic_exchange_n(&kept[slot], memory, __ATOMIC_ACQ_REL));
    return 1;
}
#else
#define KEEPS 0
#endif

static void *lines_malloc(void *ctx, size_t size) {
    void *memory;
    (void)ctx;
#if defined(_WIN32)
    memory = malloc(size ? size : 1);
#else
#if KEEPS
    if (size >= LARGE && (memory = take_kept(size))) return memory;
#endif
    memory = aligned_alloc(size < LARGE ? LINE : HUGE_PAGE, (size + LINE) / LINE * LINE);
#endif
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    if (memory && size >= ADVISED) advise(memory, size, MADV_HUGEPAGE);
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
#if KEEPS
    if (memory && keep(memory)) return;
#endif
    free(memory);
}

static PyDataMem_Handler lines_handler = {
    "convx_cache_lines", 1, {NULL, lines_malloc, lines_calloc, lines_realloc, lines_free}};
