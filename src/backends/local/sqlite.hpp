#pragma once

/// One connection to the database and its statements.

#include <cachier/entry.hpp>
#include <cachier/error.hpp>

#include <sqlite3.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace cachier::local {

/// The statements of a connection, each prepared once, when first needed.
enum class Sql : std::uint8_t {
  begin,  ///< takes the write lock
  commit,
  rollback,
  find_function,  ///< name -> id, epoch of it and of the store (id 0)
  name_function,  ///< id -> name
  add_function,   ///< name, epoch
  read_entry,     ///< function, row -> its epoch, the entry
  read_state,     ///< function, row -> its epoch, the row's version, whether it is of
                  ///< this epoch, its flags, when it was stored, its size
  write_entry,    ///< all columns
  account,        ///< function, entries, bytes: adds to its counts
  raise_epochs,   ///< first and last function: counts begin anew
  carry_over,     ///< first and last row, time: younger ones live on in the new epoch
  recount,        ///< first and last function: counts their entries
  sum_counts,     ///< the counts of all, anew
  read_counts,    ///< function -> its counts
  sizes,          ///< after row, last row, how many -> rows, their flags and sizes
  sweep,          ///< first and last row: deletes rows of other epochs -> these
  walk,           ///< after row, last row, how many -> rows' states
  walk_by_age,    ///< function, after epoch, time and row, before which time, how many
                  ///< -> the same and their epochs; needs the index of ages
  remove,         ///< row, version -> whether it was an entry that counts
  bury,           ///< the same, and leaves a tombstone that keeps the version
  list,           ///< after row, last row, how many -> what listings need
  read_flags,     ///< row, version -> its flags
  last_one,
};

/// An `Error` for what SQLite answered; `what` says what failed. `result` is extended.
[[nodiscard]] Error sqlite_error(sqlite3* connection, int result, std::string what);

/// For rows that come in another order than was asked for, as a damaged tree may give
/// them: whoever goes on from one of those might never end.
[[nodiscard]] Error disorder(std::string what);

/// Used by one thread at a time. Nothing is remembered between uses but prepared
/// statements: each `Run` resets its own.
class Connection {
 public:
  /// Opens the database at `path`, which exists, and says whether it is one of ours.
  /// `read_only`: it will not be written. Errors: `corrupt`, `refused` (somebody
  /// else's file, permissions), `version_mismatch`, `unavailable`.
  static Result<std::unique_ptr<Connection>> open(const std::string& path,
                                                  bool read_only, Deadline deadline);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  /// Until when to wait for locks of the database from now on.
  void set_deadline(Deadline deadline) noexcept { deadline_ = deadline; }
  /// Waiting also ends when `hurry` is true, until this is taken back with null.
  void heed(const std::atomic<bool>* hurry) noexcept { hurry_ = hurry; }

  [[nodiscard]] sqlite3* handle() const noexcept { return connection_; }
  /// Frames in the write-ahead log at the last commit of this connection.
  [[nodiscard]] int log_frames() const noexcept { return log_frames_; }

  /// The prepared statement; null and `result` where that failed.
  sqlite3_stmt* statement(Sql which, int& result) noexcept;

  /// Whether a look at the whole database finds damage by the deadline. Reads all of
  /// it; what has not been read by then counts as sound.
  [[nodiscard]] bool finds_damage() noexcept;

  /// Runs a pragma or the like that gives one number.
  Result<std::int64_t> number(const char* sql);

 private:
  Connection() = default;
  static int on_busy(void* self, int count) noexcept;
  static int on_commit(void* self, sqlite3*, const char*, int frames) noexcept;

  sqlite3* connection_ = nullptr;
  std::array<sqlite3_stmt*, static_cast<std::size_t>(Sql::last_one)> statements_{};
  const std::atomic<bool>* hurry_ = nullptr;
  Deadline deadline_ = Deadline::max();
  int log_frames_ = 0;
};

/// One execution of one statement: bind, step, read; reset at the end of its life,
/// since a statement that is left stepped shows its connection an old snapshot.
class Run {
 public:
  Run(Connection& connection, Sql which) noexcept;
  ~Run();
  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;

  Run& bind(int index, std::int64_t value) noexcept;
  /// The bytes must live as long as this.
  Run& bind(int index, Bytes bytes) noexcept;
  Run& bind(int index, std::string_view text) noexcept;
  Run& bind_null(int index) noexcept;

  /// `SQLITE_ROW`, `SQLITE_DONE` or an extended error.
  int step() noexcept;
  [[nodiscard]] int result() const noexcept { return result_; }

  [[nodiscard]] std::int64_t number(int column) const noexcept;
  [[nodiscard]] bool is_null(int column) const noexcept;
  /// Good until the next step.
  [[nodiscard]] Bytes bytes(int column) const noexcept;
  [[nodiscard]] std::string_view text(int column) const noexcept;

 private:
  int result_ = SQLITE_OK;  ///< first: preparing the statement sets it
  sqlite3_stmt* statement_;
};

}  // namespace cachier::local
