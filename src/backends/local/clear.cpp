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

/// One number of a statement over a range of rows.
Result<std::int64_t> number_of(Connection& connection, Sql which, Range range,
                               std::optional<std::int64_t> third = std::nullopt) {
  Run run(connection, which);
  run.bind(1, range.first).bind(2, range.last);
  if (third) run.bind(3, *third);
  if (run.step() != SQLITE_ROW)
    return sqlite_error(connection.handle(), run.result(), kCannotClear);
  return run.is_null(0) ? 0 : run.number(0);
}

/// What a walk sees of a row.
struct Seen {
  std::int64_t row;
  std::int64_t version;
  std::int64_t stored_at;
  Digest digest;
  bool live;   ///< of its function's present epoch
  bool apart;  ///< has a value file

  [[nodiscard]] ValueFile file() const noexcept {
    return {row, static_cast<std::uint64_t>(version)};
  }
};

Result<std::vector<Seen>> walk(Site& site, Range range, Deadline deadline) {
  auto lease = site.pool().lend(deadline);
  if (!lease) return lease.error();
  Run run(**lease, Sql::walk);
  run.bind(1, range.first - 1).bind(2, range.last).bind(3, kBatch);
  std::vector<Seen> rows;
  int result = run.step();
  for (; result == SQLITE_ROW; result = run.step()) {
    rows.push_back({run.number(0), run.number(1), run.number(2),
                    digest_of(run.bytes(3)).value_or(Digest{}), run.number(4) != 0,
                    (run.number(5) & kFlagApart) != 0});
  }
  if (result == SQLITE_DONE) return rows;
  lease->discard();
  return sqlite_error((*lease)->handle(), result, kCannotClear);
}

/// Rows to be removed without disturbing anybody who computes one of them: where the
/// claim is free it is held meanwhile, where it is not a tombstone keeps the version.
class StaleBatch {
 public:
  explicit StaleBatch(Site& site) noexcept : site_(site) {}
  StaleBatch(const StaleBatch&) = delete;
  StaleBatch& operator=(const StaleBatch&) = delete;
  ~StaleBatch() {
    for (const One& one : rows_) {
      if (one.serial == 0) continue;
      site_.claims().end(one.seen.digest, one.serial);
      site_.table().wake(slot_of(one.seen.digest));
    }
  }

  std::optional<Error> add(const Seen& seen, Deadline deadline) {
    One one{seen, 0, Sql::remove};
    rows_.reserve(rows_.size() + 1);
    if (seen.live) {
      const auto function = function_of(seen.row >> kDigestBits, deadline);
      if (!function) return function.error();
      one.serial =
          site_.claims()
              .take(seen.digest, site_.table().claim_generation(**function).load())
              .serial;
      if (one.serial == 0) {
        if (seen.stored_at == 0) return std::nullopt;  // a tombstone already
        one.how = Sql::bury;
      }
    }
    rows_.push_back(one);
    return std::nullopt;
  }

  /// How many entries it has removed: neither tombstones nor what was cleared before.
  Result<std::uint64_t> remove(Deadline deadline) {
    std::uint64_t removed = 0;
    if (rows_.empty()) return removed;
    std::vector<ValueFile> files;
    auto transaction = Transaction::begin(site_, deadline);
    if (!transaction) return transaction.error();
    for (const One& one : rows_) {
      Run run(transaction->connection(), one.how);
      run.bind(1, one.seen.row).bind(2, one.seen.version);
      if (run.step() != SQLITE_DONE)
        return transaction->fail(run.result(), kCannotClear);
      const bool gone = sqlite3_changes(transaction->connection().handle()) > 0;
      if (gone && one.seen.live && one.seen.stored_at != 0) ++removed;
      if (gone && one.seen.apart) files.push_back(one.seen.file());
    }
    if (auto error = transaction->commit(kAllSlots)) return *error;
    site_.value_files().remove(files);
    return removed;
  }

 private:
  struct One {
    Seen seen;
    std::uint64_t serial;  ///< of the claim; 0: none
    Sql how;
  };

  Result<const Function*> function_of(std::int64_t number, Deadline deadline) {
    if (function_ != nullptr && number_ == number) return function_;
    auto lease = site_.pool().lend(deadline);
    if (!lease) return lease.error();
    Run run(**lease, Sql::name_function);
    run.bind(1, number);
    if (const int result = run.step(); result != SQLITE_ROW)
      return sqlite_error((*lease)->handle(),
                          result == SQLITE_DONE ? SQLITE_CORRUPT : result,
                          kCannotClear);
    number_ = number;
    function_ = &Function::intern(run.text(0));
    return function_;
  }

  Site& site_;
  std::vector<One> rows_;
  // The last one asked for: rows of one function are neighbours.
  std::int64_t number_ = 0;
  const Function* function_ = nullptr;
};

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
      range = rows_of(function->number);
    }
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
    }
    // Counted where nobody can store, as the number is to be exact.
    const auto count = number_of(connection, Sql::count_cleared, range);
    if (!count) return count.error();
    removed = static_cast<std::uint64_t>(*count);
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
      const auto last =
          number_of(**lease, Sql::end_of_batch, {range.first - 1, range.last}, kBatch);
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
  std::uint64_t removed = 0;
  for (;;) {
    const auto rows = walk(site, range, deadline);
    if (!rows) return rows.error();
    if (rows->empty()) return removed;
    StaleBatch batch(site);
    for (const Seen& one : *rows) {
      if (!one.live || one.stored_at < limit) {
        if (auto error = batch.add(one, deadline)) return *error;
      }
    }
    const auto count = batch.remove(deadline);
    if (!count) return count.error();
    removed += *count;
    if (site.wants_checkpoint()) platform::request_chore(*this);
    if (rows->back().row == range.last) return removed;
    range.first = rows->back().row + 1;
    if (is_late(deadline)) return too_late();
  }
}

}  // namespace cachier::local
