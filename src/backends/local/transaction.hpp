#pragma once

/// A write to the database: one at a time on the machine, never beside a checkpoint,
/// announced to readers before it commits.

#include <cachier/entry.hpp>
#include <cachier/error.hpp>

#include "backends/local/coherence.hpp"
#include "backends/local/pool.hpp"
#include "backends/local/site.hpp"

#include <cstdint>
#include <memory>
#include <optional>

namespace cachier::local {

class Transaction {
 public:
  /// Waits for its turn. `deadline_exceeded`, or why nothing can be written here.
  static Result<Transaction> begin(Site& site, Deadline deadline);
  Transaction(Transaction&& other) noexcept = default;
  Transaction& operator=(Transaction&&) = delete;
  /// Rolls back what has not been committed.
  ~Transaction();

  [[nodiscard]] Connection& connection() const noexcept { return **lease_; }

  /// Commits changes of one slot or of `kAllSlots`; of none, where no reader could have
  /// seen what changed. On an error nothing has.
  std::optional<Error> commit(std::optional<std::uint64_t> slot);

  /// For what went wrong within; remembers that the connection may be hurt.
  Error fail(int result, const char* what) noexcept;

 private:
  Transaction(Site& site, Lease lease) noexcept
      : site_(&site), lease_(std::move(lease)) {}
  void end(bool rolled_back) noexcept;

  struct Forget {
    void operator()(Site*) const noexcept {}
  };
  // Null once moved from or ended.
  std::unique_ptr<Site, Forget> site_;
  std::optional<Lease> lease_;
};

/// Moves what is in the write-ahead log into the database, beside no writer
/// (`docs/formats/local.md`, "Locks"); given up at the deadline.
///
/// `at_end`: leaves an empty log, where its file had `kTruncatedFrom` bytes.
void run_checkpoint(Site& site, bool at_end, Deadline deadline) noexcept;

/// 250 frames: they cost whoever opens the log next about 1 ms.
inline constexpr std::uint64_t kTruncatedFrom = 250 * (4096 + 24);

}  // namespace cachier::local
