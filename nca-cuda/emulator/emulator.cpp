// CUDA kernels on the host: runs the blocks of a grid one after another, and the threads of a block
// as fibres that take turns at barriers.
//
// The kernels are the very files that NVRTC compiles; this file supplies the part of CUDA they use.
// It proves logic: indices, synchronisation, arithmetic. It says nothing about speed.
//
// * A barrier that some threads of a block do not reach is an error, not a hang.
// * Dynamic shared memory starts as NaNs, blocks run from the last to the first, and the threads of a block in
//   ascending order in one block and in descending order in the next: nothing may depend on what memory held, or
//   on which block or thread came first.
// * What is copied asynchronously is NaN from the start of the copy until its thread has waited for it.
// * Number and sizes of the arguments of a launch are compared with the kernel's parameters.
// * With RACES defined, accesses that nothing orders are an error (races.cpp).

#include <setjmp.h>
#include <ucontext.h>

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

#if defined(RACES)
#include "races.h"
// What the emulator itself reads and writes while a kernel runs is none of the kernel's accesses.
#define UNWATCHED __attribute__((no_sanitize("thread"), noinline))
#else
#define UNWATCHED
#endif

// Part of the line of the kernel that calls it, as messages about its accesses shall say.
#define HERE __attribute__((always_inline)) inline

#define EMULATED 1

// ---- What kernels see of CUDA -----------------------------------------------------------------

#define __device__ inline
#define __forceinline__
#define __restrict__ __restrict
#define __launch_bounds__(...)
// A block runs on one thread of the host from start to end.
#define __shared__ static thread_local
#define __align__(n) alignas(n)

struct dim3 {
    unsigned x, y, z;
};
struct alignas(8) float2 {
    float x, y;
};
struct alignas(8) int2 {
    int x, y;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
struct alignas(16) uint4 {
    unsigned x, y, z, w;
};

static inline float2 make_float2(float x, float y) { return {x, y}; }
static inline int2 make_int2(int x, int y) { return {x, y}; }
static inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
static inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
template <typename T> static inline T min(T a, T b) { return b < a ? b : a; }
template <typename T> static inline T max(T a, T b) { return a < b ? b : a; }
static inline unsigned __umulhi(unsigned a, unsigned b) { return unsigned((uint64_t(a) * b) >> 32); }
static inline int __popc(unsigned v) { return __builtin_popcount(v); }
static inline unsigned __float_as_uint(float v) {
    unsigned bits;
    memcpy(&bits, &v, sizeof bits);
    return bits;
}
static inline float __uint_as_float(unsigned bits) {
    float v;
    memcpy(&v, &bits, sizeof v);
    return v;
}
template <typename T> static inline T __ldg(const T *p) { return *p; }

static thread_local dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace emulator {

// ---- Registration -----------------------------------------------------------------------------

struct Entry {
    void (*call)(void **args);
    std::vector<size_t> sizes;
};

inline std::unordered_map<std::string, Entry> &entries() {
    static std::unordered_map<std::string, Entry> map;
    return map;
}

template <auto F, typename... A, size_t... I>
void call(void **args, std::index_sequence<I...>) {
    F(*static_cast<A *>(args[I])...);
}

template <auto F> struct Register;
template <typename... A, void (*F)(A...)> struct Register<F> {
    explicit Register(const char *name) {
        entries()[name] = {[](void **args) { call<F, A...>(args, std::index_sequence_for<A...>()); }, {sizeof(A)...}};
    }
};

// ---- Fibres -----------------------------------------------------------------------------------

enum class Wait { nothing, warp, block };

// A copy that its thread has started and not yet waited for.
struct Copy {
    float *to;
    float values[4];
    unsigned floats;
};
// Copies of a thread under way; with more they are made early, as they may be.
constexpr unsigned COPIES = 64;

struct Fibre {
    ucontext_t start;
    jmp_buf context;
    char *stack;
    bool started = false;
    bool done = false;
    Wait wait = Wait::nothing;
    int line = 0;
    // Whether what was done before the barrier is seen after it: not so for shuffles and votes.
    bool orders = false;
    dim3 thread;
    Copy copies[COPIES];
    unsigned copying = 0, made = 0;
#if defined(__SANITIZE_ADDRESS__)
    void *fake_stack = nullptr;
#endif
};

constexpr size_t STACK = 128 * 1024;
constexpr unsigned WARP = 32;
// Bytes that a thread can show the others of its warp at a time.
constexpr size_t SHOWN = 48;

// What the threads of a warp show each other, in two sets: nobody writes a set again before all have
// passed the barrier after reading it.
struct Warp {
    alignas(16) char shown[2][WARP * SHOWN];
    uint32_t turn[WARP];
};

struct Machine {
    std::deque<Fibre> fibres;
    std::vector<Fibre *> idle;
    std::vector<Fibre *> threads;
    std::vector<Warp> warps;
    std::vector<char> shared;
    // Launches so far, and whether the threads of this block take their turns from the last to the first.
    unsigned launches = 0;
    bool descending = false;
    Fibre *current = nullptr;
    jmp_buf scheduler;
    void (*kernel)(void **) = nullptr;
    void **args = nullptr;
#if defined(__SANITIZE_ADDRESS__)
    void *fake_stack = nullptr;
    const void *stack = nullptr;
    size_t stack_size = 0;
#endif
};

static thread_local Machine machine;

// Back to the scheduler; returns when the fibre's turn comes again.
UNWATCHED __attribute__((noinline)) static void yield() {
    Fibre *self = machine.current;
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(&self->fake_stack, machine.stack, machine.stack_size);
#endif
    if (_setjmp(self->context) == 0) _longjmp(machine.scheduler, 1);
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(self->fake_stack, &machine.stack, &machine.stack_size);
#endif
}

// A fibre's life: one CUDA thread after another.
UNWATCHED static void fibre_main() {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(nullptr, &machine.stack, &machine.stack_size);
#endif
    for (;;) {
        machine.current->copying = machine.current->made = 0;
        machine.kernel(machine.args);
        machine.current->done = true;
        yield();
    }
}

// Runs a fibre until it waits or is done.
UNWATCHED __attribute__((noinline)) static void resume(Fibre *fibre) {
    machine.current = fibre;
    threadIdx = fibre->thread;
#if defined(RACES)
    races::turn(threadIdx.x, fibre->stack, STACK);
#endif
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(&machine.fake_stack, fibre->stack, STACK);
#endif
    if (_setjmp(machine.scheduler) == 0) {
        if (fibre->started) _longjmp(fibre->context, 1);
        fibre->started = true;
        setcontext(&fibre->start);
    }
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(machine.fake_stack, nullptr, nullptr);
#endif
#if defined(RACES)
    races::pause();
#endif
}

static Fibre *idle_fibre() {
    if (machine.idle.empty()) {
        machine.fibres.emplace_back();
        Fibre *fibre = &machine.fibres.back();
        // Kept as long as the thread of the host: the next launch uses it again.
        fibre->stack = static_cast<char *>(malloc(STACK));
        getcontext(&fibre->start);
        fibre->start.uc_stack.ss_sp = fibre->stack;
        fibre->start.uc_stack.ss_size = STACK;
        fibre->start.uc_link = nullptr;
        makecontext(&fibre->start, fibre_main, 0);
        machine.idle.push_back(fibre);
    }
    Fibre *fibre = machine.idle.back();
    machine.idle.pop_back();
    return fibre;
}

static unsigned lane() { return threadIdx.x % WARP; }

UNWATCHED static void wait_for(Wait what, int line, bool orders) {
    machine.current->wait = what;
    machine.current->line = line;
    machine.current->orders = orders;
    yield();
}

// Each thread of the warp shows a value; returns what all of them show.
template <typename T> UNWATCHED static const T *show(const T &value, int line) {
    static_assert(sizeof(T) <= SHOWN && alignof(T) <= 16, "has room");
    Warp &warp = machine.warps[threadIdx.x / WARP];
    unsigned self = lane();
    T *set = reinterpret_cast<T *>(warp.shown[warp.turn[self]++ % 2]);
    memcpy(set + self, &value, sizeof value);
    wait_for(Wait::warp, line, false);
    return set;
}

template <typename T> UNWATCHED static T shuffle(T value, unsigned from, int line) {
    static_assert(sizeof(T) <= sizeof(uint64_t), "a register");
    unsigned self = lane();
    return show(value, line)[from < WARP ? from : self];
}

UNWATCHED static unsigned ballot(bool predicate, int line) {
    const bool *shown = show(predicate, line);
    unsigned votes = 0;
    for (unsigned i = 0; i < WARP; i++) votes |= unsigned(shown[i]) << i;
    return votes;
}

// The next of the thread's copies under way, if there is one.
UNWATCHED static bool take_copy(Copy *copy) {
    Fibre *self = machine.current;
    if (self->made == self->copying) {
        self->made = self->copying = 0;
        return false;
    }
    *copy = self->copies[self->made++];
    return true;
}

// Ends them: only now is there what was copied.
HERE static void await_copies() {
    Copy copy;
    while (take_copy(&copy)) {
        for (unsigned i = 0; i < copy.floats; i++) copy.to[i] = copy.values[i];
    }
}

UNWATCHED static bool start_copy(const Copy &copy) {
    Fibre *self = machine.current;
    if (self->copying == COPIES) return false;
    self->copies[self->copying++] = copy;
    return true;
}

// Until it is waited for, there are NaNs: who reads too early, or still reads what was there before, gets those. There
// they stay if the addresses are not multiples of the length, which a GPU would not take.
HERE static void copy_async(float *to, const float *from, unsigned floats, bool inside) {
    size_t bytes = floats * sizeof(float);
    bool aligned = (uintptr_t(to) | uintptr_t(from)) % bytes == 0;
    Copy copy = {to, {}, floats};
    for (unsigned i = 0; i < floats; i++) {
        copy.values[i] = !aligned ? NAN : inside ? from[i] : 0.0f;
        to[i] = NAN;
    }
    while (!start_copy(copy)) await_copies();
}

enum Status { OK = 0, UNKNOWN_KERNEL = 1, WRONG_ARGUMENTS = 2, DIVERGED = 3, RACE = 4 };

// Lets threads `from..to` go on when all of them wait for `what` (at the same place) or are done
// with nobody waiting. `false` where some wait and others never come.
static bool release(unsigned from, unsigned to, Wait what, bool *released) {
    unsigned waiting = 0, elsewhere = 0;
    int line = 0;
    for (unsigned i = from; i < to; i++) {
        Fibre *fibre = machine.threads[i];
        if (fibre && fibre->wait == what && (waiting == 0 || fibre->line == line)) {
            line = fibre->line;
            waiting++;
        } else {
            elsewhere++;
        }
    }
    *released = waiting > 0 && elsewhere == 0;
    if (*released) {
#if defined(RACES)
        if (what == Wait::block) races::met();
        else if (machine.threads[from]->orders) races::met(from / WARP);
#endif
        for (unsigned i = from; i < to; i++) machine.threads[i]->wait = Wait::nothing;
    }
    return waiting == 0 || elsewhere == 0;
}

// Number i of the `count` that take their turns.
static unsigned turn(unsigned i, unsigned count) { return machine.descending ? count - 1 - i : i; }

static void run(unsigned thread) {
    Fibre *fibre = machine.threads[thread];
    if (!fibre || fibre->wait != Wait::nothing) return;
    resume(fibre);
    if (fibre->done) {
        machine.threads[thread] = nullptr;
        machine.idle.push_back(fibre);
    }
}

// Runs what can run among threads `from..to`.
static void run_ready(unsigned from, unsigned to) {
    for (unsigned i = 0; i < to - from; i++) run(from + turn(i, to - from));
}

static Status run_block(unsigned count) {
    machine.warps.assign((count + WARP - 1) / WARP, Warp());
    machine.threads.assign(count, nullptr);
    memset(machine.shared.data(), 0xff, machine.shared.size());
#if defined(RACES)
    races::block();
#endif
    // Each starts when its turn comes: one that is done leaves its fibre to the next.
    for (unsigned i = 0; i < count; i++) {
        unsigned thread = turn(i, count);
        Fibre *fibre = idle_fibre();
        fibre->done = false;
        fibre->wait = Wait::nothing;
        fibre->thread = {thread, 0, 0};
        machine.threads[thread] = fibre;
        run(thread);
    }
    for (;;) {
        // Warps first: their barriers are the inner ones.
        bool any = false;
        unsigned warps = unsigned(machine.warps.size());
        for (unsigned i = 0; i < warps; i++) {
            unsigned from = turn(i, warps) * WARP, to = min(from + WARP, count);
            bool waits_for_warp = false, released = false;
            for (unsigned t = from; t < to; t++) {
                waits_for_warp |= machine.threads[t] && machine.threads[t]->wait == Wait::warp;
            }
            if (!waits_for_warp) continue;
            if (!release(from, to, Wait::warp, &released)) return DIVERGED;
            run_ready(from, to);
            any = true;
        }
        if (any) continue;
        bool released = false;
        if (!release(0, count, Wait::block, &released)) return DIVERGED;
        if (!released) return OK;
        run_ready(0, count);
    }
}

} // namespace emulator

#define __syncthreads() emulator::wait_for(emulator::Wait::block, __LINE__, true)
#define __syncwarp() emulator::wait_for(emulator::Wait::warp, __LINE__, true)
// Whole warps only: the mask is what all kernels pass.
#define __shfl_sync(mask, value, from) emulator::shuffle(value, from, __LINE__)
#define __shfl_down_sync(mask, value, delta) emulator::shuffle(value, emulator::lane() + (delta), __LINE__)
#define __shfl_xor_sync(mask, value, bits) emulator::shuffle(value, emulator::lane() ^ (bits), __LINE__)
#define __ballot_sync(mask, predicate) emulator::ballot(predicate, __LINE__)

HERE static void copy_async(float4 *to, const float4 *from, bool inside) {
    emulator::copy_async(reinterpret_cast<float *>(to), reinterpret_cast<const float *>(from), 4, inside);
}
HERE static void copy_async(float *to, const float *from, bool inside) { emulator::copy_async(to, from, 1, inside); }
HERE static void await_copies() { emulator::await_copies(); }

#define DYNAMIC_SHARED(type, name) type *name = reinterpret_cast<type *>(emulator::machine.shared.data())
#define KERNEL(name, threads, parameters)                                                         \
    extern "C" void name parameters;                                                              \
    static emulator::Register<&name> register_##name(#name);                                      \
    extern "C" void name parameters

// ---- The launcher's side ----------------------------------------------------------------------

// Runs a kernel; returns a `Status`.
extern "C" int nca_emulator_launch(const char *name, const unsigned grid[3], unsigned threads, size_t shared,
                                   void **args, const size_t *sizes, size_t count) {
    using namespace emulator;
    auto found = entries().find(name);
    if (found == entries().end()) return UNKNOWN_KERNEL;
    const Entry &entry = found->second;
    if (entry.sizes.size() != count) return WRONG_ARGUMENTS;
    for (size_t i = 0; i < count; i++) {
        if (entry.sizes[i] != sizes[i]) return WRONG_ARGUMENTS;
    }
    // Not resized up to a capacity that AddressSanitizer would take for valid.
    std::vector<char>(shared).swap(machine.shared);
#if defined(RACES)
    races::launch(machine.shared.data(), shared);
#endif
    machine.kernel = entry.call;
    machine.args = args;
    gridDim = {grid[0], grid[1], grid[2]};
    blockDim = {threads, 1, 1};
    // A launch of one block goes now this way, now that; not in turn, or two kernels of one operation would each keep
    // their own.
    machine.descending = __builtin_parity(machine.launches++);
    for (unsigned z = grid[2]; z-- > 0;) {
        for (unsigned y = grid[1]; y-- > 0;) {
            for (unsigned x = grid[0]; x-- > 0;) {
                blockIdx = {x, y, z};
                Status status = run_block(threads);
                machine.descending = !machine.descending;
                if (status != OK) {
                    // Fibres stuck at a barrier are lost; the next launch takes new ones.
                    return status;
                }
            }
        }
    }
#if defined(RACES)
    if (races::found()) return RACE;
#endif
    return OK;
}

extern "C" size_t nca_emulator_kernels() { return emulator::entries().size(); }
