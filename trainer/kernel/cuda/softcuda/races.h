#pragma once

#include <cstddef>
#include <cstdint>

namespace softcuda {

struct Allocation;

enum class Touch { reads, writes, counts };  // counts: an atomic addition
// A kernel built for checking touches memory.
void touch(uintptr_t address, size_t bytes, Touch how);
// Bytes of an allocation's cells.
size_t cell_bytes(const Allocation *a);

}  // namespace softcuda
