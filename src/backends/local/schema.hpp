#pragma once

/// The database file of a cache directory: its name, and how it comes to be.

#include <cachier/error.hpp>

#include <cstdint>
#include <optional>
#include <string>

namespace cachier::local {

[[nodiscard]] std::string database_path(const std::string& folder,
                                        std::uint64_t generation);

/// The highest generation of which there is a file; 1 where there is none.
[[nodiscard]] std::uint64_t newest_generation(const std::string& folder);

/// Makes an empty database at `path`, which is not there, all or nothing. The caller
/// holds the lock *making*.
[[nodiscard]] std::optional<Error> make_database(const std::string& path);

}  // namespace cachier::local
