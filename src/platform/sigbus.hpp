#pragma once

/// Mapped files that somebody shortens: reading what is no longer there is a SIGBUS,
/// which would end the process.

#include <cstddef>

namespace cachier::platform {

/// From now on an access to memory of this range that its file no longer has finds
/// zeros instead, and so does every later access to any of the range: it is then
/// private memory. What is in it has to say itself that zeros are not right.
///
/// Installs a handler for SIGBUS with the first range; it hands on to the one before it
/// whatever is not of a range. Left out where the environment variable
/// `CACHIER_NO_SIGBUS_HANDLER` is set to anything but nothing or `0`: then it is a
/// SIGBUS. At most 256 ranges at a time are kept, others go without. Thread-safe.
void guard_range(std::byte* start, std::size_t size) noexcept;

/// Before the range is unmapped.
void unguard_range(const std::byte* start) noexcept;

}  // namespace cachier::platform
