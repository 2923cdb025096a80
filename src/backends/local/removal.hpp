#pragma once

/// Removing rows that are no longer wanted without disturbing anybody who computes one
/// of them.

#include <cachier/entry.hpp>
#include <cachier/error.hpp>

#include "backends/local/store.hpp"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

namespace cachier::local {

/// What a walk sees of a row.
struct SeenRow {
  std::int64_t row = 0;
  std::int64_t version = 0;
  std::int64_t stored_at = 0;  ///< 0: a tombstone
  std::int64_t size = 0;
  Digest digest;
  bool live = false;   ///< of its function's present epoch
  bool apart = false;  ///< has a value file

  /// Whether it counts for an entry.
  [[nodiscard]] bool is_entry() const noexcept { return live && stored_at != 0; }
};

/// How much is removed in one transaction, so that others hardly wait: what is in the
/// database is freed page by page, and files take long to be deleted.
class Portion {
 public:
  static constexpr std::int64_t kBytes = std::int64_t{2} << 20;
  static constexpr int kFiles = 64;

  /// Another row goes in.
  void add(std::int64_t size, bool apart) noexcept {
    if (apart) {
      ++files_;
    } else {
      bytes_ += std::clamp(size, std::int64_t{0}, kBytes);  // a damaged one too
    }
  }
  [[nodiscard]] bool full() const noexcept {
    return bytes_ >= kBytes || files_ >= kFiles;
  }

 private:
  std::int64_t bytes_ = 0;
  int files_ = 0;
};

/// Up to so many rows of the range, in the order of their ids.
Result<std::vector<SeenRow>> walk(Site& site, Range range, std::int64_t most,
                                  Deadline deadline);

/// Where a walk by age has come to.
struct AgeCursor {
  std::int64_t epoch = std::numeric_limits<std::int64_t>::min();
  std::int64_t stored_at = 0;
  std::int64_t row = 0;
};

/// Up to so many rows of a function that were cleared, erased, or stored before
/// `limit`, after those that the cursor has passed. Looks at no others. The database
/// has the index of ages.
Result<std::vector<SeenRow>> walk_by_age(Site& site, std::int64_t function,
                                         std::int64_t limit, AgeCursor& from,
                                         std::int64_t most, Deadline deadline);

/// Rows to be removed together: where the claim is free it is held meanwhile, where it
/// is not a tombstone keeps the version.
class Removal {
 public:
  Removal(Site& site, std::size_t most) : site_(site) { rows_.reserve(most); }
  Removal(const Removal&) = delete;
  Removal& operator=(const Removal&) = delete;
  ~Removal();

  /// At most as many as were announced.
  std::optional<Error> add(const SeenRow& row, Deadline deadline);

  /// Removes them. `slot`: what readers are told has changed, as in
  /// `Transaction::commit`. Gives what has been removed: neither tombstones nor what
  /// was cleared before counts.
  Result<Counts> remove(std::optional<std::uint64_t> slot, Deadline deadline);
  /// The same, but leaves their value files, which it gives in `files`, to the caller.
  Result<Counts> remove(std::optional<std::uint64_t> slot, Deadline deadline,
                        std::vector<ValueFile>& files);

 private:
  struct One {
    SeenRow seen;
    std::uint64_t serial;  ///< of the claim; 0: none
    Sql how;
  };

  Result<const Function*> function_of(std::int64_t number, Deadline deadline);

  Site& site_;
  std::vector<One> rows_;
  // The last one asked for: rows of one function are neighbours.
  std::int64_t number_ = 0;
  const Function* function_ = nullptr;
};

}  // namespace cachier::local
