#pragma once

/// How what the engine has is said to an adapter, and what cannot be done is called.

#include "python.hpp"

#include <cachier/entry.hpp>
#include <cachier/error.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <string>

namespace cachier::python {

inline constexpr char kCannotLook[] = "cannot look into the cache";
inline constexpr char kCannotStore[] = "cannot store in the cache";
inline constexpr char kCannotList[] = "cannot list the cache";
inline constexpr char kCannotClear[] = "cannot clear the cache";

[[nodiscard]] inline Error out_of_memory(const char* what) {
  return {ErrorCode::unavailable, what, "out of memory"};
}

[[nodiscard]] inline std::int64_t microseconds(
    std::chrono::steady_clock::time_point at) noexcept {
  return std::chrono::duration_cast<std::chrono::microseconds>(at.time_since_epoch())
      .count();
}

[[nodiscard]] inline double seconds_until(Deadline deadline) noexcept {
  const auto left = deadline - std::chrono::steady_clock::now();
  return std::max(0.001, std::chrono::duration<double>(left).count());
}

[[nodiscard]] inline Time time_of(std::int64_t us) noexcept {
  return Time(std::chrono::duration_cast<Duration>(std::chrono::microseconds(us)));
}

[[nodiscard]] inline std::uint64_t read_word(const char* from) noexcept {
  std::uint64_t word = 0;
  for (int n = 0; n < 8; ++n) word = word << 8 | static_cast<unsigned char>(from[n]);
  return word;
}

inline void write_word(std::uint64_t word, char* to) noexcept {
  for (int n = 7; n >= 0; --n, word >>= 8) to[n] = static_cast<char>(word);
}

[[nodiscard]] inline std::string text_of(std::uint64_t high, std::uint64_t low) {
  std::string bytes(16, '\0');
  write_word(high, bytes.data());
  write_word(low, bytes.data() + 8);
  return bytes;
}
[[nodiscard]] inline std::string text_of(const Digest& digest) {
  return text_of(digest.high, digest.low);
}
[[nodiscard]] inline std::string text_of(const Version& version) {
  return text_of(version.words[0], version.words[1]);
}
[[nodiscard]] inline Version version_of(const char* bytes) noexcept {
  return {{read_word(bytes), read_word(bytes + 8), 0}};
}

[[nodiscard]] inline Py_ssize_t length(const std::string& text) noexcept {
  return static_cast<Py_ssize_t>(text.size());
}

}  // namespace cachier::python
