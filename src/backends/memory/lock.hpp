#pragma once

/// The lock of a shard.

#include "platform/lock.hpp"

namespace cachier::memory {

/// Held for some ten nanoseconds at a time, so that whoever finds it taken tries again
/// for about as long as it takes to fall asleep before he does.
class Lock {
 public:
  void lock() noexcept {
    if (!lock_.try_lock()) [[unlikely]] {
      lock_contended();
    }
  }
  void unlock() noexcept { lock_.unlock(); }

 private:
  [[gnu::noinline]] void lock_contended() noexcept {
    constexpr int kTries = 64;
    for (int tried = 0; tried < kTries; ++tried) {
      if (lock_.try_lock()) return;
#if defined(__x86_64__) || defined(__i386__)
      __builtin_ia32_pause();
#endif
    }
    lock_.lock();
  }

  platform::Lock lock_;
};

}  // namespace cachier::memory
