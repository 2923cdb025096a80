#pragma once

/// What SQLite does for the thread of a test.

#include <sqlite3.h>

#include <cstdint>
#include <string_view>
#include <utility>

namespace cachier::test {

/// Counts in this thread, on every connection that is opened while this lives. One at a
/// time.
class CountedSql {
 public:
  CountedSql() { sqlite3_auto_extension(entry()); }
  ~CountedSql() { sqlite3_cancel_auto_extension(entry()); }
  CountedSql(const CountedSql&) = delete;
  CountedSql& operator=(const CountedSql&) = delete;

  /// Steps of SQLite's machine since the last time.
  static std::int64_t take_steps() { return std::exchange(steps_, 0); }
  /// Commits since the last time.
  static std::int64_t take_commits() { return std::exchange(commits_, 0); }

 private:
  static int on_end(unsigned /*kind*/, void* /*unused*/, void* which, void* /*time*/) {
    auto* const statement = static_cast<sqlite3_stmt*>(which);
    steps_ += sqlite3_stmt_status(statement, SQLITE_STMTSTATUS_VM_STEP, 1);
    commits_ += std::string_view(sqlite3_sql(statement)) == "COMMIT" ? 1 : 0;
    return 0;
  }
  static int on_open(sqlite3* connection, char** /*error*/, const void* /*api*/) {
    return sqlite3_trace_v2(connection, SQLITE_TRACE_PROFILE, &on_end, nullptr);
  }
  static void (*entry())() { return reinterpret_cast<void (*)()>(&on_open); }

  inline static thread_local std::int64_t steps_ = 0;
  inline static thread_local std::int64_t commits_ = 0;
};

}  // namespace cachier::test
