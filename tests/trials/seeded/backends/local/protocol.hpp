#pragma once

/// Instead of the product's: with delays, and with the fault that the build names.

#include <cstdint>

namespace cachier::local {

struct Protocol {
  enum class Point : std::uint8_t {
    announced,
    committed,
    pending_cleared,
    row_read,
    snapshot_open
  };
  static void at(Point point) noexcept;  // coherence.cpp

  static constexpr bool kCountsBeforeReading = SEEDED_FAULT != 1;
  static constexpr bool kCountsInOpenSnapshot = SEEDED_FAULT == 4;
  static constexpr bool kOddBeforeCommit = SEEDED_FAULT != 2 && SEEDED_FAULT != 5;
  static constexpr bool kClearsPending = SEEDED_FAULT == 3;
  static constexpr bool kOnlyBumpsAfterCommit = SEEDED_FAULT == 5;
};

}  // namespace cachier::local
