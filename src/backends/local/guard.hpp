#pragma once

/// Locks of a cache directory that keep its processes from each other's way
/// (`docs/formats/local.md`, "Locks"), and the queue of this process's own writers.

#include <cachier/entry.hpp>
#include <cachier/error.hpp>

#include "backends/local/table.hpp"
#include "platform/file.hpp"
#include "platform/lock.hpp"

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>

namespace cachier::local {

class Guard {
 public:
  Guard() = default;

  /// Opens, or makes, the file of locks. An error: why there are none.
  std::optional<Error> open(const std::string& path);
  [[nodiscard]] bool is_open() const noexcept { return static_cast<bool>(shared_); }

  /// False: somebody has removed the file.
  [[nodiscard]] bool has_name() const noexcept { return platform::has_name(shared_); }

  /// One writer of this process at a time. False: the deadline passed.
  bool take_turn(Deadline deadline) noexcept { return turn_.try_lock_until(deadline); }
  void end_turn() noexcept { turn_.unlock(); }

  enum class Answer : std::uint8_t { entered, late, hurried };

  /// Keeps checkpoints out, from before a write transaction until after it. The caller
  /// has the turn. `hurried`: given up because `hurry` became true.
  Answer enter_as_writer(const Table& table, const std::atomic<bool>& hurry,
                         Deadline deadline) noexcept;
  void leave_as_writer() noexcept;

  /// Keeps writers and other checkpoints out; asks them to hold off meanwhile. The
  /// caller has the turn.
  Answer enter_as_checkpoint(const Table& table, const std::atomic<bool>& hurry,
                             Deadline deadline) noexcept;
  void leave_as_checkpoint() noexcept;

  /// Keeps the database from being replaced while it is opened. Several threads may be
  /// inside. False: the deadline passed.
  bool enter_door(Deadline deadline) noexcept;
  void leave_door() noexcept;

  /// Keeps everybody from opening the database, and from being inside a write or a
  /// checkpoint: for replacing it. The caller has the turn. False: the deadline passed.
  bool enter_alone(const Table& table, Deadline deadline) noexcept;
  void leave_alone() noexcept;

  /// Keeps others from making files. False: the deadline passed.
  bool enter_making(Deadline deadline) noexcept;
  void leave_making() noexcept;

  void before_fork() noexcept { door_.lock(); }
  void after_fork_in_parent() noexcept { door_.unlock(); }
  void after_fork_in_child() noexcept;

 private:
  // Two descriptions, since locks of one do not exclude each other.
  platform::File shared_;
  platform::File exclusive_;
  platform::Lock turn_;
  platform::Lock door_;
  int inside_ = 0;
};

}  // namespace cachier::local
