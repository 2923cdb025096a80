#pragma once

/// What a store counts of itself (`StoreMetrics`), but for what it finds in memory.

#include <cachier/metrics.hpp>
#include <cachier/store.hpp>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace cachier::shared {

/// Why a look found no fresh entry.
enum class Miss : std::uint8_t {
  none,  ///< it did
  absent,
  stale,
  empty,
  unreadable,
  damaged,
  untrusted,
  collision,
};

/// What a look says of an envelope that could not be opened.
inline Miss refuse(const Error& error, Look& look) noexcept {
  look.damaged = error == ErrorCode::corrupt;
  look.untrusted = error == ErrorCode::untrusted;
  if (look.damaged) return Miss::damaged;
  return look.untrusted ? Miss::untrusted : Miss::unreadable;
}

/// Thread-safe. On cache lines of its own, as it is written to where others are read.
class alignas(64) Tally {
 public:
  /// A look has come to this answer.
  void looked(const Look& look, Miss miss) noexcept {
    if (look.fresh) miss = Miss::none;
    if (miss == Miss::none || look.claim != Look::Claim::busy) add(of(miss));
  }
  /// A verb's answer. Somebody who was faster is no failure.
  template <class Answer>
  void answered(const Answer& answer) noexcept {
    if (!answer && answer.error() != ErrorCode::claim_lost) add(failures_);
  }
  void evicted(std::uint64_t count) noexcept { add(evictions_, count); }
  void set_aside() noexcept { add(set_aside_); }

  [[nodiscard]] StoreMetrics metrics(std::uint64_t near_hits) const noexcept {
    const auto read = [](const Count& count) {
      return count.load(std::memory_order_relaxed);
    };
    const auto looks = [&](Miss miss) {
      return read(looks_[static_cast<std::size_t>(miss)]);
    };
    return {.near_hits = near_hits,
            .store_hits = looks(Miss::none),
            .absent = looks(Miss::absent),
            .stale = looks(Miss::stale),
            .empty = looks(Miss::empty),
            .unreadable = looks(Miss::unreadable),
            .damaged = looks(Miss::damaged),
            .untrusted = looks(Miss::untrusted),
            .collisions = looks(Miss::collision),
            .failures = read(failures_),
            .evictions = read(evictions_),
            .set_aside = read(set_aside_)};
  }

 private:
  using Count = std::atomic<std::uint64_t>;

  [[nodiscard]] Count& of(Miss miss) noexcept {
    return looks_[static_cast<std::size_t>(miss)];
  }
  static void add(Count& count, std::uint64_t more = 1) noexcept {
    count.fetch_add(more, std::memory_order_relaxed);
  }

  std::array<Count, 8> looks_{};
  Count failures_{0};
  Count evictions_{0};
  Count set_aside_{0};
};

}  // namespace cachier::shared
