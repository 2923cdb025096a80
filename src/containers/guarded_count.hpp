#pragma once

/// A count that is raised under somebody's lock and read without it.

#include <atomic>
#include <cstdint>

namespace cachier::containers {

class GuardedCount {
 public:
  /// The caller has the lock.
  void raise() noexcept {
    count_.store(count_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  }
  [[nodiscard]] std::uint64_t read() const noexcept {
    return count_.load(std::memory_order_relaxed);
  }

 private:
  std::atomic<std::uint64_t> count_{0};
};

}  // namespace cachier::containers
