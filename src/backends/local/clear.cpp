#include "backends/local/query.hpp"
#include "backends/local/removal.hpp"
#include "backends/local/schema.hpp"
#include "backends/local/store.hpp"
#include "platform/clock.hpp"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <new>
#include <optional>
#include <utility>
#include <vector>

namespace cachier::local {
namespace {

constexpr char kCannotClear[] = "cannot clear the cache";

/// Rows per transaction: few enough that other writers hardly wait.
constexpr std::int64_t kBatch = 1'000;

bool is_late(Deadline deadline) noexcept {
  return std::chrono::steady_clock::now() >= deadline;
}

Error too_late() {
  return {ErrorCode::deadline_exceeded, kCannotClear,
          "there was too much to do before the deadline", "clear again"};
}

/// The last row of what is swept at a time; 0: there is none.
Result<std::int64_t> end_of_portion(Connection& connection, Range range) {
  Run run(connection, Sql::sizes);
  run.bind(1, range.first - 1).bind(2, range.last).bind(3, kBatch);
  std::int64_t last = 0;
  Portion portion;
  while (!portion.full() && run.step() == SQLITE_ROW) {
    last = run.number(0);
    portion.add(run.number(2), (run.number(1) & kFlagApart) != 0);
  }
  if (run.result() == SQLITE_ROW || run.result() == SQLITE_DONE) return last;
  return sqlite_error(connection.handle(), run.result(), kCannotClear);
}

Result<bool> age_index(Site& site, Deadline deadline) {
  auto lease = site.pool().lend(deadline);
  if (!lease) return lease.error();
  return has_age_index(**lease);
}

/// False: it could not be made, on a full disk for one.
bool make_age_index(Site& site, Deadline deadline) {
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
  if (!query.good()) return query.error(kCannotClear);
  return functions;
}

}  // namespace

Result<std::uint64_t> LocalStore::clear(const Filter& filter, Clear what,
                                        Deadline deadline) noexcept {
  try {
    return in_site(Check::now, deadline,
                   [&](const Sites::Pointer& site) -> Result<std::uint64_t> {
                     switch (what) {
                       case Clear::entries:
                         return clear_entries(*site, filter, deadline);
                       case Clear::stale:
                         return clear_stale(*site, filter, deadline);
                       case Clear::claims:
                         site->table().raise_claim_generation(filter.function);
                         site->table().wake_all();
                         return std::uint64_t{0};
                     }
                     return Error(ErrorCode::invalid_argument, kCannotClear,
                                  "there is no such kind of clearing");
                   });
  } catch (const std::bad_alloc&) {
    return out_of_memory();
  }
}

Result<std::uint64_t> LocalStore::clear_entries(Site& site, const Filter& filter,
                                                Deadline deadline) {
  Range range = kAllRows;
  std::uint64_t removed = 0;
  {
    auto transaction = Transaction::begin(site, deadline);
    if (!transaction) return transaction.error();
    Connection& connection = transaction->connection();
    Range functions{0, kMaxFunction};
    std::int64_t counted = 0;
    if (filter.function != nullptr) {
      auto function = find_function(connection, *filter.function);
      if (!function) return function.error();
      if (function->number == 0) {
        // A row with a raised epoch, for those who are computing its first entries.
        const auto number =
            add_function(*transaction, *filter.function, function->epoch);
        if (!number) return number.error();
        function->number = *number;
      }
      functions = {function->number, function->number};
      counted = function->number;
      range = rows_of(function->number);
    }
    const auto before = read_counts(connection, counted);
    if (!before) return before.error();
    {
      Run raise(connection, Sql::raise_epochs);
      raise.bind(1, functions.first).bind(2, functions.last);
      if (raise.step() != SQLITE_DONE)
        return transaction->fail(raise.result(), kCannotClear);
    }
    if (filter.stored_before) {
      Run carry(connection, Sql::carry_over);
      carry.bind(1, range.first).bind(2, range.last);
      carry.bind(3, filter.stored_before->time_since_epoch().count());
      if (carry.step() != SQLITE_DONE)
        return transaction->fail(carry.result(), kCannotClear);
      Run recount(connection, Sql::recount);
      recount.bind(1, functions.first).bind(2, functions.last);
      if (recount.step() != SQLITE_DONE)
        return transaction->fail(recount.result(), kCannotClear);
    }
    {
      Run sum(connection, Sql::sum_counts);
      if (sum.step() != SQLITE_DONE)
        return transaction->fail(sum.result(), kCannotClear);
    }
    const auto after = read_counts(connection, counted);
    if (!after) return after.error();
    removed = static_cast<std::uint64_t>(before->entries - after->entries);
    if (auto error = transaction->commit(kAllSlots)) return *error;
  }
  // From here on all of it is gone for readers; the rest is tidying.
  site.table().forget_outcomes();
  if (sweep(site, range, deadline)) sweep_later(range.first);
  if (site.wants_checkpoint()) platform::request_chore(*this);
  return removed;
}

void LocalStore::sweep_later(std::int64_t from) noexcept {
  std::int64_t already = sweep_from_.load();
  while (from < already && !sweep_from_.compare_exchange_weak(already, from)) {
  }
  platform::request_chore(*this);
}

std::optional<Error> LocalStore::sweep(Site& site, Range& range, Deadline deadline) {
  while (range.first <= range.last) {
    std::int64_t end = 0;
    {
      auto lease = site.pool().lend(deadline);
      if (!lease) return lease.error();
      const auto last = end_of_portion(**lease, range);
      if (!last) return last.error();
      end = *last;
    }
    if (end == 0) return std::nullopt;
    if (is_late(deadline)) return too_late();
    auto transaction = Transaction::begin(site, deadline);
    if (!transaction) return transaction.error();
    std::vector<ValueFile> files;
    {
      Run run(transaction->connection(), Sql::sweep);
      run.bind(1, range.first).bind(2, end);
      while (run.step() == SQLITE_ROW) {
        if ((run.number(2) & kFlagApart) != 0)
          files.push_back({run.number(0), static_cast<std::uint64_t>(run.number(1))});
      }
      if (run.result() != SQLITE_DONE)
        return transaction->fail(run.result(), kCannotClear);
    }
    // No announcement is due: nobody sees these rows.
    if (auto error = transaction->commit(std::nullopt)) return error;
    site.value_files().remove(files);
    if (end == range.last) return std::nullopt;
    range.first = end + 1;
  }
  return std::nullopt;
}

Result<std::uint64_t> LocalStore::clear_stale(Site& site, const Filter& filter,
                                              Deadline deadline) {
  if (!filter.stored_before)
    return Error(ErrorCode::invalid_argument, kCannotClear,
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
  auto is_indexed = age_index(site, deadline);
  if (!is_indexed) return is_indexed.error();
  std::uint64_t removed = 0;
  while (!*is_indexed) {
    const auto rows = walk(site, range, kBatch, deadline);
    if (!rows) return rows.error();
    if (rows->empty()) return removed;
    std::vector<SeenRow> unwanted;
    std::copy_if(
        rows->begin(), rows->end(), std::back_inserter(unwanted),
        [&](const SeenRow& one) { return !one.live || one.stored_at < limit; });
    const auto gone = remove_rows(site, unwanted, deadline);
    if (!gone) return gone.error();
    removed += *gone;
    if (rows->back().row == range.last) return removed;
    range.first = rows->back().row + 1;
    if (is_late(deadline)) return too_late();
    // Who has few entries need not pay for an index with each put. Without room for
    // one it is looked at all there is.
    if (std::cmp_less(rows->size(), kBatch)) return removed;
    *is_indexed = make_age_index(site, deadline);
  }
  auto functions = functions_in(site, range, deadline);
  if (!functions) return functions.error();
  for (const std::int64_t function : *functions) {
    const auto gone = clear_stale_of(site, function, limit, deadline);
    if (!gone) return gone.error();
    removed += *gone;
  }
  return removed;
}

Result<std::uint64_t> LocalStore::clear_stale_of(Site& site, std::int64_t function,
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

}  // namespace cachier::local
