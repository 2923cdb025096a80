#pragma once

/// Waiting for a 32-bit word to change, in this process or across processes.

#include <cachier/entry.hpp>

#include <atomic>
#include <cstdint>

namespace cachier::platform {

/// Who waits on a word and who wakes.
enum class Reach : std::uint8_t {
  process,  ///< threads of this process only: cheaper
  machine,  ///< every process that maps the word's memory shared
};

/// Sleeps while `word` holds `expected`, until a wake-up, the deadline, a signal, or
/// for no reason. Returns at once if the word holds something else.
void futex_wait(const std::atomic<std::uint32_t>& word, std::uint32_t expected,
                Deadline deadline, Reach reach) noexcept;

void futex_wake_one(const std::atomic<std::uint32_t>& word, Reach reach) noexcept;
void futex_wake_all(const std::atomic<std::uint32_t>& word, Reach reach) noexcept;

}  // namespace cachier::platform
