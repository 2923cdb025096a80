#pragma once

/// Tells readers of other threads and processes that a slot is about to change, so that
/// one load of its counter says whether what they remember is still what is stored
/// (`docs/formats/local.md`, "Counters").

#include "backends/local/table.hpp"

#include <cstdint>
#include <memory>

namespace cachier::local {

/// All slots, where a transaction changes many.
inline constexpr std::uint64_t kAllSlots = 0xffff'ffff;

/// Makes even what the last writer left odd: it has committed or is dead, since the
/// caller is inside a write transaction of its own.
void settle_last_writer(const Table& table) noexcept;

/// One announcement: made inside the transaction, after its rows are written and before
/// its commit; ended by the destructor, whether the commit happened or not.
class Announcement {
 public:
  /// `slot`, or `kAllSlots`.
  Announcement(const Table& table, std::uint64_t slot) noexcept;
  ~Announcement();
  Announcement(const Announcement&) = delete;
  Announcement& operator=(const Announcement&) = delete;

 private:
  const Table& table_;
  std::uint64_t slot_;
  std::uint64_t odd_ = 0;
  std::unique_ptr<std::uint64_t[]> all_odd_;
};

}  // namespace cachier::local
