#pragma once

/// Locks of `docs/formats/files.md` under which entries and states are changed, between
/// processes and between threads.

#include <cachier/entry.hpp>

#include "platform/file.hpp"
#include "platform/lock.hpp"

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

namespace cachier::files {

/// Thread-safe. Where the file system has no locks, threads are kept apart only.
class Locks {
 public:
  explicit Locks(std::string path) : path_(std::move(path)) {}

  /// Ends with its life.
  class Held {
   public:
    Held(platform::Lock& lock, std::shared_ptr<platform::File> file,
         std::uint64_t byte) noexcept
        : lock_(&lock), file_(std::move(file)), byte_(byte) {}
    Held(Held&& other) noexcept
        : lock_(std::exchange(other.lock_, nullptr)),
          file_(std::move(other.file_)),
          byte_(other.byte_) {}
    Held& operator=(Held&&) = delete;
    ~Held() {
      if (lock_ == nullptr) return;
      if (file_) platform::unlock_byte(*file_, byte_);
      file_ = nullptr;
      lock_->unlock();
    }

   private:
    platform::Lock* lock_;
    std::shared_ptr<platform::File> file_;
    std::uint64_t byte_;
  };

  /// Nothing: the deadline passed.
  std::optional<Held> of_entry(const Digest& digest, Deadline deadline);
  std::optional<Held> of_states(Deadline deadline);

  /// Around `fork`: nobody holds any; a child lets go of the file without unlocking.
  void before_fork() noexcept;
  void after_fork_in_parent() noexcept;
  void after_fork_in_child() noexcept;

 private:
  std::optional<Held> take(platform::Lock& lock, std::uint64_t byte, Deadline deadline);
  /// `anew`: if what is open has been removed.
  std::shared_ptr<platform::File> file(bool anew);

  const std::string path_;
  platform::Lock opening_;
  std::shared_ptr<platform::File> file_;
  platform::Lock states_;
  std::array<platform::Lock, 64> entries_;
};

}  // namespace cachier::files
