#include "platform/futex.hpp"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <chrono>
#include <climits>

namespace cachier::platform {
namespace {

static_assert(sizeof(std::atomic<std::uint32_t>) == sizeof(std::uint32_t) &&
              std::atomic<std::uint32_t>::is_always_lock_free);

long call(const std::atomic<std::uint32_t>& word, int operation, std::uint32_t value,
          const timespec* until, Reach reach) noexcept {
  if (reach == Reach::process) operation |= FUTEX_PRIVATE_FLAG;
  return ::syscall(SYS_futex, &word, operation, value, until, nullptr,
                   FUTEX_BITSET_MATCH_ANY);
}

}  // namespace

void futex_wait(const std::atomic<std::uint32_t>& word, std::uint32_t expected,
                Deadline deadline, Reach reach) noexcept {
  // FUTEX_WAIT_BITSET takes an absolute time of CLOCK_MONOTONIC, which is what
  // steady_clock reads.
  const auto since_boot = deadline.time_since_epoch();
  if (since_boot.count() <= 0) return;
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(since_boot);
  timespec until{};
  until.tv_sec = static_cast<time_t>(seconds.count());
  until.tv_nsec = static_cast<long>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(since_boot - seconds)
          .count());
  call(word, FUTEX_WAIT_BITSET, expected, &until, reach);
}

void futex_wake_one(const std::atomic<std::uint32_t>& word, Reach reach) noexcept {
  call(word, FUTEX_WAKE, 1, nullptr, reach);
}

void futex_wake_all(const std::atomic<std::uint32_t>& word, Reach reach) noexcept {
  call(word, FUTEX_WAKE, INT_MAX, nullptr, reach);
}

}  // namespace cachier::platform
