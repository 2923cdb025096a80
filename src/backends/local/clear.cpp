#include "backends/local/removal.hpp"
#include "backends/local/store.hpp"
#include "platform/clock.hpp"

#include <chrono>
#include <new>
#include <optional>
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
    if (run.number(0) < range.first || run.number(0) <= last)
      return disorder(kCannotClear);
    last = run.number(0);
    portion.add(run.number(2), (run.number(1) & kFlagApart) != 0);
  }
  if (run.result() == SQLITE_ROW || run.result() == SQLITE_DONE) return last;
  return sqlite_error(connection.handle(), run.result(), kCannotClear);
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
                         return remove_stale(*site, filter, deadline);
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

}  // namespace cachier::local
