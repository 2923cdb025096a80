#pragma once

/// Counts of what happened to the calls of one function, and in a store.

#include <atomic>
#include <cstdint>

namespace cachier {

/// What the engine counts for one function in this process. Hits are counted by the
/// doors, whose fast path they are. Relaxed atomics: each number is exact, two numbers
/// may be of two moments.
struct Counters {
  std::atomic<std::uint64_t> hits{0};        ///< answered from the store
  std::atomic<std::uint64_t> misses{0};      ///< no fresh entry
  std::atomic<std::uint64_t> stale_hits{0};  ///< an entry, but too old
  std::atomic<std::uint64_t> recalculations{
      0};                                  ///< the function was run to store its result
  std::atomic<std::uint64_t> run_time{0};  ///< what these runs took, all in all, ns
  std::atomic<std::uint64_t> waits{0};     ///< served by somebody else's computation
  std::atomic<std::uint64_t> wait_timeouts{0};    ///< gave up waiting and computed
  std::atomic<std::uint64_t> size_rejections{0};  ///< results over `entry_size_limit`
  std::atomic<std::uint64_t> damaged{
      0};  ///< stored, but a checksum or form did not hold
  std::atomic<std::uint64_t> untrusted{0};  ///< stored, not signed by a key of ours
  std::atomic<std::uint64_t> unreadable{
      0};  ///< sound, but of a codec this caller cannot read
  std::atomic<std::uint64_t> lost_claims{
      0};  ///< results not stored: cleared or overtaken
  std::atomic<std::uint64_t> lost_leases{
      0};  ///< claims that were over before their function had ended
  std::atomic<std::uint64_t> store_errors{0};  ///< the store failed; the call computed
};

/// What a store did for this process since it was opened. Each number is exact, two may
/// be of two moments. What is answered without the store is not among it.
struct StoreMetrics {
  // Looks that found a fresh entry.
  std::uint64_t near_hits = 0;   ///< in this process's memory
  std::uint64_t store_hits = 0;  ///< read from the store
  // Looks that found none, by cause. A look that found somebody computing is no miss.
  std::uint64_t absent = 0;  ///< nothing is stored
  std::uint64_t stale = 0;   ///< too old
  std::uint64_t empty = 0;   ///< an empty answer that was not asked for (`allow_none`)
  std::uint64_t unreadable = 0;  ///< sound, but of a form that the caller cannot read
  std::uint64_t damaged = 0;     ///< a checksum or form did not hold
  std::uint64_t untrusted = 0;   ///< not signed by a key of ours
  std::uint64_t collisions = 0;  ///< the entry of another call with an equal digest

  std::uint64_t failures = 0;   ///< looks and changes that the store could not do
  std::uint64_t evictions = 0;  ///< entries removed to keep within bounds
  std::uint64_t set_aside = 0;  ///< damaged databases that this process replaced

  [[nodiscard]] std::uint64_t hits() const noexcept { return near_hits + store_hits; }
  [[nodiscard]] std::uint64_t misses() const noexcept {
    return absent + stale + empty + unreadable + damaged + untrusted + collisions;
  }
  friend bool operator==(const StoreMetrics&, const StoreMetrics&) = default;
};

}  // namespace cachier
