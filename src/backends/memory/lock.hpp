#pragma once

/// The lock of a shard.

#include "platform/futex.hpp"

#include <atomic>
#include <cstdint>

#if __has_include(<sys/single_threaded.h>)
#include <sys/single_threaded.h>
#endif

namespace cachier::memory {

/// Whether this thread is the only one of the process, as far as is known for nothing.
[[nodiscard]] inline bool alone() noexcept {
#if __has_include(<sys/single_threaded.h>)
  return __libc_single_threaded != 0;
#else
  return false;
#endif
}

/// As `platform::Lock`, with two differences. It is held for some ten nanoseconds at a
/// time, so that whoever finds it taken tries again for about as long as it takes to
/// fall asleep before he does. And a thread that is alone takes it and gives it back
/// with plain loads and stores, as the C library's mutexes do: the word is the same, so
/// it may find company while it holds it.
class Lock {
 public:
  void lock() noexcept {
    if (!try_lock()) [[unlikely]] {
      lock_contended();
    }
  }

  [[nodiscard]] bool try_lock() noexcept {
    std::uint32_t free = kFree;
    if (!alone()) {
      return word_.compare_exchange_strong(free, kHeld, std::memory_order_acquire,
                                           std::memory_order_relaxed);
    }
    if (word_.load(std::memory_order_relaxed) != kFree) return false;
    word_.store(kHeld, std::memory_order_relaxed);
    return true;
  }

  void unlock() noexcept {
    if (alone()) {
      word_.store(kFree, std::memory_order_release);
    } else if (word_.exchange(kFree, std::memory_order_release) == kContended) {
      platform::futex_wake_one(word_, platform::Reach::process);
    }
  }

 private:
  static constexpr std::uint32_t kFree = 0, kHeld = 1, kContended = 2;

  [[gnu::noinline]] void lock_contended() noexcept {
    constexpr int kTries = 64;
    for (int tried = 0; tried < kTries; ++tried) {
      if (try_lock()) return;
#if defined(__x86_64__) || defined(__i386__)
      __builtin_ia32_pause();
#endif
    }
    while (word_.exchange(kContended, std::memory_order_acquire) != kFree) {
      platform::futex_wait(word_, kContended, Deadline::max(),
                           platform::Reach::process);
    }
  }

  std::atomic<std::uint32_t> word_{kFree};
};

}  // namespace cachier::memory
