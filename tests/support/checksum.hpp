#pragma once

/// A checksum that holds, as anybody can write it.

#include <cachier/envelope.hpp>

#include <array>
#include <cstdint>
#include <string>

#include "keys/hash.hpp"

namespace cachier::test {

/// Makes the checksum of an envelope that of an entry with these marks. A signature
/// stays as it is. Precondition: it has the room, 11 bytes; little-endian machines.
inline void write_checksum(std::string& envelope, std::uint64_t seed, Time stored_at,
                           const Version& version) {
  constexpr std::size_t kSignature = 32;
  const auto parts = envelope::inspect(as_bytes(envelope), envelope.size());
  std::string body = envelope.substr(11);
  if (parts && parts->is_signed) {
    body.replace(static_cast<std::size_t>(parts->signature_offset) - 11, kSignature,
                 kSignature, '\0');
  }
  const std::array<std::uint64_t, 7> words = {
      keys::hash64(as_bytes(body)),
      std::uint64_t{static_cast<unsigned char>(envelope[0])} - 0xa0,
      seed,
      static_cast<std::uint64_t>(stored_at.time_since_epoch().count()),
      version.words[0],
      version.words[1],
      version.words[2]};
  const std::uint64_t checksum = keys::hash64(std::as_bytes(std::span(words)));
  for (unsigned at = 0; at < 8; ++at) {
    envelope[3 + at] = static_cast<char>(checksum >> (56 - 8 * at) & 0xff);
  }
}

}  // namespace cachier::test
