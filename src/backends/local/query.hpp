#pragma once

/// A statement beside those of `Sql`, for what is done seldom.

#include "backends/local/sqlite.hpp"

#include <sqlite3.h>

#include <cstdint>
#include <string_view>

namespace cachier::local {

class Query {
 public:
  Query(Connection& connection, std::string_view sql) noexcept
      : connection_(connection),
        result_(sqlite3_prepare_v2(connection.handle(), sql.data(),
                                   static_cast<int>(sql.size()), &statement_,
                                   nullptr)) {}
  ~Query() { sqlite3_finalize(statement_); }
  Query(const Query&) = delete;
  Query& operator=(const Query&) = delete;

  Query& bind(int index, std::int64_t value) noexcept {
    if (result_ == SQLITE_OK) result_ = sqlite3_bind_int64(statement_, index, value);
    return *this;
  }
  /// The bytes must live as long as this.
  Query& bind(int index, Bytes bytes) noexcept {
    if (result_ == SQLITE_OK)
      result_ = sqlite3_bind_blob64(
          statement_, index,
          bytes.empty() ? static_cast<const void*>("") : bytes.data(), bytes.size(),
          SQLITE_STATIC);
    return *this;
  }

  /// Whether there is a row.
  bool step() noexcept {
    if (result_ == SQLITE_OK || result_ == SQLITE_ROW)
      result_ = sqlite3_step(statement_);
    return result_ == SQLITE_ROW;
  }
  /// Ends this use, with the snapshot that it reads, for another with other bindings.
  void rewind() noexcept {
    if (statement_ == nullptr) return;  // it could not be prepared: that stays an error
    sqlite3_reset(statement_);
    result_ = SQLITE_OK;
  }

  /// Whether there has been no error so far.
  [[nodiscard]] bool good() const noexcept {
    return result_ == SQLITE_OK || result_ == SQLITE_ROW || result_ == SQLITE_DONE;
  }
  /// Precondition: not good.
  [[nodiscard]] Error error(std::string what) const {
    return sqlite_error(connection_.handle(), result_, std::move(what));
  }

  [[nodiscard]] std::int64_t number(int column) const noexcept {
    return sqlite3_column_int64(statement_, column);
  }
  [[nodiscard]] bool is_null(int column) const noexcept {
    return sqlite3_column_type(statement_, column) == SQLITE_NULL;
  }
  /// Good until the next step.
  [[nodiscard]] Bytes bytes(int column) const noexcept {
    const void* const data = sqlite3_column_blob(statement_, column);
    const int size = sqlite3_column_bytes(statement_, column);
    return {static_cast<const std::byte*>(data), static_cast<std::size_t>(size)};
  }
  [[nodiscard]] std::string_view text(int column) const noexcept {
    const auto* const data =
        reinterpret_cast<const char*>(sqlite3_column_text(statement_, column));
    const int size = sqlite3_column_bytes(statement_, column);
    return {data != nullptr ? data : "", static_cast<std::size_t>(size)};
  }

 private:
  Connection& connection_;
  sqlite3_stmt* statement_ = nullptr;
  int result_;
};

}  // namespace cachier::local
