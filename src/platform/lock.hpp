#pragma once

/// A mutex of one word, for state that must survive `fork`.
///
/// Unlike `std::mutex` with a condition variable it has nothing that a forked child
/// could find half changed: `reset_in_child` makes it new. Meets Lockable; not
/// recursive.

#include "platform/futex.hpp"

#include <atomic>
#include <cstdint>

namespace cachier::platform {

class Lock {
 public:
  void lock() noexcept { (void)try_lock_until(Deadline::max()); }

  [[nodiscard]] bool try_lock() noexcept {
    std::uint32_t free = kFree;
    return word_.compare_exchange_strong(free, kHeld, std::memory_order_acquire,
                                         std::memory_order_relaxed);
  }

  /// False: the deadline passed first.
  [[nodiscard]] bool try_lock_until(Deadline deadline) noexcept {
    if (try_lock()) return true;
    // From here on the word says "contended", whoever holds it next: an unlock that
    // wakes nobody costs little, a missed waiter costs everything.
    while (word_.exchange(kContended, std::memory_order_acquire) != kFree) {
      if (deadline != Deadline::max() && std::chrono::steady_clock::now() >= deadline)
        return false;
      futex_wait(word_, kContended, deadline, Reach::process);
    }
    return true;
  }

  void unlock() noexcept {
    if (word_.exchange(kFree, std::memory_order_release) == kContended)
      futex_wake_one(word_, Reach::process);
  }

  /// In a child of `fork`, where whoever held it may not exist.
  void reset_in_child() noexcept { word_.store(kFree, std::memory_order_release); }

 private:
  static constexpr std::uint32_t kFree = 0, kHeld = 1, kContended = 2;

  std::atomic<std::uint32_t> word_{kFree};
};

}  // namespace cachier::platform
