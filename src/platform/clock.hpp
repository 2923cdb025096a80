#pragma once

/// The clocks of this machine.

#include <cachier/entry.hpp>

#include <cstdint>

namespace cachier::platform {

/// UTC now, in nanoseconds.
[[nodiscard]] Time wall_now() noexcept;

/// `wall_now` as of the kernel's last tick, a few milliseconds ago at most: some 5 ns
/// instead of 20.
[[nodiscard]] Time coarse_wall_now() noexcept;

/// From now on both answer what `clock` does; null: the time. For tests of age
/// and expiry. Thread-safe.
void set_wall_clock(Time (*clock)() noexcept) noexcept;

/// Nanoseconds of a monotonic clock that ticks every few milliseconds, in some 5 ns.
[[nodiscard]] std::int64_t coarse_now() noexcept;

/// Milliseconds of CLOCK_MONOTONIC: the same in all processes of the machine.
[[nodiscard]] std::uint64_t monotonic_milliseconds() noexcept;

/// Sleeps for this long, or less if a signal comes.
void pause_for(std::chrono::microseconds time) noexcept;

}  // namespace cachier::platform
