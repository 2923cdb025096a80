#include "backends/local/inspect.hpp"
#include "backends/local/layout.hpp"
#include "backends/local/peek.hpp"
#include "backends/local/query.hpp"
#include "backends/local/schema.hpp"
#include "platform/file.hpp"

#include <algorithm>
#include <chrono>
#include <exception>
#include <limits>
#include <map>

namespace cachier::local {
namespace {

constexpr char kCannotCount[] = "cannot count what is in the cache";

/// Rows per read: few enough that a checkpoint hardly waits.
constexpr std::int64_t kRowsPerRead = 2'000;

// Values come last in a row: they are not read.
constexpr char kRows[] =
    "SELECT e.id, f.name, e.stored_at, e.flags, e.size, e.epoch IS f.epoch "
    "FROM entries e LEFT JOIN functions f ON f.id = e.id >> 44 "
    "WHERE e.id > ?1 ORDER BY e.id LIMIT ?2";

void add(Entries& entries, std::uint64_t size, bool apart, Time stored_at) {
  if (entries.count == 0) entries.oldest = entries.newest = stored_at;
  ++entries.count;
  (apart ? entries.in_files : entries.in_database) += size;
  entries.oldest = std::min(entries.oldest, stored_at);
  entries.newest = std::max(entries.newest, stored_at);
}

using ByName = std::map<std::string, Entries, std::less<>>;

std::optional<Error> count_rows(Connection& connection, Stats& all, ByName& functions) {
  std::int64_t last = std::numeric_limits<std::int64_t>::min();
  for (std::int64_t seen = kRowsPerRead; seen == kRowsPerRead;) {
    seen = 0;
    Query rows(connection, kRows);
    rows.bind(1, last).bind(2, kRowsPerRead);
    while (rows.step()) {
      ++seen;
      // Whoever goes on from a row out of its place might never end.
      if (rows.number(0) <= last) return disorder(kCannotCount);
      last = rows.number(0);
      if (rows.number(5) == 0) {
        ++all.waiting;
      } else if (rows.number(2) == 0) {
        ++all.tombstones;
      } else {
        const Time stored_at{Duration(rows.number(2))};
        const bool apart = (rows.number(3) & kFlagApart) != 0;
        const auto size = static_cast<std::uint64_t>(rows.number(4));
        auto function = functions.find(rows.text(1));
        if (function == functions.end())
          function = functions.emplace(rows.text(1), Entries{}).first;
        add(function->second, size, apart, stored_at);
        add(all.entries, size, apart, stored_at);
      }
    }
    if (!rows.good()) return rows.error(kCannotCount);
  }
  return std::nullopt;
}

}  // namespace

Result<std::optional<Stats>> stats(const std::string& directory) noexcept {
  try {
    const Deadline deadline =
        std::chrono::steady_clock::now() + std::chrono::seconds(30);
    auto peek = Peek::open(directory);
    if (!peek) return peek.error();
    if (*peek == nullptr) return std::optional<Stats>();
    const std::string& folder = (*peek)->folder();
    Stats all;
    all.generation = (*peek)->generation();
    all.evictions = (*peek)->evictions();
    if (platform::identity_of(database_path(folder, all.generation))) {
      auto connection = (*peek)->connect(all.generation, deadline);
      if (!connection) return connection.error();
      (*connection)->set_deadline(Deadline::max());
      ByName functions;
      if (auto error = count_rows(**connection, all, functions)) return *error;
      for (auto& [id, entries] : functions) all.functions.push_back({id, entries});
    }
    const Inventory files = inventory_of(folder, all.generation);
    all.database = files.database;
    all.log = files.log;
    all.value_files = files.value_files;
    all.others = files.others;
    all.set_aside = files.set_aside;
    all.databases_set_aside = files.databases_set_aside;
    return std::optional<Stats>(std::move(all));
  } catch (const std::exception&) {  // of the standard library: no memory
    return Error(ErrorCode::unavailable, kCannotCount, "there is not enough memory");
  }
}

}  // namespace cachier::local
