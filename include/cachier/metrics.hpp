#pragma once

/// Counts of what happened to the calls of one function.

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
      0};                               ///< the function was run to store its result
  std::atomic<std::uint64_t> waits{0};  ///< served by somebody else's computation
  std::atomic<std::uint64_t> wait_timeouts{0};    ///< gave up waiting and computed
  std::atomic<std::uint64_t> size_rejections{0};  ///< results over `entry_size_limit`
  std::atomic<std::uint64_t> damaged{
      0};  ///< stored, but a checksum or form did not hold
  std::atomic<std::uint64_t> unreadable{
      0};  ///< sound, but of a codec this caller cannot read
  std::atomic<std::uint64_t> lost_claims{
      0};  ///< results not stored: cleared or overtaken
  std::atomic<std::uint64_t> lost_leases{
      0};  ///< claims that were over before their function had ended
  std::atomic<std::uint64_t> store_errors{0};  ///< the store failed; the call computed
};

}  // namespace cachier
