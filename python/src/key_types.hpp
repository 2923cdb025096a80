#pragma once

/// How the walk tells types apart without importing anything.

#include "python.hpp"

#include <cachier/cbor.hpp>
#include <cachier/key.hpp>

#include <string>

namespace cachier::python {

void write_tag(cbor::Writer& writer, Tag tag);
[[nodiscard]] std::string too_large();

/// Types of the standard library that have a tag of their own.
enum class StdlibType : std::uint8_t {
  datetime,
  date,
  time,
  timedelta,
  timezone,
  zone_info,
  decimal,
  fraction,
  uuid,
  posix_path,
  windows_path,
  pure_posix_path,
  pure_windows_path,
  ordered_dict,
  partial,
  enum_,
  flag,
  count_
};

/// The type, borrowed, or null while no module that has it has been imported: then no
/// object can be of it.
[[nodiscard]] PyObject* stdlib_type(StdlibType which) noexcept;

/// Which of them `type` is exactly, or `count_`.
[[nodiscard]] StdlibType stdlib_type_of(PyTypeObject* type) noexcept;

/// Of `int float complex str bytes bytearray list tuple set frozenset`, the one that
/// `type` is a subclass of, or null.
[[nodiscard]] PyTypeObject* builtin_base(PyTypeObject* type) noexcept;

/// Whether it is an instance of a named tuple that has nothing beside its fields. False
/// as result: an exception is set.
[[nodiscard]] bool is_plain_named_tuple(PyObject* object, bool& answer);

/// `module.qualname`; with `__main__` as it is. Empty: an exception is set.
[[nodiscard]] std::string qualified_name(PyObject* object);

/// Whether `module.qualname` leads to `object` itself. False as result: an exception is
/// set.
[[nodiscard]] bool leads_back(PyObject* object, bool& answer);

/// `sys.modules[name]`, or null without an exception.
[[nodiscard]] Ref imported(const char* name) noexcept;

/// Whether code of `__main__` has no file: a notebook, the REPL, `-c`.
[[nodiscard]] bool main_has_no_file() noexcept;

}  // namespace cachier::python
