#pragma once

/// Time that a test moves by hand.

#include <cachier/entry.hpp>

#include <atomic>
#include <memory>

namespace cachier::test {

/// Stands still until it is advanced. Copies are the same clock, so that one can be
/// given away as a function. Thread-safe.
class ManualClock {
 public:
  ManualClock()
      : now_(std::make_shared<std::atomic<Duration::rep>>(
            Duration(std::chrono::hours(24 * 365 * 50)).count())) {}

  [[nodiscard]] Time operator()() const noexcept {
    return Time(Duration(now_->load()));
  }
  /// By a negative amount too: machine clocks are set back.
  void advance(Duration by) noexcept { now_->fetch_add(by.count()); }

 private:
  std::shared_ptr<std::atomic<Duration::rep>> now_;
};

/// An end of waiting that no working test reaches.
[[nodiscard]] inline Deadline far_away() noexcept {
  return std::chrono::steady_clock::now() + std::chrono::minutes(2);
}

}  // namespace cachier::test
