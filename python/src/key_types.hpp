#pragma once

/// How the walk tells types apart without importing anything.

#include "python.hpp"

#include <cachier/cbor.hpp>
#include <cachier/key.hpp>

#include <string>

namespace cachier::python {

/// Objects within each other. None adds more than five levels of CBOR, of which
/// `cbor::kMaxDepth` may be.
inline constexpr std::size_t kMaxNesting = 100;

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

/// What a class, a function or a module is called in a key.
struct Name {
  std::string text;  ///< `module.qualname`, `__main__` replaced as in function ids
  /// Whether the name tells it from everything else, in this process and the next: it
  /// leads to this very object, and its module has a file.
  bool leads_back = false;
};

/// The name of a class or a function. False: an exception is set.
[[nodiscard]] bool name_of(PyObject* object, Name& name);

/// The name of what a reduction gives as the text `called`; empty text: none leads to
/// it. False: an exception is set.
[[nodiscard]] bool name_of_reduced(PyObject* object, PyObject* called, Name& name);

/// The name of a module, with `leads_back` as above. False: an exception is set.
[[nodiscard]] bool name_of_module(PyObject* module, Name& name);

/// What `object` has in `__dict__`, borrowed from it; null without an exception: it has
/// none.
[[nodiscard]] Ref instance_dict(PyObject* object);

/// Attributes that may be missing: null without an exception then.
[[nodiscard]] Ref optional_attribute(PyObject* object, const char* name);

/// `sys.modules[name]`, or null without an exception.
[[nodiscard]] Ref imported(const char* name) noexcept;

}  // namespace cachier::python
