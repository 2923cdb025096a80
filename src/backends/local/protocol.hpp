#pragma once

/// What the order of a change and of a read rests on (`docs/formats/local.md`,
/// "Counters"), as constants: tests of the proof build this folder with others.

#include <cstdint>

namespace cachier::local {

struct Protocol {
  /// Moments at which a test may delay or end a process.
  enum class Point : std::uint8_t {
    announced,
    committed,
    pending_cleared,
    row_read,
    snapshot_open
  };
  static constexpr void at(Point /*point*/) noexcept {}

  static constexpr bool kCountsBeforeReading = true;
  static constexpr bool kCountsInOpenSnapshot = false;
  static constexpr bool kOddBeforeCommit = true;
  static constexpr bool kClearsPending = false;
  static constexpr bool kOnlyBumpsAfterCommit = false;
};

}  // namespace cachier::local
