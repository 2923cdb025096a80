#include <cachier/cbor.hpp>

namespace cachier::cbor {
namespace {

/// Bytes of the sound sequence at the front of `text`, 0 if there is none. Not ASCII.
std::size_t sequence_length(std::string_view text) noexcept {
  const auto at = [text](std::size_t index) {
    return static_cast<unsigned char>(text[index]);
  };
  const auto continues = [&](std::size_t index, unsigned low = 0x80,
                             unsigned high = 0xbf) {
    return index < text.size() && at(index) >= low && at(index) <= high;
  };
  const unsigned first = at(0);
  if (first >= 0xc2 && first <= 0xdf) return continues(1) ? 2 : 0;
  if (first >= 0xe0 && first <= 0xef) {
    // Overlong forms begin e0 80..9f, surrogates ed a0..bf.
    const unsigned low = first == 0xe0 ? 0xa0 : 0x80;
    const unsigned high = first == 0xed ? 0x9f : 0xbf;
    return continues(1, low, high) && continues(2) ? 3 : 0;
  }
  if (first >= 0xf0 && first <= 0xf4) {
    const unsigned low = first == 0xf0 ? 0x90 : 0x80;
    const unsigned high = first == 0xf4 ? 0x8f : 0xbf;
    return continues(1, low, high) && continues(2) && continues(3) ? 4 : 0;
  }
  return 0;
}

}  // namespace

bool is_utf8(std::string_view text) noexcept {
  while (!text.empty()) {
    std::size_t length = 1;
    if (text.size() >= 8 && detail::is_ascii(text.data(), 8)) {
      length = 8;
    } else if (static_cast<unsigned char>(text.front()) >= 0x80) {
      length = sequence_length(text);
      if (length == 0) return false;
    }
    text.remove_prefix(length);
  }
  return true;
}

}  // namespace cachier::cbor
