#include "backends/local/store.hpp"
#include "platform/clock.hpp"

#include <algorithm>
#include <chrono>

namespace cachier::local {
namespace {

constexpr char kCannotCollect[] = "cannot look for value files of nobody";

/// Takes out of `files` those that a row names.
std::optional<Error> leave_orphans(Connection& connection,
                                   std::vector<ValueFile>& files) {
  std::optional<Error> error;
  const auto is_named = [&](const ValueFile& file) {
    if (error) return true;
    Run run(connection, Sql::read_flags);
    run.bind(1, file.row).bind(2, static_cast<std::int64_t>(file.version));
    const int result = run.step();
    if (result == SQLITE_ROW) return (run.number(0) & kFlagApart) != 0;
    if (result != SQLITE_DONE)
      error = sqlite_error(connection.handle(), result, kCannotCollect);
    return error.has_value();
  };
  files.erase(std::remove_if(files.begin(), files.end(), is_named), files.end());
  return error;
}

}  // namespace

std::optional<Error> LocalStore::collect(Site& site, Deadline deadline) {
  const ValueFiles& files = site.value_files();
  for (unsigned next = site.next_to_collect(); next < ValueFiles::kDirectories;
       ++next) {
    if (next == 0) files.remove_unfinished(platform::wall_now());
    auto orphans = files.list(next);
    if (!orphans.empty()) {
      auto lease = site.pool().lend(deadline);
      if (!lease) return lease.error();
      if (auto error = leave_orphans(**lease, orphans)) {
        lease->discard();
        return error;
      }
    }
    if (!orphans.empty()) {
      // A file has its name before its row is committed: looked at again where nobody
      // is in between.
      auto transaction = Transaction::begin(site, deadline);
      if (!transaction) return transaction.error();
      if (auto error = leave_orphans(transaction->connection(), orphans)) return error;
      files.remove(orphans);
    }
    site.note_collected(next);
    if (std::chrono::steady_clock::now() >= deadline)
      return Error(ErrorCode::deadline_exceeded, kCannotCollect,
                   "there was too much to do at a time");
  }
  return std::nullopt;
}

}  // namespace cachier::local
