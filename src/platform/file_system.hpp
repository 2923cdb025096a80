#pragma once

/// What kind of file system a directory is on.

#include <cstdint>
#include <string>

namespace cachier::platform {

/// Its number, as statfs(2) gives it; 0: not known.
[[nodiscard]] std::uint64_t file_system_of(const std::string& directory) noexcept;

/// From now on that answers what `probe` does; null: the truth. For tests. Thread-safe.
void set_file_system_probe(
    std::uint64_t (*probe)(const std::string&) noexcept) noexcept;

/// Whether such a file system is known to be one machine's own, where locks and shared
/// memory are what they ought to be; one whose number is not known is taken for it.
[[nodiscard]] bool is_of_one_machine(std::uint64_t file_system) noexcept;

/// For people: "NFS", or its number.
[[nodiscard]] std::string name_of_file_system(std::uint64_t file_system);

}  // namespace cachier::platform
