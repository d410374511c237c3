// Stacks that calls can be left on and gone back to: the threads of a block that wait for each other.
#pragma once

#include <cstdint>

namespace softcuda {

struct Fibre;

constexpr int fibre_stack_bytes = 128 << 10;

// Goes on with fibre until it leaves; from the process's own stack alone.
void resume(Fibre *fibre);
// From a fibre straight to another; returns when this one is gone back to.
void go_to(Fibre *fibre);
// Back to the process's own stack; returns when this fibre is gone back to.
void leave();
// A fibre that calls body when it is first resumed. body does not return; it leaves for good.
Fibre *take_fibre(void (*body)());
// For another body. The fibre has left for good, or is given up.
void give_fibre(Fibre *fibre);
// The fibre that runs, or null.
Fibre *running_fibre();
// Whether address lies just below the running fibre's stack.
bool overflows_stack(uintptr_t address);

}  // namespace softcuda
