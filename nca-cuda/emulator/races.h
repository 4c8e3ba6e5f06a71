// What the emulator tells the race detector (races.cpp), on the thread of the host that runs the kernel.
#pragma once

#include <cstddef>

namespace races {

// A launch begins: all before it is over. `shared` is the dynamic shared memory of its blocks.
void launch(const char *shared, size_t bytes);
// A block begins.
void block();
// All threads of the block have met.
void met();
// The threads of a warp have met.
void met(unsigned warp);
// A thread of the block goes on; what lies on its stack is its own.
void turn(unsigned thread, const char *stack, size_t bytes);
// No kernel's code runs any more.
void pause();
// Whether two accesses of the launch conflict.
bool found();

} // namespace races
