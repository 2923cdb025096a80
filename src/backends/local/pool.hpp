#pragma once

/// The open connections to one database, lent to one thread at a time.

#include <cachier/entry.hpp>
#include <cachier/error.hpp>

#include "backends/local/guard.hpp"
#include "backends/local/sqlite.hpp"
#include "platform/lock.hpp"

#include <atomic>
#include <memory>
#include <string>
#include <vector>

namespace cachier::local {

class Pool;

/// A connection on loan; goes back at the end of its life.
class Lease {
 public:
  Lease(Pool& pool, std::unique_ptr<Connection> connection) noexcept
      : pool_(&pool), connection_(std::move(connection)) {}
  Lease(Lease&& other) noexcept = default;
  Lease& operator=(Lease&&) = delete;
  ~Lease();

  Connection& operator*() const noexcept { return *connection_; }
  Connection* operator->() const noexcept { return connection_.get(); }

  /// It is not to be used again: after an error that may have hurt it.
  void discard() noexcept { discarded_ = true; }

 private:
  Pool* pool_;
  std::unique_ptr<Connection> connection_;
  bool discarded_ = false;
};

/// Thread-safe. Not destroyed while anything is on loan.
class Pool {
 public:
  static constexpr int kMost = 8;

  Pool(std::string path, bool read_only, Guard& guard);
  ~Pool() { retire(); }

  Result<Lease> lend(Deadline deadline);

  /// From now on connections are closed when they come back. For a database that is
  /// gone, and at the end.
  void retire() noexcept;

  /// True while a fork waits: whoever has a connection gives it back as soon as it can.
  [[nodiscard]] const std::atomic<bool>& hurry() const noexcept { return hurry_; }
  /// What `hurry` interrupts, not only asks: a checkpoint, which can be taken up again.
  void set_interruptible(sqlite3* connection) noexcept;

  /// Lends nothing more, and waits until the deadline for what is on loan; then closes
  /// what is here. A child must not inherit open connections: SQLite keeps count per
  /// process of the locks that it holds, and the child has none of them.
  void before_fork(Deadline deadline) noexcept;
  void after_fork_in_parent() noexcept;
  /// False: a connection was still on loan. The child must not use this database.
  bool after_fork_in_child() noexcept;

 private:
  friend class Lease;
  void take_back(std::unique_ptr<Connection> connection, bool discarded) noexcept;
  void one_less() noexcept;

  const std::string path_;
  const bool read_only_;
  Guard& guard_;

  platform::Lock lock_;
  std::vector<std::unique_ptr<Connection>> idle_;
  int lent_ = 0;  ///< or being opened or closed
  int waiting_ = 0;
  bool retired_ = false;
  sqlite3* interruptible_ = nullptr;
  std::atomic<bool> hurry_{false};
  std::atomic<std::uint32_t> returned_{0};
};

}  // namespace cachier::local
