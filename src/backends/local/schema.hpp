#pragma once

/// The database file of a cache directory: its name, and how it comes to be.

#include <cachier/entry.hpp>
#include <cachier/error.hpp>

#include "backends/local/sqlite.hpp"

#include <cstdint>
#include <optional>
#include <string>

namespace cachier::local {

[[nodiscard]] std::string database_path(const std::string& folder,
                                        std::uint64_t generation);

/// Where the value files of its database are.
[[nodiscard]] std::string value_folder(const std::string& folder,
                                       std::uint64_t generation);

/// The highest generation of which there is a file; 1 where there is none.
[[nodiscard]] std::uint64_t newest_generation(const std::string& folder);

/// Makes an empty database at `path`, which is not there, all or nothing. The caller
/// holds the lock *making*.
[[nodiscard]] std::optional<Error> make_database(const std::string& path);

/// Whether the database has the index of ages.
[[nodiscard]] Result<bool> has_age_index(Connection& connection);

/// Makes it, in the write transaction of its caller. Reads every row.
[[nodiscard]] std::optional<Error> add_age_index(Connection& connection);

/// Removes it with all that belongs to it, as far as it is there.
void remove_database(const std::string& path) noexcept;

/// Whether it cannot be opened or used, or a look at all of it finds damage. The caller
/// keeps others from opening it.
[[nodiscard]] bool is_damaged(const std::string& path, Deadline deadline);

}  // namespace cachier::local
