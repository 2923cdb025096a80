#include <cachier/envelope.hpp>

#include "backends/local/store.hpp"

#include <charconv>
#include <new>

namespace cachier::local {
namespace {

constexpr std::size_t kPerPage = 500;
/// Rows of other functions and the like count here, so that no page takes long.
constexpr std::int64_t kRowsPerPage = 5'000;

constexpr char kCannotList[] = "cannot list the cache";

/// A cursor is the last row that was seen, in decimal.
std::optional<std::int64_t> row_after(const Cursor& cursor, Range range) noexcept {
  if (cursor.empty()) return range.first - 1;
  std::int64_t row = 0;
  const char* const last = cursor.data() + cursor.size();
  const auto [end, error] = std::from_chars(cursor.data(), last, row);
  if (error != std::errc() || end != last || row < 0) return std::nullopt;
  return row;
}

}  // namespace

Result<Page> LocalStore::scan(const Filter& filter, const Cursor& from,
                              Deadline deadline) noexcept {
  try {
    return in_site(Check::now_and_then, deadline, [&](const Sites::Pointer& site) {
      return scan_in(*site, filter, from, deadline);
    });
  } catch (const std::bad_alloc&) {
    return out_of_memory();
  }
}

Result<Page> LocalStore::scan_in(Site& site, const Filter& filter, const Cursor& from,
                                 Deadline deadline) {
  auto lease = site.pool().lend(deadline);
  if (!lease) return lease.error();
  Connection& connection = **lease;

  Page page;
  Range range = kAllRows;
  if (filter.function != nullptr) {
    const auto function = find_function(connection, *filter.function);
    if (!function) return function.error();
    if (function->number == 0) return page;
    range = rows_of(function->number);
  }
  const auto after = row_after(from, range);
  if (!after)
    return Error(ErrorCode::invalid_argument, kCannotList,
                 "the cursor is not one of this store's",
                 "begin with an empty cursor, go on with Page::next");

  std::int64_t seen = 0;
  std::int64_t last = *after;
  Run run(connection, Sql::list);
  run.bind(1, *after).bind(2, range.last).bind(3, kRowsPerPage);
  int result = run.step();
  for (; result == SQLITE_ROW && page.entries.size() < kPerPage; result = run.step()) {
    ++seen;
    if (run.number(0) <= last) return disorder(kCannotList);
    last = run.number(0);
    const Time stored_at{Duration(run.number(2))};
    const bool counts = run.number(6) != 0 && run.number(2) != 0 &&
                        (!filter.stored_before || stored_at < *filter.stored_before);
    if (!counts) continue;
    const auto digest = digest_of(run.bytes(4));
    ValueFiles::Beginning apart;
    Bytes envelope = run.bytes(5);
    std::uint64_t size = envelope.size();
    if ((run.number(7) & kFlagApart) != 0) {
      apart = site.value_files().beginning(
          {run.number(0), static_cast<std::uint64_t>(run.number(8))});
      envelope = as_bytes(apart.bytes);
      size = apart.size;
    }
    const auto parts = envelope::inspect(envelope, size);
    if (!digest || !parts) continue;  // damaged: a look says so
    Header header;
    header.function = run.text(1);
    header.digest = *digest;
    header.key = as_text(parts->key);
    header.hashed = parts->hashed;
    header.stored_at = stored_at;
    header.size = static_cast<std::uint64_t>(run.number(3));
    header.codec = parts->codec;
    page.entries.push_back(std::move(header));
  }
  if (result != SQLITE_ROW && result != SQLITE_DONE) {
    lease->discard();
    return sqlite_error(connection.handle(), result, kCannotList);
  }
  const bool more = result == SQLITE_ROW || seen == kRowsPerPage;
  if (more && last < range.last) page.next = std::to_string(last);
  return page;
}

}  // namespace cachier::local
