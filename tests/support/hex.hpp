#pragma once

/// Bytes as tests spell them.

#include <cachier/entry.hpp>

#include <string>
#include <string_view>

namespace cachier::test {

/// Two lower-case digits for each byte.
[[nodiscard]] inline std::string to_hex(Bytes bytes) {
  static constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (const std::byte byte : bytes) {
    text.push_back(kDigits[std::to_integer<unsigned>(byte) >> 4]);
    text.push_back(kDigits[std::to_integer<unsigned>(byte) & 15]);
  }
  return text;
}
[[nodiscard]] inline std::string to_hex(std::string_view bytes) {
  return to_hex(as_bytes(bytes));
}

/// The bytes again; spaces between digits are skipped.
[[nodiscard]] inline std::string from_hex(std::string_view digits) {
  std::string bytes;
  std::string byte;
  for (const char digit : digits) {
    if (digit == ' ') continue;
    byte.push_back(digit);
    if (byte.size() < 2) continue;
    bytes.push_back(static_cast<char>(std::stoi(byte, nullptr, 16)));
    byte.clear();
  }
  return bytes;
}

}  // namespace cachier::test
