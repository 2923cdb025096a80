#include "backends/files/locks.hpp"

#include "platform/clock.hpp"
#include "platform/random.hpp"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <mutex>

namespace cachier::files {
namespace {

constexpr std::uint64_t kStates = std::uint64_t{1} << 62;

/// Longer each time: a file server is asked over the network.
void back_off(int attempt) noexcept {
  constexpr int kMost = 2'000;
  const int base = std::min(30 << std::min(attempt, 10), kMost);
  const auto jitter = static_cast<int>(platform::random_bits() % 64) * base / 64;
  platform::pause_for(std::chrono::microseconds(base + jitter));
}

}  // namespace

std::shared_ptr<platform::File> Locks::file(bool anew) {
  const std::lock_guard hold(opening_);
  if (file_ == nullptr || (anew && !platform::has_name(*file_))) {
    auto opened = platform::File::open(path_, O_RDWR | O_CREAT | O_NOFOLLOW);
    file_ = opened ? std::make_shared<platform::File>(std::move(opened)) : nullptr;
  }
  return file_;
}

std::optional<Locks::Held> Locks::take(platform::Lock& lock, std::uint64_t byte,
                                       Deadline deadline) {
  if (!lock.try_lock_until(deadline)) return std::nullopt;
  std::unique_lock hold(lock, std::adopt_lock);
  bool removed = false;
  for (int attempt = 0;; ++attempt) {
    auto opened = file(removed);
    const bool locked =
        opened && platform::lock_byte(*opened, byte, platform::ByteLock::exclusive);
    if (!locked && opened && errno == EAGAIN) {
      if (std::chrono::steady_clock::now() >= deadline) return std::nullopt;
      back_off(attempt);
      continue;
    }
    // What others lock now is another file.
    removed = locked && !platform::has_name(*opened);
    if (removed && attempt < 100) continue;
    if (!locked) opened = nullptr;
    hold.release();
    return Held(lock, std::move(opened), byte);
  }
}

std::optional<Locks::Held> Locks::of_entry(const Digest& digest, Deadline deadline) {
  const std::uint64_t byte = digest.low >> 2;
  return take(entries_[byte % entries_.size()], byte, deadline);
}

std::optional<Locks::Held> Locks::of_states(Deadline deadline) {
  return take(states_, kStates, deadline);
}

void Locks::before_fork() noexcept {
  states_.lock();
  for (platform::Lock& lock : entries_) lock.lock();
  opening_.lock();
}

void Locks::after_fork_in_parent() noexcept {
  opening_.unlock();
  for (platform::Lock& lock : entries_) lock.unlock();
  states_.unlock();
}

void Locks::after_fork_in_child() noexcept {
  file_ = nullptr;
  opening_.reset_in_child();
  for (platform::Lock& lock : entries_) lock.reset_in_child();
  states_.reset_in_child();
}

}  // namespace cachier::files
