/* Memory for large results.

   It begins on a cache line (64 bytes): a vector that is stored across two lines takes two stores. From 1 MB on it begins
   half a page (of 4096 bytes) further on in its page than x does: a load waits for an earlier store at the same place of
   another page, and rows of x and y would often be at the same place of theirs (3x3 filters of doubles into `out=` at
   ten places of a page: 3 to 13 % less, AVX-512).

   The last two blocks that were freed are kept for results of nearly their size. New pages are filled with zeros by the
   system, which takes longer than a small filter does. The C library has new ones for every block of 32 MB and more, and
   for smaller ones as often as something else takes a corner of the last. From 64 MB on what is kept is marked as free:
   the system takes its pages when it needs memory (a mark that costs a 3x3 filter of doubles more than its own time
   where there are no huge pages). As in NumPy's own allocator, large blocks ask for huge pages. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#if defined(__linux__)
#include <sys/mman.h>
#include <unistd.h>
#if !defined(MADV_FREE)
#define MADV_FREE 8 /* older headers; a system that does not know it does nothing */
#endif
#endif

enum { LINE = 64, PAGE = 4096, HUGE_PAGE = 1 << 21, KEPT = 2 };
enum { SHIFTED = 1 << 20, ADVISED = 1 << 22, LARGE = 1 << 25, MARKED = 1 << 26 };

typedef struct {
    void *base;  /* what the C library gave */
    size_t room; /* of it */
} Block;         /* in front of the memory */

/* What is allocated for a result. */
static size_t room_of(size_t size) { return size + (size < SHIFTED ? LINE : PAGE) + LINE; }

#if defined(__GNUC__) && defined(__linux__) && defined(MADV_HUGEPAGE)
/* To the system, about the whole pages of a block, which may be larger than PAGE. */
static void advise(const Block *block, int advice) {
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    const uintptr_t first = ((uintptr_t)block->base + page - 1) / page * page;
    const uintptr_t last = ((uintptr_t)block->base + block->room) / page * page;
    if (first < last) madvise((void *)first, last - first, advice);
}

static const size_t LARGEST = (size_t)1 << 28;
static void *kept[KEPT]; /* blocks begin with what they are; exchanged in one step: threads free and allocate together */
static unsigned last_kept;

static int take_kept(Block *block) {
    const size_t size = block->room;
    int i;
    for (i = 0; i < KEPT; i++) {
        void *const base = __atomic_exchange_n(&kept[i], NULL, __ATOMIC_ACQ_REL);
        if (!base) continue;
        *block = *(Block *)base;
        if (size <= block->room && block->room - size <= size / 4) return 1;
        free(__atomic_exchange_n(&kept[i], base, __ATOMIC_ACQ_REL));
    }
    block->room = size;
    return 0;
}

static int keep(const Block *block) {
    unsigned slot;
    void *none;
    if (block->room < room_of(SHIFTED) || block->room > LARGEST) return 0;
    if (block->room >= MARKED) advise(block, MADV_FREE);
    *(Block *)block->base = *block;
    for (slot = 0; slot < KEPT; slot++) {
        none = NULL;
        if (__atomic_compare_exchange_n(&kept[slot], &none, block->base, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) return 1;
    }
    slot = __atomic_fetch_add(&last_kept, 1, __ATOMIC_RELAXED) % KEPT;
    free(__atomic_exchange_n(&kept[slot], block->base, __ATOMIC_ACQ_REL));
    return 1;
}

static void *new_block(size_t room) {
    void *base;
    return room < LARGE ? malloc(room) : posix_memalign(&base, HUGE_PAGE, room) ? NULL : base;
}

static void *allocated(size_t room) {
    Block block = {new_block(room), room};
    int i;
    if (!block.base) { /* nothing is kept at the price of a result */
        for (i = 0; i < KEPT; i++) free(__atomic_exchange_n(&kept[i], NULL, __ATOMIC_ACQ_REL));
        block.base = new_block(room);
    }
    if (block.base && room >= ADVISED) advise(&block, MADV_HUGEPAGE);
    return block.base;
}
#else
static int take_kept(Block *block) { return (void)block, 0; }
static int keep(const Block *block) { return (void)block, 0; }
static void *allocated(size_t room) { return malloc(room); }
#endif

#if defined(_MSC_VER)
#define CONVX_OF_THREAD __declspec(thread)
#elif defined(__GNUC__)
#define CONVX_OF_THREAD __thread
#else
#define CONVX_OF_THREAD
#endif
static CONVX_OF_THREAD uintptr_t beside; /* where the array lies that the next result of this thread is made of */

static void *lines_malloc(void *ctx, size_t size) {
    const size_t unit = size < SHIFTED ? LINE : PAGE;
    const uintptr_t place = size < SHIFTED ? 0 : (beside + PAGE / 2) / LINE * LINE;
    Block block = {NULL, room_of(size)};
    char *memory;
    (void)ctx;
    if (size > (size_t)PTRDIFF_MAX - 2 * PAGE) return NULL;
    if ((size < SHIFTED || !take_kept(&block)) && !(block.base = allocated(block.room))) return NULL;
    memory = (char *)block.base + sizeof(Block);
    memory += (place - (uintptr_t)memory) % unit;
    ((Block *)memory)[-1] = block;
    return memory;
}

static void *lines_calloc(void *ctx, size_t count, size_t size) {
    void *const memory = size && count > (size_t)-1 / size ? NULL : lines_malloc(ctx, count * size);
    return memory ? memset(memory, 0, count * size) : NULL;
}

static void lines_free(void *ctx, void *memory, size_t size) {
    Block block;
    (void)ctx;
    (void)size;
    if (!memory) return;
    block = ((Block *)memory)[-1];
    if (!keep(&block)) free(block.base);
}

static void *lines_realloc(void *ctx, void *memory, size_t size) {
    void *const other = lines_malloc(ctx, size);
    if (memory && other) {
        const Block *const block = (Block *)memory - 1;
        const size_t held = (size_t)((char *)block->base + block->room - (char *)memory);
        memcpy(other, memory, held < size ? held : size);
        lines_free(ctx, memory, held);
    }
    return other;
}

static PyDataMem_Handler lines_handler = {
    "convx_cache_lines", 1, {NULL, lines_malloc, lines_calloc, lines_realloc, lines_free}};
