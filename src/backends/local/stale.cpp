/// Removes what was stored too long ago, by the index of ages where there is one
/// (`docs/decisions/0024-an-index-of-ages-when-needed.md`).

#include "backends/local/query.hpp"
#include "backends/local/removal.hpp"
#include "backends/local/schema.hpp"
#include "backends/local/store.hpp"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <iterator>
#include <optional>
#include <utility>
#include <vector>

namespace cachier::local {
namespace {

constexpr char kCannotRemove[] = "cannot remove stale entries of the cache";

/// Rows that are looked at together; also the fewest for which an index is made.
constexpr std::int64_t kBatch = 1'000;
/// The most for which one is made: writers wait for it, 2 us a row.
constexpr std::int64_t kMostIndexed = 10'000;

bool is_late(Deadline deadline) noexcept {
  return std::chrono::steady_clock::now() >= deadline;
}

Error too_late() {
  return {ErrorCode::deadline_exceeded, kCannotRemove,
          "there was too much to do before the deadline", "clear again"};
}

/// What there is of the index.
enum class Index : std::uint8_t {
  made,
  too_early,  ///< so few rows need none
  due,
  too_late,  ///< so many rows that others would wait for it too long
};

Result<Index> index_of(Site& site, Deadline deadline) {
  auto lease = site.pool().lend(deadline);
  if (!lease) return lease.error();
  const auto made = has_age_index(**lease);
  if (!made) return made.error();
  if (*made) return Index::made;
  // Of what a clear has left no count tells.
  Query rows(**lease,
             "SELECT count(*) FROM (SELECT 1 FROM entries WHERE id > 0 LIMIT ?1)");
  rows.bind(1, kMostIndexed + 1);
  if (!rows.step()) return rows.error(kCannotRemove);
  const std::int64_t count = rows.number(0);
  if (count > kMostIndexed) return Index::too_late;
  return count < kBatch ? Index::too_early : Index::due;
}

/// False: it could not be made, on a full disk for one.
bool make_index(Site& site, Deadline deadline) {
  auto transaction = Transaction::begin(site, deadline);
  if (!transaction || add_age_index(transaction->connection())) return false;
  // No announcement is due: no row changes.
  return !transaction->commit(std::nullopt);
}

/// The functions whose rows are in the range.
Result<std::vector<std::int64_t>> functions_in(Site& site, Range range,
                                               Deadline deadline) {
  auto lease = site.pool().lend(deadline);
  if (!lease) return lease.error();
  std::vector<std::int64_t> functions;
  Query query(**lease, "SELECT id FROM functions WHERE id BETWEEN ?1 AND ?2");
  query.bind(1, range.first >> kDigestBits).bind(2, range.last >> kDigestBits);
  while (query.step()) functions.push_back(query.number(0));
  if (!query.good()) return query.error(kCannotRemove);
  return functions;
}

}  // namespace

Result<std::uint64_t> LocalStore::remove_stale(Site& site, const Filter& filter,
                                               Deadline deadline) {
  if (!filter.stored_before)
    return Error(ErrorCode::invalid_argument, kCannotRemove,
                 "it does not say from when on entries are stale", "set stored_before");
  const std::int64_t limit = filter.stored_before->time_since_epoch().count();
  Range range = kAllRows;
  if (filter.function != nullptr) {
    auto lease = site.pool().lend(deadline);
    if (!lease) return lease.error();
    const auto function = find_function(**lease, *filter.function);
    if (!function) return function.error();
    if (function->number == 0) return std::uint64_t{0};
    range = rows_of(function->number);
  }
  auto index = index_of(site, deadline);
  if (!index) return index.error();
  std::uint64_t removed = 0;
  while (*index != Index::made) {
    const auto rows = walk(site, range, kBatch, deadline);
    if (!rows) return rows.error();
    std::vector<SeenRow> unwanted;
    std::copy_if(
        rows->begin(), rows->end(), std::back_inserter(unwanted),
        [&](const SeenRow& one) { return !one.live || one.stored_at < limit; });
    const auto gone = remove_rows(site, unwanted, deadline);
    if (!gone) return gone.error();
    removed += *gone;
    if (std::cmp_less(rows->size(), kBatch) || rows->back().row == range.last) {
      if (*index == Index::too_early) puts_to_index_.store(kBatch);
      return removed;
    }
    range.first = rows->back().row + 1;
    if (is_late(deadline)) return too_late();
    // Without room for one all there is is looked at.
    if (*index == Index::due && make_index(site, deadline)) index = Index::made;
  }
  auto functions = functions_in(site, range, deadline);
  if (!functions) return functions.error();
  for (const std::int64_t function : *functions) {
    const auto gone = remove_stale_of(site, function, limit, deadline);
    if (!gone) return gone.error();
    removed += *gone;
  }
  return removed;
}

Result<std::uint64_t> LocalStore::remove_stale_of(Site& site, std::int64_t function,
                                                  std::int64_t limit,
                                                  Deadline deadline) {
  std::uint64_t removed = 0;
  for (AgeCursor at;;) {
    const auto rows = walk_by_age(site, function, limit, at, kBatch, deadline);
    if (!rows) return rows.error();
    const auto gone = remove_rows(site, *rows, deadline);
    if (!gone) return gone.error();
    removed += *gone;
    if (std::cmp_less(rows->size(), kBatch)) return removed;
    if (is_late(deadline)) return too_late();
  }
}

Result<std::uint64_t> LocalStore::remove_rows(Site& site,
                                              const std::vector<SeenRow>& rows,
                                              Deadline deadline) {
  std::uint64_t removed = 0;
  for (auto row = rows.begin(); row != rows.end();) {
    Removal batch(site, rows.size());
    for (Portion portion; row != rows.end() && !portion.full(); ++row) {
      portion.add(row->size, row->apart);
      if (auto error = batch.add(*row, deadline)) return *error;
    }
    const auto gone = batch.remove(kAllSlots, deadline);
    if (!gone) return gone.error();
    removed += static_cast<std::uint64_t>(gone->entries);
    if (row != rows.end() && is_late(deadline)) return too_late();
  }
  if (site.wants_checkpoint()) platform::request_chore(*this);
  return removed;
}

bool LocalStore::counts_to_index() noexcept {
  return puts_to_index_.load(std::memory_order_relaxed) > 0 &&
         puts_to_index_.fetch_sub(1) == 1;
}

void LocalStore::index_if_due(Site& site, Deadline deadline) {
  if (!index_is_due_.exchange(false)) return;
  const auto index = index_of(site, deadline);
  if (!index) return;
  if (*index == Index::too_early) puts_to_index_.store(kBatch);
  if (*index == Index::due) (void)make_index(site, deadline);
}

}  // namespace cachier::local
