// Finds accesses to the same memory that nothing orders: a missing barrier, or blocks in each other's way.
//
// The kernels are compiled with -fsanitize=thread, by which the compiler calls a function at every load and store. Those
// functions are here, instead of in its own library: what that would see is one thread of the host.
//
// Two accesses of which one writes are ordered if
// * they are of two launches,
// * one thread does both,
// * all threads of the block have met in between (__syncthreads),
// * their warp has met in between (__syncwarp; shuffles and votes do not order memory).
// Threads of two blocks share device memory and no barrier: there nothing but the end of the launch orders.
//
// The order in which the emulator happens to run the threads does not matter: what is missing is found as long as both
// accesses are made.

#include "races.h"

#include <link.h>

#include <cstdint>
#include <cstring>
#include <memory>
#include <unordered_map>

namespace {

constexpr unsigned WARP = 32, MAX_WARPS = 32;
// Bytes that a cell stands for; those of an access within it are a mask.
constexpr uintptr_t WORD = 4;
constexpr size_t PAGE_WORDS = 1024, CACHED = 256;

struct Access {
    // On the clock, which goes on whenever threads meet; 0 for none.
    uint32_t time;
    // Where in the program, from `origin` on.
    int32_t place;
    uint16_t thread;
    uint8_t bytes;
};

// The accesses to a word that may still conflict with one to come. Enough of them are kept to find some conflict where
// there is one, for accesses to whole words and to halves.
struct Cell {
    // The last write, and the one before it if that wrote other bytes.
    Access writes[2];
    // The last read, of another thread of its warp, of another warp, and of another block.
    Access reads[4];
};

struct Page {
    Cell cells[PAGE_WORDS];
};

struct Detector {
    bool watching = false;
    bool found = false;
    uint32_t now = 1;
    // When the launch and the block began, and when the block and its warps last met.
    uint32_t launch = 1, block = 1, block_met = 1, warp_met[MAX_WARPS] = {};
    uint16_t thread = 0;
    uintptr_t stack = 0, stack_end = 0;
    // Dynamic shared memory, and static one, which the emulator makes variables of the thread.
    uintptr_t dynamic = 0, dynamic_end = 0, fixed = 0, fixed_end = 0;
    std::unordered_map<uintptr_t, std::unique_ptr<Page>> pages;
    // Pages looked up lately, by number.
    struct {
        uintptr_t number;
        Page *page;
    } cache[CACHED] = {};
    // The conflict found first.
    Access first{}, second{};
    bool first_writes = false, second_writes = false, shared = false, blocks = false;
};

thread_local Detector detector;

// Anywhere in the program: places are differences to it.
void origin() {}

// Where this thread's thread_local variables of the program are.
void find_thread_local(Detector &d) {
    if (d.fixed) return;
    dl_iterate_phdr(
        [](dl_phdr_info *info, size_t, void *data) {
            auto *d = static_cast<Detector *>(data);
            uintptr_t here = reinterpret_cast<uintptr_t>(&detector);
            for (int i = 0; i < info->dlpi_phnum; i++) {
                const auto &header = info->dlpi_phdr[i];
                uintptr_t start = reinterpret_cast<uintptr_t>(info->dlpi_tls_data);
                if (header.p_type == PT_TLS && start <= here && here < start + header.p_memsz) {
                    d->fixed = start;
                    d->fixed_end = start + header.p_memsz;
                }
            }
            return 0;
        },
        &d);
}

Cell *cells(Detector &d, uintptr_t word) {
    uintptr_t number = word / PAGE_WORDS;
    auto &cached = d.cache[number % CACHED];
    if (cached.number != number || !cached.page) {
        auto &page = d.pages[number];
        if (!page) page.reset(new Page());
        cached = {number, page.get()};
    }
    return &cached.page->cells[word % PAGE_WORDS];
}

bool is_shared(const Detector &d, uintptr_t address) {
    return (d.dynamic <= address && address < d.dynamic_end) || (d.fixed <= address && address < d.fixed_end);
}

// Whether `then` is before all that the running thread does now. Another block's shared memory is another memory.
bool ordered(const Detector &d, const Access &then, bool shared) {
    if (then.time < d.launch) return true;
    if (then.time < d.block) return shared;
    if (then.thread == d.thread || then.time < d.block_met) return true;
    unsigned warp = d.thread / WARP;
    return then.thread / WARP == warp && then.time < d.warp_met[warp];
}

void compare(Detector &d, const Access &then, bool then_writes, const Access &access, bool writes, bool shared) {
    if (!(then.bytes & access.bytes) || ordered(d, then, shared) || d.found) return;
    d.found = true;
    d.first = then;
    d.second = access;
    d.first_writes = then_writes;
    d.second_writes = writes;
    d.shared = shared;
    d.blocks = then.time < d.block;
}

void keep_write(const Detector &d, Cell &cell, const Access &access) {
    Access &last = cell.writes[0];
    if (last.time >= d.launch && (last.bytes & ~access.bytes)) cell.writes[1] = last;
    last = access;
}

void keep_read(const Detector &d, Cell &cell, const Access &access) {
    Access &last = cell.reads[0];
    if (last.time >= d.launch && last.time < d.block) {
        cell.reads[3] = last;
    } else if (last.time >= d.block_met && last.thread != access.thread) {
        cell.reads[last.thread / WARP == access.thread / WARP ? 1 : 2] = last;
    }
    last = access;
}

void touch(const void *pointer, size_t bytes, bool writes, const void *caller) {
    Detector &d = detector;
    uintptr_t from = reinterpret_cast<uintptr_t>(pointer), to = from + bytes;
    if (!d.watching || d.found || (d.stack <= from && from < d.stack_end)) return;
    bool shared = is_shared(d, from);
    auto place = static_cast<const char *>(caller) - reinterpret_cast<const char *>(&origin);
    for (uintptr_t at = from; at < to;) {
        uintptr_t word = at / WORD, offset = at % WORD, end = (word + 1) * WORD;
        uintptr_t length = (to < end ? to : end) - at;
        Access access{d.now, int32_t(place), d.thread, uint8_t(((1u << length) - 1) << offset)};
        Cell &cell = *cells(d, word);
        for (const Access &then : cell.writes) compare(d, then, true, access, writes, shared);
        if (writes) {
            for (const Access &then : cell.reads) compare(d, then, false, access, writes, shared);
            keep_write(d, cell, access);
        } else {
            keep_read(d, cell, access);
        }
        at += length;
    }
}

} // namespace

void races::launch(const char *shared, size_t bytes) {
    Detector &d = detector;
    find_thread_local(d);
    d.found = false;
    d.launch = ++d.now;
    d.dynamic = reinterpret_cast<uintptr_t>(shared);
    d.dynamic_end = d.dynamic + bytes;
}

void races::block() {
    Detector &d = detector;
    d.block = d.block_met = ++d.now;
    for (auto &met : d.warp_met) met = d.now;
}

void races::met() { detector.block_met = ++detector.now; }

void races::met(unsigned warp) { detector.warp_met[warp % MAX_WARPS] = ++detector.now; }

void races::turn(unsigned thread, const char *stack, size_t bytes) {
    Detector &d = detector;
    d.thread = uint16_t(thread);
    d.stack = reinterpret_cast<uintptr_t>(stack);
    d.stack_end = d.stack + bytes;
    d.watching = true;
}

void races::pause() { detector.watching = false; }

bool races::found() { return detector.found; }

// ---- What the launcher asks -------------------------------------------------------------------

// Two accesses that conflict, the earlier one first.
struct Race {
    const void *places[2];
    unsigned threads[2];
    bool writes[2];
    bool shared;
    // Of two blocks; else of one.
    bool blocks;
};

// The race that the last launch of this thread ended with.
extern "C" void nca_emulator_race(Race *race) {
    const Detector &d = detector;
    auto place = [](const Access &access) { return reinterpret_cast<const char *>(&origin) + access.place; };
    *race = {{place(d.first), place(d.second)},
             {d.first.thread, d.second.thread},
             {d.first_writes, d.second_writes},
             d.shared,
             d.blocks};
}

// ---- What the compiler calls ------------------------------------------------------------------

#define CALLER __builtin_return_address(0)
#define SIZED(bytes)                                                                                 \
    void __tsan_read##bytes(void *p) { touch(p, bytes, false, CALLER); }                             \
    void __tsan_write##bytes(void *p) { touch(p, bytes, true, CALLER); }                             \
    void __tsan_unaligned_read##bytes(void *p) { touch(p, bytes, false, CALLER); }                   \
    void __tsan_unaligned_write##bytes(void *p) { touch(p, bytes, true, CALLER); }

extern "C" {
SIZED(1)
SIZED(2)
SIZED(4)
SIZED(8)
SIZED(16)
void __tsan_read_range(void *p, size_t bytes) { touch(p, bytes, false, CALLER); }
void __tsan_write_range(void *p, size_t bytes) { touch(p, bytes, true, CALLER); }
void __tsan_init() {}
void __tsan_func_entry(void *) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void **, void *) {}
void __tsan_vptr_read(void **) {}
// Before what is initialised when it is first used: none of the kernels' variables.
uint8_t __tsan_atomic8_load(const volatile uint8_t *p, int) { return *p; }
// Clang's names for what it makes of copies and fills.
void *__tsan_memcpy(void *to, const void *from, size_t bytes) {
    touch(from, bytes, false, CALLER);
    touch(to, bytes, true, CALLER);
    return memcpy(to, from, bytes);
}
void *__tsan_memmove(void *to, const void *from, size_t bytes) {
    touch(from, bytes, false, CALLER);
    touch(to, bytes, true, CALLER);
    return memmove(to, from, bytes);
}
void *__tsan_memset(void *to, int value, size_t bytes) {
    touch(to, bytes, true, CALLER);
    return memset(to, value, bytes);
}
}
