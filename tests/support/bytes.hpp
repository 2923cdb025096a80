#pragma once

/// Bytes to store and to compare.

#include <cachier/entry.hpp>

#include <cstdint>
#include <random>
#include <string>

namespace cachier::test {

/// `size` bytes that look like nothing; the same for the same seed.
[[nodiscard]] inline std::string random_bytes(std::size_t size,
                                              std::uint64_t seed = 1) {
  std::mt19937_64 generator(seed);
  std::string bytes(size, '\0');
  std::uint64_t word = 0;
  for (std::size_t at = 0; at < size; ++at) {
    if (at % sizeof word == 0) word = generator();
    bytes[at] = static_cast<char>(word & 0xff);
    word >>= 8;
  }
  return bytes;
}

/// Each of the 256 bytes once, in order.
[[nodiscard]] inline std::string every_byte() {
  std::string bytes;
  for (int byte = 0; byte < 256; ++byte) bytes.push_back(static_cast<char>(byte));
  return bytes;
}

}  // namespace cachier::test
