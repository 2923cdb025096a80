#include "backends/local/removal.hpp"

#include <utility>

namespace cachier::local {
namespace {

constexpr char kCannotRemove[] = "cannot remove entries of the cache";

SeenRow row_in(const Run& run) {
  SeenRow row;
  row.row = run.number(0);
  row.version = run.number(1);
  row.stored_at = run.number(2);
  row.digest = digest_of(run.bytes(3)).value_or(Digest{});
  row.live = run.number(4) != 0;
  row.apart = (run.number(5) & kFlagApart) != 0;
  row.size = run.number(6);
  return row;
}

}  // namespace

Result<std::vector<SeenRow>> walk(Site& site, Range range, std::int64_t most,
                                  Deadline deadline) {
  auto lease = site.pool().lend(deadline);
  if (!lease) return lease.error();
  Run run(**lease, Sql::walk);
  run.bind(1, range.first - 1).bind(2, range.last).bind(3, most);
  std::vector<SeenRow> rows;
  int result = run.step();
  for (; result == SQLITE_ROW; result = run.step()) {
    if (run.number(0) < range.first ||
        (!rows.empty() && run.number(0) <= rows.back().row))
      return disorder(kCannotRemove);
    rows.push_back(row_in(run));
  }
  if (result == SQLITE_DONE) return rows;
  lease->discard();
  return sqlite_error((*lease)->handle(), result, kCannotRemove);
}

Result<std::vector<SeenRow>> walk_by_age(Site& site, std::int64_t function,
                                         std::int64_t limit, AgeCursor& from,
                                         std::int64_t most, Deadline deadline) {
  auto lease = site.pool().lend(deadline);
  if (!lease) return lease.error();
  Run run(**lease, Sql::walk_by_age);
  run.bind(1, function)
      .bind(2, from.epoch)
      .bind(3, from.stored_at)
      .bind(4, from.row)
      .bind(5, limit)
      .bind(6, most);
  std::vector<SeenRow> rows;
  int result = run.step();
  for (; result == SQLITE_ROW; result = run.step()) {
    rows.push_back(row_in(run));
    from = {run.number(7), rows.back().stored_at, rows.back().row};
  }
  if (result == SQLITE_DONE) return rows;
  lease->discard();
  return sqlite_error((*lease)->handle(), result, kCannotRemove);
}

Removal::~Removal() {
  for (const One& one : rows_) {
    if (one.serial == 0) continue;
    site_.claims().end(one.seen.digest, one.serial);
    site_.table().wake(slot_of(one.seen.digest));
  }
}

std::optional<Error> Removal::add(const SeenRow& row, Deadline deadline) {
  One one{row, 0, Sql::remove};
  if (row.live) {
    const auto function = function_of(row.row >> kDigestBits, deadline);
    if (!function) return function.error();
    one.serial =
        site_.claims()
            .take(row.digest, site_.table().claim_generation(**function).load())
            .serial;
    if (one.serial == 0) {
      if (row.stored_at == 0) return std::nullopt;  // a tombstone already
      one.how = Sql::bury;
    }
  }
  rows_.push_back(one);
  return std::nullopt;
}

Result<Counts> Removal::remove(std::optional<std::uint64_t> slot, Deadline deadline) {
  std::vector<ValueFile> files;
  auto removed = remove(slot, deadline, files);
  if (removed) site_.value_files().remove(files);
  return removed;
}

Result<Counts> Removal::remove(std::optional<std::uint64_t> slot, Deadline deadline,
                               std::vector<ValueFile>& files) {
  Counts removed;
  if (rows_.empty()) return removed;
  auto transaction = Transaction::begin(site_, deadline);
  if (!transaction) return transaction.error();
  std::int64_t function = 0;
  Counts of_function;
  const auto settle = [&] {
    const Counts gone = std::exchange(of_function, {});
    removed += gone;
    return account(*transaction, function, {-gone.entries, -gone.bytes});
  };
  for (const One& one : rows_) {
    if (one.seen.row >> kDigestBits != function) {
      if (auto error = settle()) return *error;
      function = one.seen.row >> kDigestBits;
    }
    Run run(transaction->connection(), one.how);
    run.bind(1, one.seen.row).bind(2, one.seen.version);
    bool gone = false;
    // Since it was seen its function may have been cleared, or somebody else buried it.
    bool counted = false;
    while (run.step() == SQLITE_ROW) {
      gone = true;
      counted = run.number(0) != 0;
    }
    if (run.result() != SQLITE_DONE)
      return transaction->fail(run.result(), kCannotRemove);
    if (counted) of_function += Counts::of_entry(one.seen.size);
    if (gone && one.seen.apart)
      files.push_back({one.seen.row, static_cast<std::uint64_t>(one.seen.version)});
  }
  if (auto error = settle()) return *error;
  if (auto error = transaction->commit(slot)) return *error;
  return removed;
}

Result<const Function*> Removal::function_of(std::int64_t number, Deadline deadline) {
  if (function_ != nullptr && number_ == number) return function_;
  auto lease = site_.pool().lend(deadline);
  if (!lease) return lease.error();
  Run run(**lease, Sql::name_function);
  run.bind(1, number);
  if (const int result = run.step(); result != SQLITE_ROW)
    return sqlite_error((*lease)->handle(),
                        result == SQLITE_DONE ? SQLITE_CORRUPT : result, kCannotRemove);
  number_ = number;
  function_ = &Function::intern(run.text(0));
  return function_;
}

}  // namespace cachier::local
