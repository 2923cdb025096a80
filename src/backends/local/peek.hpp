#pragma once

/// A cache directory as somebody sees it who only looks: nothing in it is made,
/// replaced or set aside.

#include <cachier/entry.hpp>
#include <cachier/error.hpp>

#include "backends/local/guard.hpp"
#include "backends/local/inspect.hpp"
#include "backends/local/sqlite.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

namespace cachier::local {

class Peek {
 public:
  /// Null: there is no cache in the directory. `refused`: it is not ours to look at.
  static Result<std::unique_ptr<Peek>> open(const std::string& directory);

  [[nodiscard]] const std::string& folder() const noexcept { return folder_; }

  /// The database in use now, as the table says; where it cannot, the newest.
  [[nodiscard]] std::uint64_t generation() const;
  /// What is wrong with the table, if anything is. That there is none is not.
  [[nodiscard]] std::optional<Error> table_damage() const;

  /// Entries removed to keep within bounds, since the table was made; 0: not known.
  [[nodiscard]] std::uint64_t evictions() const;

  /// A connection that does not write, to a database that is there.
  Result<std::unique_ptr<Connection>> connect(std::uint64_t generation,
                                              Deadline deadline);

  /// Waits for a moment in which nobody was inside a write transaction. False: there
  /// was none until the deadline.
  [[nodiscard]] bool await_quiet(Deadline deadline) const;

 private:
  explicit Peek(std::string folder) : folder_(std::move(folder)) {}

  struct Head {
    std::optional<std::uint64_t> generation;
    std::uint64_t evictions = 0;
    std::optional<Error> damage;
  };
  [[nodiscard]] Head read_table() const;

  const std::string folder_;
  Guard guard_;
};

/// The files in `folder`, told apart by their names.
struct Inventory {
  Files database;
  Files log;
  Files value_files;
  Files others;
  Files set_aside;
  std::uint64_t databases_set_aside = 0;
};
[[nodiscard]] Inventory inventory_of(const std::string& folder,
                                     std::uint64_t generation);

/// Removes what the inventory counts as set aside.
[[nodiscard]] std::optional<Error> remove_set_aside(const std::string& folder,
                                                    std::uint64_t generation);

}  // namespace cachier::local
