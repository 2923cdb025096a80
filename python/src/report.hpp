#pragma once

/// What goes wrong beside a call: warnings and lines in the log. None of these ever
/// fails, and none leaves an exception set.

#include "python.hpp"

#include <cachier/engine.hpp>

#include <chrono>
#include <cstdint>
#include <string>

namespace cachier::python {

/// A stored value that could not be decoded: `exception` says why.
void report_unreadable(const std::string& function, PyObject* exception) noexcept;
/// A refresh in the background that ended with `exception`.
void report_failed_refresh(const std::string& function, PyObject* exception) noexcept;
/// A wait of more than 5 s for `process` (0: not known).
void report_long_wait(const std::string& function, std::uint32_t process) noexcept;
/// A failure of the store at `location`.
void report_store_failure(const std::string& location,
                          const std::string& message) noexcept;

/// A local store at `location` that is kept in files of their own, unasked.
void report_network_file_system(const std::string& location) noexcept;

/// Counts a step in a `CacheMetrics`. `waited`: for somebody else's computation.
void record_step(PyObject* metrics, engine::Step step, bool waited) noexcept;
/// Counts how long a call took, and whether it gave up waiting.
void record_call(PyObject* metrics, std::chrono::nanoseconds took,
                 bool timed_out) noexcept;

}  // namespace cachier::python
