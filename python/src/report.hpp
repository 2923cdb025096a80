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
/// A result cannot be stored, and its caller gets it all the same.
void report_unstorable(const std::string& function, PyObject* exception) noexcept;
/// A stored value that other code computed, and that is handed out.
void report_other_code(const std::string& function) noexcept;
/// A wait of more than 5 s for `process` (0: not known).
void report_long_wait(const std::string& function, std::uint32_t process) noexcept;
/// A failure of the store at `location`.
void report_store_failure(const std::string& location,
                          const std::string& message) noexcept;

/// From now on the engine's own messages (`set_log_sink`) are kept until somebody who
/// may run Python code tells them. The engine may hold locks when it has something to
/// say: nothing here waits, takes the GIL or a lock.
void keep_engine_messages();
/// Tells what was kept: at the end of whatever may have gone to a store.
void report_engine_messages() noexcept;
/// In the child of a fork: what was kept is the parent's to tell.
void forget_engine_messages() noexcept;

/// Counts a step in a `CacheMetrics`. `waited`: for somebody else's computation.
void record_step(PyObject* metrics, engine::Step step, bool waited) noexcept;
/// Counts how long a call took, and whether it gave up waiting.
void record_call(PyObject* metrics, std::chrono::nanoseconds took,
                 bool timed_out) noexcept;

}  // namespace cachier::python
