#pragma once

/// Memory of a mapped value as Python's buffer protocol shows it.

#include "python.hpp"

#include <cstddef>
#include <memory>

namespace cachier::python {

/// An object whose buffer is `size` bytes from `start` on: writable, kept alive by
/// `owner`. Null: an exception is set.
[[nodiscard]] Ref make_file_buffer(std::shared_ptr<std::byte> owner, std::byte* start,
                                   std::size_t size);

/// Adds the type to the module. False: an exception is set.
[[nodiscard]] bool add_file_buffer_type(PyObject* module);

}  // namespace cachier::python
