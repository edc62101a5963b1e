#include "crc32.h"
#include <array>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace cd {
namespace {

// Polynomials are written as the sum is, with the lowest power in the highest bit.
uint32_t times_x(uint32_t a) { return (a >> 1) ^ (a & 1 ? 0xEDB88320u : 0); }

uint32_t product(uint32_t a, uint32_t b) {
  uint32_t p = 0;
  for (; a != 0; a <<= 1, b = times_x(b)) p ^= a >> 31 ? b : 0;
  return p;
}

using Tables = std::array<std::array<uint32_t, 256>, 8>;

Tables make_tables() {
  Tables t{};
  for (uint32_t n = 0; n < 256; ++n) {
    uint32_t c = n;
    for (int bit = 0; bit < 8; ++bit) c = times_x(c);
    t[0][n] = c;
  }
  for (size_t n = 0; n < 256; ++n)
    for (size_t k = 1; k < 8; ++k) t[k][n] = (t[k - 1][n] >> 8) ^ t[0][t[k - 1][n] & 0xFF];
  return t;
}

uint32_t by_tables(uint32_t c, const uint8_t* p, size_t size) {  // without the complements
  static const Tables t = make_tables();
  for (; size >= 8; p += 8, size -= 8) {
    c ^= p[0] | uint32_t{p[1]} << 8 | uint32_t{p[2]} << 16 | uint32_t{p[3]} << 24;
    c = t[7][c & 0xFF] ^ t[6][c >> 8 & 0xFF] ^ t[5][c >> 16 & 0xFF] ^ t[4][c >> 24] ^ t[3][p[4]] ^ t[2][p[5]] ^
        t[1][p[6]] ^ t[0][p[7]];
  }
  for (; size > 0; --size) c = (c >> 8) ^ t[0][(c ^ *p++) & 0xFF];
  return c;
}

#if defined(__x86_64__)
// V. Gopal and others, "Fast CRC Computation for Generic Polynomials Using PCLMULQDQ Instruction", Intel 2009, with the constants
// of its section on gzip. `size` is a multiple of 16, at least 64; without the complements.
__attribute__((target("pclmul,sse4.1"))) uint32_t by_clmul(uint32_t c, const uint8_t* p, size_t size) {
  const auto load = [](const uint8_t* at) __attribute__((target("pclmul,sse4.1"))) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
  };
  const auto fold = [](__m128i x, __m128i k, __m128i next) __attribute__((target("pclmul,sse4.1"))) {
    return _mm_xor_si128(_mm_xor_si128(_mm_clmulepi64_si128(x, k, 0x00), _mm_clmulepi64_si128(x, k, 0x11)), next);
  };
  const __m128i by64 = _mm_set_epi64x(0x01c6e41596, 0x0154442bd4), by16 = _mm_set_epi64x(0x00ccaa009e, 0x01751997d0);
  __m128i a = _mm_xor_si128(load(p), _mm_cvtsi32_si128(static_cast<int>(c)));
  __m128i b = load(p + 16), d = load(p + 32), e = load(p + 48);
  for (p += 64, size -= 64; size >= 64; p += 64, size -= 64) {
    a = fold(a, by64, load(p));
    b = fold(b, by64, load(p + 16));
    d = fold(d, by64, load(p + 32));
    e = fold(e, by64, load(p + 48));
  }
  a = fold(fold(fold(a, by16, b), by16, d), by16, e);
  for (; size >= 16; p += 16, size -= 16) a = fold(a, by16, load(p));
  // 128 bits to 64, then Barrett's reduction to 32.
  const __m128i low = _mm_setr_epi32(~0, 0, ~0, 0);
  a = _mm_xor_si128(_mm_srli_si128(a, 8), _mm_clmulepi64_si128(a, by16, 0x10));
  a = _mm_xor_si128(_mm_srli_si128(a, 4),
                    _mm_clmulepi64_si128(_mm_and_si128(a, low), _mm_cvtsi64_si128(0x0163cd6124), 0));
  const __m128i poly = _mm_set_epi64x(0x01f7011641, 0x01db710641);
  __m128i q = _mm_clmulepi64_si128(_mm_and_si128(a, low), poly, 0x10);
  q = _mm_clmulepi64_si128(_mm_and_si128(q, low), poly, 0x00);
  return static_cast<uint32_t>(_mm_extract_epi32(_mm_xor_si128(a, q), 1));
}
#endif

}  // namespace

uint32_t crc32_portable(uint32_t crc, const void* data, size_t size) {
  return ~by_tables(~crc, static_cast<const uint8_t*>(data), size);
}

uint32_t crc32(uint32_t crc, const void* data, size_t size) {
  const uint8_t* p = static_cast<const uint8_t*>(data);
  uint32_t c = ~crc;
#if defined(__x86_64__)
  static const bool has = __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.1");
  if (has && size >= 64) {
    const size_t most = size & ~size_t{15};
    c = by_clmul(c, p, most);
    p += most;
    size -= most;
  }
#endif
  return ~by_tables(c, p, size);
}

// Behind `size` bytes of zeros a sum is times x to the 8 × size.
uint32_t crc32_joined(uint32_t crc, uint32_t behind, uint64_t size) {
  for (uint32_t power = 1u << (31 - 8); size > 0; size >>= 1, power = product(power, power))
    if (size & 1) crc = product(power, crc);
  return crc ^ behind;
}

}  // namespace cd
