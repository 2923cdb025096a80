#pragma once

/// Work that goes on behind a call, on threads that Python makes and joins.

#include "python.hpp"

#include <cachier/engine.hpp>

#include <memory>

#include "cached.hpp"

namespace cachier::python {

/// Has the pool run the refresh of a call of `self`. False: it could not be started,
/// and the claim has been given back.
[[nodiscard]] bool start_refresh_of(PyObject* self, const Arguments& arguments,
                                    std::unique_ptr<engine::Refresh> ticket) noexcept;

/// Has the pool remove what is older than `stale_after` from the entries of `self`.
void start_cleanup_of(PyObject* self, Duration stale_after) noexcept;

}  // namespace cachier::python
