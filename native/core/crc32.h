// CRC-32 of gzip and zip (reflected 0x04C11DB7): by carry-less multiplication where the processor has it, by tables elsewhere.
#pragma once
#include <cstddef>
#include <cstdint>

namespace cd {

// Continues `crc`, which is 0 at the beginning.
uint32_t crc32(uint32_t crc, const void* data, size_t size);
// The same by tables: what the other is tested against.
uint32_t crc32_portable(uint32_t crc, const void* data, size_t size);
// Of a content and `size` bytes behind it, from the sums of both.
uint32_t crc32_joined(uint32_t crc, uint32_t behind, uint64_t size);

}  // namespace cd
