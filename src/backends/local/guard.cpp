#include "backends/local/guard.hpp"

#include "platform/clock.hpp"
#include "platform/random.hpp"

#include <fcntl.h>

#include <cerrno>
#include <chrono>
#include <mutex>

namespace cachier::local {
namespace {

/// How long a checkpoint may ask writers to hold off at a time, in ms.
constexpr std::uint64_t kHoldOff = 20;

void back_off() noexcept {
  platform::pause_for(
      std::chrono::microseconds(30 + static_cast<int>(platform::random_bits() % 41)));
}

bool is_late(Deadline deadline) noexcept {
  return std::chrono::steady_clock::now() >= deadline;
}

/// Waits for a byte. A failure that is not somebody else's lock counts as a wait too:
/// it ends with the deadline.
bool wait_for_byte(const platform::File& file, std::uint64_t byte,
                   platform::ByteLock kind, Deadline deadline) noexcept {
  while (!platform::lock_byte(file, byte, kind)) {
    if (is_late(deadline)) return false;
    back_off();
  }
  return true;
}

}  // namespace

std::optional<Error> Guard::open(const std::string& path) {
  shared_ = platform::File::open(path, O_RDWR | O_CREAT);
  if (shared_) exclusive_ = platform::File::open(path, O_RDWR | O_CREAT);
  if (shared_ && exclusive_) {
    // A file system without these locks says so now.
    const bool held = platform::lock_byte(shared_, kDoor, platform::ByteLock::shared);
    if (held || errno == EAGAIN) {
      if (held) platform::unlock_byte(shared_, kDoor);
      return std::nullopt;
    }
  }
  const int error_number = errno;
  shared_.close();
  exclusive_.close();
  return platform::system_error("cannot lock '" + path + "'", error_number);
}

Guard::Answer Guard::enter_as_writer(const Table& table, const std::atomic<bool>& hurry,
                                     Deadline deadline) noexcept {
  for (;;) {
    const std::uint64_t until = table.checkpoint().load(std::memory_order_relaxed);
    bool asked = false;
    if (until != 0) {
      // Further ahead than anybody asks for: left from before the machine restarted.
      const std::uint64_t now = platform::monotonic_milliseconds();
      asked = now < until && until - now <= kHoldOff;
    }
    if (!asked && platform::lock_byte(shared_, kGuard, platform::ByteLock::shared))
      return Answer::entered;
    if (hurry.load(std::memory_order_relaxed)) return Answer::hurried;
    if (is_late(deadline)) return Answer::late;
    back_off();
  }
}

void Guard::leave_as_writer() noexcept { platform::unlock_byte(shared_, kGuard); }

Guard::Answer Guard::enter_as_checkpoint(const Table& table,
                                         const std::atomic<bool>& hurry,
                                         Deadline deadline) noexcept {
  auto answer = Answer::late;
  do {
    const std::uint64_t wish = platform::monotonic_milliseconds() + kHoldOff;
    table.checkpoint().store(wish, std::memory_order_relaxed);
    if (platform::lock_byte(exclusive_, kGuard, platform::ByteLock::exclusive)) {
      answer = Answer::entered;
      break;
    }
    if (hurry.load(std::memory_order_relaxed)) {
      answer = Answer::hurried;
      break;
    }
    back_off();
  } while (!is_late(deadline));
  table.checkpoint().store(0, std::memory_order_relaxed);
  return answer;
}

void Guard::leave_as_checkpoint() noexcept {
  platform::unlock_byte(exclusive_, kGuard);
}

bool Guard::enter_door(Deadline deadline) noexcept {
  for (;;) {
    {
      const std::lock_guard hold(door_);
      if (inside_ > 0 || !shared_ ||
          platform::lock_byte(shared_, kDoor, platform::ByteLock::shared)) {
        ++inside_;
        return true;
      }
    }
    if (is_late(deadline)) return false;
    back_off();
  }
}

void Guard::leave_door() noexcept {
  const std::lock_guard hold(door_);
  if (--inside_ == 0 && shared_) platform::unlock_byte(shared_, kDoor);
}

bool Guard::enter_alone(const Table& table, Deadline deadline) noexcept {
  if (!wait_for_byte(exclusive_, kDoor, platform::ByteLock::exclusive, deadline))
    return false;
  const std::atomic<bool> hurry{false};
  if (enter_as_checkpoint(table, hurry, deadline) == Answer::entered) return true;
  platform::unlock_byte(exclusive_, kDoor);
  return false;
}

void Guard::leave_alone() noexcept {
  leave_as_checkpoint();
  platform::unlock_byte(exclusive_, kDoor);
}

bool Guard::enter_making(Deadline deadline) noexcept {
  return wait_for_byte(exclusive_, kMaking, platform::ByteLock::exclusive, deadline);
}

void Guard::leave_making() noexcept { platform::unlock_byte(exclusive_, kMaking); }

void Guard::after_fork_in_child() noexcept {
  shared_.close();
  exclusive_.close();
  inside_ = 0;
  door_.reset_in_child();
  turn_.reset_in_child();
}

}  // namespace cachier::local
