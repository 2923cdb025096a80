#include "backends/local/schema.hpp"

#include "backends/local/layout.hpp"
#include "platform/file.hpp"
#include "platform/random.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdio>
#include <string_view>

namespace cachier::local {
namespace {

// Of the pages' schema without its comments.
constexpr char kSchema[] =
    "PRAGMA page_size=4096; PRAGMA encoding='UTF-8'; PRAGMA auto_vacuum=NONE;"
    "PRAGMA mmap_size=0; PRAGMA journal_mode=MEMORY; PRAGMA synchronous=OFF;"
    "BEGIN;"
    "CREATE TABLE functions(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE,"
    " epoch INTEGER NOT NULL, entries INTEGER NOT NULL, bytes INTEGER NOT NULL);"
    "CREATE TABLE entries(id INTEGER PRIMARY KEY, epoch INTEGER NOT NULL,"
    " version INTEGER NOT NULL, stored_at INTEGER NOT NULL, flags INTEGER NOT NULL,"
    " size INTEGER NOT NULL, used_at INTEGER NOT NULL, digest BLOB NOT NULL,"
    " envelope BLOB);";

/// Clears leave room above: epochs take four bytes for the next 2^31 of them.
std::int64_t first_epoch() noexcept {
  constexpr std::uint64_t kChoices = 0x7fff'0000 / kFirstEpochs;
  return static_cast<std::int64_t>(platform::random_bits() % kChoices + 1) *
         kFirstEpochs;
}

std::optional<Error> fill(const std::string& path) {
  const std::string what = "cannot make the cache's database '" + path + "'";
  sqlite3* database = nullptr;
  int result = sqlite3_open_v2(path.c_str(), &database,
                               SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX |
                                   SQLITE_OPEN_PRIVATECACHE | SQLITE_OPEN_EXRESCODE,
                               nullptr);
  // WAL comes last, and synced: then all that was written before is on the disk when
  // the file gets its name.
  const std::string sql =
      kSchema +
      ("INSERT INTO functions VALUES(0, '', " + std::to_string(first_epoch())) +
      ", 0, 0); PRAGMA application_id=" + std::to_string(kApplicationId) +
      "; PRAGMA user_version=" + std::to_string(kUserVersion) +
      "; COMMIT; PRAGMA synchronous=FULL; PRAGMA journal_mode=WAL";
  if (result == SQLITE_OK)
    result = sqlite3_exec(database, sql.c_str(), nullptr, nullptr, nullptr);
  std::optional<Error> error;
  if (result != SQLITE_OK) error = sqlite_error(database, result, what);
  sqlite3_close(database);
  return error;
}

}  // namespace

std::string database_path(const std::string& folder, std::uint64_t generation) {
  return folder + "/c" + std::to_string(generation) + ".db";
}

std::string value_folder(const std::string& folder, std::uint64_t generation) {
  return folder + "/c" + std::to_string(generation) + ".values";
}

std::uint64_t newest_generation(const std::string& folder) {
  std::uint64_t newest = 1;
  DIR* const directory = ::opendir(folder.c_str());
  if (directory == nullptr) return newest;
  while (const dirent* const one = ::readdir(directory)) {
    const std::string_view name = one->d_name;
    if (name.size() < 5 || name.front() != 'c' || !name.ends_with(".db")) continue;
    std::uint64_t number = 0;
    const char* const last = name.data() + name.size() - 3;
    const auto [end, error] = std::from_chars(name.data() + 1, last, number);
    if (error == std::errc() && end == last && number > newest) newest = number;
  }
  ::closedir(directory);
  return newest;
}

Result<bool> has_age_index(Connection& connection) {
  const auto found = connection.number(
      "SELECT count(*) FROM sqlite_master "
      "WHERE type = 'index' AND name = 'entries_by_age'");
  if (!found) return found.error();
  return *found != 0;
}

std::optional<Error> add_age_index(Connection& connection) {
  const int result = sqlite3_exec(connection.handle(),
                                  "CREATE INDEX IF NOT EXISTS entries_by_age "
                                  "ON entries(id >> 44, epoch, stored_at)",
                                  nullptr, nullptr, nullptr);
  if (result == SQLITE_OK) return std::nullopt;
  return sqlite_error(connection.handle(), result,
                      "cannot index the cache's entries by age");
}

void remove_database(const std::string& path) noexcept {
  for (const char* suffix : {"", "-wal", "-shm", "-journal"})
    ::unlink((path + suffix).c_str());
}

bool is_damaged(const std::string& path, Deadline deadline) {
  const auto connection = Connection::open(path, false, deadline);
  if (!connection) return connection.error() == ErrorCode::corrupt;
  for (int which = 0; which < static_cast<int>(Sql::last_one); ++which) {
    int result = SQLITE_OK;
    if ((*connection)->statement(static_cast<Sql>(which), result) == nullptr)
      return sqlite_error((*connection)->handle(), result, {}) == ErrorCode::corrupt;
  }
  return (*connection)->finds_damage();
}

std::optional<Error> make_database(const std::string& path) {
  // Beside it, so that whoever sees the name sees all of it. What somebody left who
  // died here is of no use.
  const std::string aside = path + ".new";
  remove_database(aside);
  if (!platform::File::open(aside, O_RDWR | O_CREAT | O_EXCL))
    return platform::system_error("cannot make '" + aside + "'", errno);
  if (auto error = fill(aside)) {
    remove_database(aside);
    return error;
  }
  if (::rename(aside.c_str(), path.c_str()) != 0)
    return platform::system_error("cannot make '" + path + "'", errno);
  return std::nullopt;
}

}  // namespace cachier::local
