#pragma once

/// Whether an envelope is that of the entry beside which it is stored.

#include <cachier/entry.hpp>

#include <cstdint>
#include <optional>
#include <string>

namespace cachier::shared {

struct Judged {
  enum class Kind : std::uint8_t {
    sound,
    newer,  ///< sound, of a form that this library does not know
    damaged,
  };
  Kind kind = Kind::damaged;
  std::string why;  ///< where it is not sound
  std::string key;  ///< as far as it could be read
  bool hashed = false;
  std::optional<Value> value;  ///< of a sound one: a view of the envelope
};

/// Verifies its checksum, its key and that this is the key of the digest.
[[nodiscard]] Judged judge_envelope(Bytes envelope, const Function& function,
                                    const Digest& digest, Time stored_at,
                                    const Version& version);

}  // namespace cachier::shared
