#pragma once

/// Python objects as items of a key (`docs/formats/key.md`).

#include "python.hpp"

#include <cachier/cbor.hpp>
#include <cachier/key.hpp>

#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace cachier::python {

/// Writes what most arguments are: exact `None`, `bool`, small `int`, `float`, ASCII
/// `str`, `bytes`. False: it is something else, and nothing was written.
[[nodiscard]] inline bool write_simple(cbor::Writer& writer, PyObject* object) {
  PyTypeObject* const type = Py_TYPE(object);
  if (type == &PyLong_Type) {
#if PY_VERSION_HEX >= 0x030c0000
    const auto* const number = reinterpret_cast<PyLongObject*>(object);
    if (!PyUnstable_Long_IsCompact(number)) return false;
    writer.integer(PyUnstable_Long_CompactValue(number));
#else
    const auto* const number = reinterpret_cast<PyLongObject*>(object);
    const Py_ssize_t size = Py_SIZE(number);
    if (size < -1 || size > 1) return false;
    writer.integer(static_cast<std::int64_t>(size) *
                   static_cast<std::int64_t>(number->ob_digit[0]));
#endif
    return true;
  }
  if (type == &PyUnicode_Type) {
    if (!PyUnicode_IS_COMPACT_ASCII(object)) return false;
    writer.text({static_cast<const char*>(PyUnicode_DATA(object)),
                 static_cast<std::size_t>(PyUnicode_GET_LENGTH(object))});
    return true;
  }
  if (type == &PyFloat_Type) {
    writer.real(PyFloat_AS_DOUBLE(object));
    return true;
  }
  if (object == Py_None) {
    writer.null();
    return true;
  }
  if (type == &PyBool_Type) {
    writer.boolean(object == Py_True);
    return true;
  }
  if (type == &PyBytes_Type) {
    writer.bytes(as_bytes({PyBytes_AS_STRING(object),
                           static_cast<std::size_t>(PyBytes_GET_SIZE(object))}));
    return true;
  }
  return false;
}

/// An `int` of any size, or a `str` of any content. False: an exception is set.
[[nodiscard]] bool write_int(cbor::Writer& writer, PyObject* object);
[[nodiscard]] bool write_str(cbor::Writer& writer, PyObject* object);

/// Writes the items of one key. What it is given may run code of the user's
/// (`__cachier_key__`, `__reduce_ex__`).
class KeyWalk {
 public:
  /// Nothing else may write to `writer` meanwhile.
  explicit KeyWalk(cbor::Writer& writer) noexcept : writer_(writer) {}

  /// A walk within `outer`, for bytes that go into the key as their hash.
  KeyWalk(cbor::Writer& writer, const KeyWalk& outer);

  KeyWalk(const KeyWalk&) = delete;
  KeyWalk& operator=(const KeyWalk&) = delete;
  ~KeyWalk() {
    if (classes_ != nullptr) [[unlikely]] {
      forget_classes();
    }
  }

  /// One object as one item. False: it cannot be, `reason()` says why; or, where that
  /// is empty, an exception is set.
  [[nodiscard]] bool write(PyObject* object);

  [[nodiscard]] const std::string& reason() const noexcept { return reason_; }

  /// Whether it is one of the values of a closure that tell functions apart: `None`,
  /// `bool`, `int`, `float`, `complex`, `str`, `bytes`, tuples and frozensets of such.
  [[nodiscard]] bool is_plain_immutable(PyObject* object) const;

  /// The *code* of a function's code object: 16 bytes. False as `write`.
  [[nodiscard]] bool digest_code(PyObject* code, std::array<std::byte, 16>& digest);

 private:
  class Within;
  class Describing;
  struct Reduction;

  struct Classes;

  /// What is known of classes; made when the first one comes.
  Classes& classes();
  void forget_classes() noexcept;
  /// How many objects are open in the walks around this one.
  [[nodiscard]] std::size_t depth_around() const noexcept;

  bool fail(std::string reason);
  bool write_general(PyObject* object);
  bool write_container(PyObject* object);
  bool write_known(PyObject* object, bool& known);
  bool write_attributes(PyObject* object, const std::vector<const char*>& names);
  bool write_as_text(PyObject* object);

  bool write_list(PyObject* list);
  bool write_tuple(PyObject* tuple);
  bool write_items(PyObject* tuple, Py_ssize_t from);
  bool write_dict(PyObject* dict);
  bool write_set(PyObject* set);
  bool write_pairs(PyObject* iterable);
  bool write_named_tuple(PyObject* object);

  bool write_datetime(PyObject* object);
  bool write_time(PyObject* object);
  bool write_zone_and_fold(PyObject* object, PyObject* zone, bool fold);
  bool write_timezone(PyObject* object);
  bool write_path(PyObject* object);
  bool write_partial(PyObject* object);

  bool write_type(PyTypeObject* type);
  bool write_class(PyObject* object);
  bool write_reference(PyObject* object, bool& written);
  bool digest_class(PyTypeObject* type, std::array<std::byte, 16>& digest);
  bool write_what_makes(PyTypeObject* type);
  bool write_class_attribute(PyObject* value);
  bool write_function(PyObject* object);
  bool write_builtin(PyObject* object, bool& known);
  bool write_method(PyObject* object);
  bool write_module(PyObject* object);
  bool write_cached_function(PyObject* object);
  bool write_code(PyObject* code);
  bool write_cells(PyObject* closure);
  bool write_enum(PyObject* object);
  bool write_flag_names(PyObject* object);
  bool write_dataclass(PyObject* object, PyObject* fields, bool& complete);
  bool write_subclass(PyObject* object, PyTypeObject* base);
  bool write_own_key(PyObject* object, PyObject* method);

  bool reduce(PyObject* object, Reduction& reduction);
  bool add_what_is_left_out(PyObject* object, Reduction& reduction);
  bool write_reduced(PyObject* object);
  bool write_reduction(PyObject* object, const Reduction& reduction);
  bool write_named(PyObject* object, PyObject* called);
  bool write_arguments(PyObject* object, const Reduction& reduction);
  bool write_memoryview(PyObject* object);

  bool write_numpy(PyObject* object, bool& known);
  bool write_dtype(PyObject* dtype, bool as_it_is);
  bool write_plain_dtype(PyObject* dtype, bool as_it_is);
  bool write_array(PyObject* array, PyObject* dtype, bool with_shape);

  cbor::Writer& writer_;
  std::vector<PyObject*>
      open_;  ///< the objects that are being written, outermost first
  Classes* classes_ = nullptr;
  std::string reason_;
};

}  // namespace cachier::python
