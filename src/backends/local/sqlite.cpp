#include "backends/local/sqlite.hpp"

#include "backends/local/layout.hpp"
#include "platform/clock.hpp"
#include "platform/file.hpp"
#include "platform/random.hpp"

#include <cerrno>
#include <chrono>
#include <filesystem>

namespace cachier::local {
namespace {

constexpr const char* kStatements[] = {
    "BEGIN IMMEDIATE",
    "COMMIT",
    "ROLLBACK",
    "SELECT id, epoch FROM functions WHERE name IN ('', ?1) ORDER BY id",
    "SELECT name FROM functions WHERE id = ?1",
    "INSERT INTO functions(name, epoch, entries, bytes) VALUES(?1, ?2, 0, 0)",
    "SELECT f.epoch, e.version, e.stored_at, e.flags, e.envelope FROM functions f "
    "LEFT JOIN entries e ON e.id = ?2 AND e.epoch = f.epoch WHERE f.id = ?1",
    "SELECT f.epoch, e.version, e.epoch = f.epoch, e.flags, "
    "e.stored_at, e.size FROM functions f "
    "LEFT JOIN entries e ON e.id = ?2 WHERE f.id = ?1",
    "INSERT OR REPLACE INTO entries"
    "(id, epoch, version, stored_at, flags, size, used_at, digest, envelope) "
    "VALUES(?1, ?2, ?3, ?4, ?5, ?6, 0, ?7, ?8)",
    // One row a time: for a change of several SQLite keeps a journal of the statement.
    "UPDATE functions SET entries = entries + ?2, bytes = bytes + ?3 WHERE id = ?1",
    // Never again a multiple of 1,024, as the first one is.
    "UPDATE functions SET epoch = epoch + 1 + (epoch % 1024 = 1023), "
    "entries = 0, bytes = 0 "
    "WHERE id BETWEEN ?1 AND ?2",
    "UPDATE entries SET epoch = (SELECT epoch FROM functions WHERE id = entries.id >> "
    "44) "
    "WHERE id BETWEEN ?1 AND ?2 AND stored_at >= ?3 AND stored_at > 0 AND epoch "
    "BETWEEN "
    "(SELECT epoch - 1 - (epoch % 1024 = 1) FROM functions WHERE id = entries.id >> "
    "44) "
    "AND (SELECT epoch - 1 FROM functions WHERE id = entries.id >> 44)",
    "UPDATE functions SET (entries, bytes) = (SELECT count(*), "
    "coalesce(sum(size + 256), 0) FROM entries WHERE stored_at > 0 "
    "AND id BETWEEN functions.id << 44 AND (functions.id + 1 << 44) - 1 "
    "AND epoch = functions.epoch) WHERE id BETWEEN ?1 AND ?2 AND id > 0",
    "UPDATE functions SET (entries, bytes) = (SELECT coalesce(sum(entries), 0), "
    "coalesce(sum(bytes), 0) FROM functions WHERE id > 0) WHERE id = 0",
    "SELECT entries, bytes FROM functions WHERE id = ?1",
    "SELECT id, flags, size FROM entries WHERE id > ?1 AND id <= ?2 "
    "ORDER BY id LIMIT ?3",
    "DELETE FROM entries WHERE id BETWEEN ?1 AND ?2 "
    "AND epoch IS NOT (SELECT epoch FROM functions WHERE id = entries.id >> 44) "
    "RETURNING id, version, flags",
    "SELECT id, version, stored_at, digest, epoch IS "
    "(SELECT epoch FROM functions WHERE id = entries.id >> 44), flags, size "
    "FROM entries WHERE id > ?1 AND id <= ?2 ORDER BY id LIMIT ?3",
    "SELECT id, version, stored_at, digest, epoch IS "
    "(SELECT epoch FROM functions WHERE id = ?1), flags, size, epoch FROM entries "
    "WHERE id >> 44 = ?1 AND (epoch, stored_at, id) > (?2, ?3, ?4) AND "
    "(epoch, stored_at) < ((SELECT epoch FROM functions WHERE id = ?1), ?5) "
    "ORDER BY epoch, stored_at, id LIMIT ?6",
    "DELETE FROM entries WHERE id = ?1 AND version = ?2 RETURNING stored_at > 0 AND "
    "epoch IS (SELECT epoch FROM functions WHERE id = entries.id >> 44)",
    "UPDATE entries SET stored_at = 0, flags = 0, size = 0, envelope = NULL "
    "WHERE id = ?1 AND version = ?2 AND stored_at > 0 "
    "RETURNING epoch IS (SELECT epoch FROM functions WHERE id = entries.id >> 44)",
    "SELECT e.id, f.name, e.stored_at, e.size, e.digest, e.envelope, "
    "e.epoch = f.epoch, e.flags, e.version FROM entries e CROSS JOIN functions f ON "
    "f.id = e.id >> 44 "
    "WHERE e.id > ?1 AND e.id <= ?2 ORDER BY e.id LIMIT ?3",
    "SELECT flags FROM entries WHERE id = ?1 AND version = ?2",
};
static_assert(std::size(kStatements) == static_cast<std::size_t>(Sql::last_one));
static_assert(kDigestBits == 44);
static_assert(kEntryCost == 256);

ErrorCode code_of(int result, int error_number) noexcept {
  switch (result & 0xff) {
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return ErrorCode::corrupt;
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
      return ErrorCode::refused;
    case SQLITE_CANTOPEN:
      return error_number == EACCES || error_number == EPERM || error_number == EROFS
                 ? ErrorCode::refused
                 : ErrorCode::unavailable;
    case SQLITE_IOERR:
      return result == SQLITE_IOERR_SHORT_READ ? ErrorCode::corrupt
                                               : ErrorCode::unavailable;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL:
    case SQLITE_INTERRUPT:
    case SQLITE_FULL:
    case SQLITE_NOMEM:
      return ErrorCode::unavailable;
    case SQLITE_TOOBIG:
      return ErrorCode::too_large;
    case SQLITE_ERROR:
    case SQLITE_SCHEMA:
      return ErrorCode::corrupt;  // our statements are right, so the tables are not
    default:
      return ErrorCode::internal;
  }
}

std::string fix_of(int result, ErrorCode code, int error_number) {
  switch (result & 0xff) {
    case SQLITE_FULL:
      return "free some space on the file system of the cache directory";
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return "another process holds the cache's database; try again";
    case SQLITE_TOOBIG:
      return "set entry_size_limit, or return less";
    default:
      break;
  }
  if (code == ErrorCode::corrupt)
    return "stop the programs that use this cache and delete its directory";
  if (error_number == ENOSPC || error_number == EDQUOT)
    return "free some space on the file system of the cache directory";
  if (code == ErrorCode::refused)
    return "give this user the permission, or set cache_dir to another directory";
  return "look at the file system of the cache directory";
}

}  // namespace

Error sqlite_error(sqlite3* connection, int result, std::string what) {
  const int error_number = connection != nullptr ? sqlite3_system_errno(connection) : 0;
  const ErrorCode code = code_of(result, error_number);
  std::string cause = sqlite3_errstr(result);
  if (connection != nullptr && sqlite3_extended_errcode(connection) == result)
    cause = sqlite3_errmsg(connection);
  cause += " (SQLite " + std::to_string(result) + ")";
  // What the system said belongs to failures of the system only: SQLite keeps the
  // number of an earlier one.
  const int kind = result & 0xff;
  const bool of_system = kind == SQLITE_IOERR || kind == SQLITE_CANTOPEN ||
                         kind == SQLITE_FULL || kind == SQLITE_READONLY;
  if (of_system && error_number != 0)
    cause += ": " + platform::system_words(error_number);
  return {code, std::move(what), std::move(cause),
          fix_of(result, code, of_system ? error_number : 0)};
}

Error disorder(std::string what) {
  return {ErrorCode::corrupt, std::move(what), "its rows are not in order",
          fix_of(SQLITE_CORRUPT, ErrorCode::corrupt, 0)};
}

Connection::~Connection() {
  for (auto* statement : statements_) sqlite3_finalize(statement);
  sqlite3_close(connection_);
}

Result<std::unique_ptr<Connection>> Connection::open(const std::string& path,
                                                     bool read_only,
                                                     Deadline deadline) {
  const std::string what = "cannot open the cache's database '" + path + "'";
  // To open a pipe would be to wait for somebody at its other end.
  std::error_code none;
  if (const auto kind = std::filesystem::status(path, none).type();
      kind != std::filesystem::file_type::regular &&
      kind != std::filesystem::file_type::not_found &&
      kind != std::filesystem::file_type::none)
    return Error(ErrorCode::refused, what, "it is not a regular file",
                 "remove it, or set cache_dir to another directory");
  std::unique_ptr<Connection> self(new Connection);
  self->set_deadline(deadline);
  const int flags = (read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE) |
                    SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE |
                    SQLITE_OPEN_EXRESCODE;
  const int opened = sqlite3_open_v2(path.c_str(), &self->connection_, flags, nullptr);
  sqlite3* const handle = self->connection_;
  if (opened != SQLITE_OK) return sqlite_error(handle, opened, what);

  sqlite3_busy_handler(handle, &Connection::on_busy, self.get());
  sqlite3_db_config(handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  // In this order: both use the one hook.
  sqlite3_wal_autocheckpoint(handle, 0);
  sqlite3_wal_hook(handle, &Connection::on_commit, self.get());
  const int set = sqlite3_exec(
      // secure_delete, which some distributions build in, writes zeros over all that is
      // deleted: a clear would write as much as it removes, while others wait.
      handle,
      "PRAGMA synchronous=NORMAL; PRAGMA cache_size=-2000; PRAGMA mmap_size=0; "
      "PRAGMA secure_delete=OFF",
      nullptr, nullptr, nullptr);
  if (set != SQLITE_OK) return sqlite_error(handle, set, what);

  const auto application = self->number("PRAGMA application_id");
  if (!application) return application.error();
  const auto version = self->number("PRAGMA user_version");
  if (!version) return version.error();
  if (*application != kApplicationId) {
    const auto pages = self->number("PRAGMA page_count");
    if (pages && *pages == 0)
      return Error(ErrorCode::corrupt, what, "the file is empty",
                   "stop the programs that use this cache and delete its directory");
    return Error(ErrorCode::refused, what,
                 "it is a database of another program (application_id " +
                     std::to_string(*application) + ")",
                 "set cache_dir to another directory");
  }
  if (*version != kUserVersion)
    return Error(
        ErrorCode::version_mismatch, what,
        "its format is " + std::to_string(*version) + ", and this library knows " +
            std::to_string(kUserVersion),
        "use the cachier that wrote it, or set cache_dir to another directory");
  return self;
}

int Connection::on_busy(void* self, int /*count*/) noexcept {
  const auto& connection = *static_cast<const Connection*>(self);
  const auto* const hurry = connection.hurry_;
  if (hurry != nullptr && hurry->load(std::memory_order_relaxed)) return 0;
  if (std::chrono::steady_clock::now() >= connection.deadline_) return 0;
  // Flat, not growing: whoever has waited longest must not be the one who asks least.
  platform::pause_for(
      std::chrono::microseconds(30 + static_cast<int>(platform::random_bits() % 41)));
  return 1;
}

int Connection::on_commit(void* self, sqlite3* /*handle*/, const char* /*name*/,
                          int frames) noexcept {
  static_cast<Connection*>(self)->log_frames_ = frames;
  return SQLITE_OK;
}

sqlite3_stmt* Connection::statement(Sql which, int& result) noexcept {
  auto*& statement = statements_[static_cast<std::size_t>(which)];
  if (statement == nullptr) {
    result = sqlite3_prepare_v3(connection_, kStatements[static_cast<int>(which)], -1,
                                SQLITE_PREPARE_PERSISTENT, &statement, nullptr);
  }
  return statement;
}

bool Connection::finds_damage() noexcept {
  if (std::chrono::steady_clock::now() >= deadline_) return false;
  // Asked between rows, which is as often as SQLite allows in its older versions.
  constexpr int kSteps = 1'000;
  sqlite3_progress_handler(
      connection_, kSteps,
      [](void* self) {
        const auto deadline = static_cast<const Connection*>(self)->deadline_;
        return std::chrono::steady_clock::now() >= deadline ? 1 : 0;
      },
      this);
  sqlite3_stmt* statement = nullptr;
  int result =
      sqlite3_prepare_v2(connection_, "PRAGMA quick_check(1)", -1, &statement, nullptr);
  if (result == SQLITE_OK) result = sqlite3_step(statement);
  bool found = code_of(result, 0) == ErrorCode::corrupt;
  if (result == SQLITE_ROW) {
    const auto* const words =
        reinterpret_cast<const char*>(sqlite3_column_text(statement, 0));
    found = words != nullptr && std::string_view(words) != "ok";
  }
  sqlite3_finalize(statement);
  sqlite3_progress_handler(connection_, 0, nullptr, nullptr);
  return found;
}

Result<std::int64_t> Connection::number(const char* sql) {
  sqlite3_stmt* statement = nullptr;
  int result = sqlite3_prepare_v2(connection_, sql, -1, &statement, nullptr);
  std::int64_t number = 0;
  if (result == SQLITE_OK) result = sqlite3_step(statement);
  if (result == SQLITE_ROW) number = sqlite3_column_int64(statement, 0);
  const bool got = result == SQLITE_ROW;
  Error error =
      got ? Error(ErrorCode::internal)
          : sqlite_error(connection_, result, "cannot read the cache's database");
  sqlite3_finalize(statement);
  if (!got) return error;
  return number;
}

Run::Run(Connection& connection, Sql which) noexcept
    : statement_(connection.statement(which, result_)) {}

Run::~Run() {
  if (statement_ != nullptr) sqlite3_reset(statement_);
}

Run& Run::bind(int index, std::int64_t value) noexcept {
  if (statement_ != nullptr && result_ == SQLITE_OK)
    result_ = sqlite3_bind_int64(statement_, index, value);
  return *this;
}

Run& Run::bind(int index, Bytes bytes) noexcept {
  if (statement_ != nullptr && result_ == SQLITE_OK)
    result_ = sqlite3_bind_blob64(
        statement_, index, bytes.empty() ? static_cast<const void*>("") : bytes.data(),
        bytes.size(), SQLITE_STATIC);
  return *this;
}

Run& Run::bind(int index, std::string_view text) noexcept {
  if (statement_ != nullptr && result_ == SQLITE_OK)
    result_ = sqlite3_bind_text64(statement_, index, text.data(), text.size(),
                                  SQLITE_STATIC, SQLITE_UTF8);
  return *this;
}

Run& Run::bind_null(int index) noexcept {
  if (statement_ != nullptr && result_ == SQLITE_OK)
    result_ = sqlite3_bind_null(statement_, index);
  return *this;
}

int Run::step() noexcept {
  if (statement_ != nullptr && (result_ == SQLITE_OK || result_ == SQLITE_ROW))
    result_ = sqlite3_step(statement_);
  return result_;
}

std::int64_t Run::number(int column) const noexcept {
  return sqlite3_column_int64(statement_, column);
}

bool Run::is_null(int column) const noexcept {
  return sqlite3_column_type(statement_, column) == SQLITE_NULL;
}

Bytes Run::bytes(int column) const noexcept {
  const void* const data = sqlite3_column_blob(statement_, column);
  const auto size = static_cast<std::size_t>(sqlite3_column_bytes(statement_, column));
  return {static_cast<const std::byte*>(data), size};
}

std::string_view Run::text(int column) const noexcept {
  const auto* const data =
      reinterpret_cast<const char*>(sqlite3_column_text(statement_, column));
  const auto size = static_cast<std::size_t>(sqlite3_column_bytes(statement_, column));
  return {data != nullptr ? data : "", size};
}

}  // namespace cachier::local
