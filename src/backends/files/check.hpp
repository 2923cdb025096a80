#pragma once

/// Whether a file is what `docs/formats/files.md` says it is.

#include "backends/files/disk.hpp"

#include <cstdint>
#include <string>

namespace cachier::files {

struct Verdict {
  enum class Kind : std::uint8_t {
    sound,
    newer,       ///< sound, of a form that this library does not know
    tombstone,   ///< nothing is stored: it was erased
    gone,        ///< it is not there
    unreadable,  ///< the system does not let us read it
    damaged,
  };
  Kind kind = Kind::damaged;
  Stamp stamp;           ///< of the file that was judged
  std::string why;       ///< where it is damaged or unreadable
  std::string function;  ///< as far as it could be read
  std::string key;       ///< likewise
  bool hashed = false;

  [[nodiscard]] bool is_bad() const noexcept {
    return kind == Kind::damaged || kind == Kind::unreadable;
  }
};

/// Verifies the entry of this name in the directory `e` of `folder`, which is the name
/// of a function's.
[[nodiscard]] Verdict check(const Directory& entries, const std::string& folder,
                            const std::string& name);

/// Whether there is a state at the path, and it is damaged.
[[nodiscard]] bool is_damaged_state(const Disk& disk, const std::string& path);

}  // namespace cachier::files
