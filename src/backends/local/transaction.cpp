#include "backends/local/transaction.hpp"

#include "backends/local/guard.hpp"
#include "backends/local/protocol.hpp"

#include <algorithm>
#include <chrono>

namespace cachier::local {
namespace {

/// Above so many frames a checkpoint also waits for readers, so that the log begins
/// anew: else readers in a row let it grow without end.
constexpr int kRestartFrames = 4'000;
constexpr auto kPatience = std::chrono::milliseconds(50);

Error too_late() {
  return {ErrorCode::deadline_exceeded, "cannot store in the cache's database",
          "others were writing, or tidying up, until the deadline", "try again"};
}

}  // namespace

Result<Transaction> Transaction::begin(Site& site, Deadline deadline) {
  if (site.read_only()) return *site.read_only();
  Guard& guard = site.guard();
  for (;;) {
    if (!guard.take_turn(deadline)) return too_late();
    auto lease = site.pool().lend(deadline);
    if (!lease) {
      guard.end_turn();
      return lease.error();
    }
    const auto& hurry = site.pool().hurry();
    const auto entered = guard.enter_as_writer(site.table(), hurry, deadline);
    if (entered == Guard::Answer::entered && !site.is_of_generation_in_use()) {
      guard.leave_as_writer();
      { const Lease back = std::move(*lease); }
      guard.end_turn();
      return Error(ErrorCode::corrupt, "cannot store in the cache's database",
                   "it was damaged and has been set aside",
                   "nothing: the next call uses the new one that is in its place");
    }
    if (entered == Guard::Answer::entered) {
      (*lease)->heed(&hurry);
      const int result = Run(**lease, Sql::begin).step();
      (*lease)->heed(nullptr);
      if (result == SQLITE_DONE) {
        settle_last_writer(site.table());
        return Transaction(site, std::move(*lease));
      }
      const bool busy = (result & 0xff) == SQLITE_BUSY;
      Error error = busy ? too_late()
                         : sqlite_error((*lease)->handle(), result,
                                        "cannot write to the cache's database");
      if (!busy) lease->discard();
      guard.leave_as_writer();
      if (!busy || !hurry.load()) {
        { const Lease back = std::move(*lease); }
        guard.end_turn();
        return error;
      }
    }
    const bool late = entered == Guard::Answer::late;
    // A fork waits for this connection: back in the queue until it is over.
    { const Lease back = std::move(*lease); }
    guard.end_turn();
    if (late) return too_late();
  }
}

void Transaction::end(bool rolled_back) noexcept {
  if (rolled_back && sqlite3_get_autocommit((*lease_)->handle()) == 0) {
    Run(**lease_, Sql::rollback).step();
    if (sqlite3_get_autocommit((*lease_)->handle()) == 0) lease_->discard();
  }
  Site* const site = site_.release();
  // First the connection: one that could not roll back ends its transaction by closing.
  lease_.reset();
  site->guard().leave_as_writer();
  site->guard().end_turn();
}

Transaction::~Transaction() {
  if (site_) end(true);
}

std::optional<Error> Transaction::commit(std::optional<std::uint64_t> slot) {
  int result = SQLITE_OK;
  {
    std::optional<Announcement> announced;
    if (slot && Protocol::kOddBeforeCommit) announced.emplace(site_->table(), *slot);
    Protocol::at(Protocol::Point::announced);
    result = Run(connection(), Sql::commit).step();
    Protocol::at(Protocol::Point::committed);
    if constexpr (Protocol::kOnlyBumpsAfterCommit) {
      if (slot) site_->table().raise_counters();
    } else if constexpr (!Protocol::kOddBeforeCommit) {
      if (slot) announced.emplace(site_->table(), *slot);
    }
    if constexpr (Protocol::kClearsPending) {
      site_->table().pending().store(0);
      Protocol::at(Protocol::Point::pending_cleared);
    }
  }
  if (result == SQLITE_DONE) {
    site_->note_log(connection().log_frames());
    end(false);
    return std::nullopt;
  }
  return fail(result, "cannot store in the cache's database");
}

Error Transaction::fail(int result, const char* what) noexcept {
  Error error = sqlite_error(connection().handle(), result, what);
  lease_->discard();
  return error;
}

void run_checkpoint(Site& site, bool at_end, Deadline deadline) noexcept {
  if (site.read_only() || !site.is_in_place()) return;
  if (at_end && site.log_bytes() < kTruncatedFrom) return;
  Guard& guard = site.guard();
  if (!guard.take_turn(deadline)) return;
  if (auto lease = site.pool().lend(deadline)) {
    const auto& hurry = site.pool().hurry();
    if (guard.enter_as_checkpoint(site.table(), hurry, deadline) ==
        Guard::Answer::entered) {
      Connection& connection = **lease;
      site.pool().set_interruptible(connection.handle());
      // Writers stand still meanwhile: readers are waited for, but not for long.
      connection.set_deadline(
          std::min(deadline, std::chrono::steady_clock::now() + kPatience));
      int mode = SQLITE_CHECKPOINT_PASSIVE;
      if (site.log_frames() > kRestartFrames) mode = SQLITE_CHECKPOINT_RESTART;
      if (at_end) mode = SQLITE_CHECKPOINT_TRUNCATE;
      int in_log = 0;
      int moved = 0;
      const int result =
          sqlite3_wal_checkpoint_v2(connection.handle(), "main", mode, &in_log, &moved);
      const int kind = result & 0xff;
      if (kind != SQLITE_OK && kind != SQLITE_BUSY && kind != SQLITE_INTERRUPT)
        lease->discard();
      if (kind == SQLITE_OK || kind == SQLITE_BUSY) site.note_checkpoint(in_log);
      guard.leave_as_checkpoint();
    }
  }
  guard.end_turn();
}

}  // namespace cachier::local
