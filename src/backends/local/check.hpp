#pragma once

/// Whether a row of `entries` is what `docs/formats/local.md` says it is.

#include <cachier/entry.hpp>
#include <cachier/error.hpp>

#include "backends/local/query.hpp"
#include "backends/local/sqlite.hpp"
#include "backends/local/value_files.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace cachier::local {

/// A row with its function's.
struct EntryRow {
  std::int64_t id = 0;
  std::int64_t epoch = 0;
  std::int64_t version = 0;
  std::int64_t stored_at = 0;
  std::int64_t flags = 0;
  std::int64_t size = 0;
  std::optional<Digest> digest;
  std::optional<std::string> function;  ///< its id; nothing: it has no row
  std::int64_t function_epoch = 0;
  std::optional<std::string> envelope;

  [[nodiscard]] bool in_file() const noexcept;
  [[nodiscard]] ValueFile file() const noexcept {
    return {id, static_cast<std::uint64_t>(version)};
  }
};

/// Reads rows, some at a time.
class RowReader {
 public:
  explicit RowReader(Connection& connection) noexcept;

  /// Some rows from `first` to `last`, in the order of their ids or backwards. Rows
  /// that were read before an error are in `rows` then. `corrupt`: also where they come
  /// in another order.
  std::optional<Error> read(std::int64_t first, std::int64_t last, bool backwards,
                            std::vector<EntryRow>& rows);

 private:
  Query forwards_;
  Query backwards_;
};

/// The row as it is now, if it is there.
Result<std::optional<EntryRow>> read_row(Connection& connection, std::int64_t id);

struct Verdict {
  enum class Kind : std::uint8_t {
    sound,
    newer,       ///< sound, of a form that this library does not know
    tombstone,   ///< nothing is stored: it was erased
    waiting,     ///< cleared, and yet to be removed
    unreadable,  ///< the system does not let us read its value file
    damaged,
  };
  Kind kind = Kind::sound;
  std::string why;  ///< where it is damaged or unreadable
  std::string key;  ///< as far as it could be read
  bool hashed = false;
};

/// Verifies the row, its envelope, and its value file if it has one.
[[nodiscard]] Verdict check(const EntryRow& row, const ValueFiles& files);

}  // namespace cachier::local
