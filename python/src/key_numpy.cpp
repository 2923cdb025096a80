/// NumPy's dtypes, scalars and arrays. NumPy is never imported: where there is one of
/// its objects, it has been.

#include <algorithm>
#include <span>

#include "key_types.hpp"
#include "key_walk.hpp"

namespace cachier::python {
namespace {

/// The numbers of its own element types are below this one.
constexpr long kTypesOfNumPy = 24;

/// Types of NumPy, owned for ever once found.
struct NumPy {
  PyObject* module = nullptr;
  PyObject* ndarray = nullptr;
  PyObject* generic = nullptr;
  PyObject* dtype = nullptr;
};

const NumPy* numpy() noexcept {
  static NumPy found;
  if (found.dtype != nullptr) return &found;
  Ref module = imported("numpy");
  if (!module) return nullptr;
  found.ndarray = PyObject_GetAttrString(module.get(), "ndarray");
  found.generic = PyObject_GetAttrString(module.get(), "generic");
  found.dtype = PyObject_GetAttrString(module.get(), "dtype");
  if (PyErr_Occurred() != nullptr) {
    PyErr_Clear();
    found = {};
    return nullptr;
  }
  found.module = module.release();
  return &found;
}

Ref attribute(PyObject* object, const char* name) {
  return Ref::steal(PyObject_GetAttrString(object, name));
}

/// The same dtype without gaps between its fields. Null: an exception is set.
Ref packed(PyObject* dtype) {
  const Ref names = attribute(dtype, "names");
  if (!names) return {};
  if (names.get() == Py_None) return Ref::borrow(dtype);
  const Ref fields = attribute(dtype, "fields");
  Ref parts = fields ? Ref::steal(PyList_New(0)) : Ref();
  if (!parts) return {};
  for (Py_ssize_t at = 0; at < PyTuple_GET_SIZE(names.get()); ++at) {
    PyObject* const name = PyTuple_GET_ITEM(names.get(), at);
    const Ref field = Ref::steal(PyObject_GetItem(fields.get(), name));
    const Ref type = field ? Ref::steal(PySequence_GetItem(field.get(), 0)) : Ref();
    const Ref base = type ? attribute(type.get(), "base") : Ref();
    const Ref shape = base ? attribute(type.get(), "shape") : Ref();
    const Ref inner = shape ? packed(base.get()) : Ref();
    const Ref part =
        inner ? Ref::steal(PyTuple_Pack(3, name, inner.get(), shape.get())) : Ref();
    if (!part || PyList_Append(parts.get(), part.get()) < 0) return {};
  }
  return Ref::steal(PyObject_CallOneArg(numpy()->dtype, parts.get()));
}

bool truth(PyObject* object, const char* name, bool& answer) {
  const Ref value = attribute(object, name);
  const int is_true = value ? PyObject_IsTrue(value.get()) : -1;
  answer = is_true > 0;
  return is_true >= 0;
}

/// Long doubles of x86 have bytes that mean nothing.
void blank_padding(std::span<std::byte> bytes, std::size_t number) {
  constexpr std::size_t kMeaningful = 10;
  if (number != 16) return;
  for (std::size_t at = 0; at + number <= bytes.size(); at += number) {
    std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(at + kMeaningful),
                number - kMeaningful, std::byte{0});
  }
}

}  // namespace

bool KeyWalk::write_numpy(PyObject* object, bool& known) {
  known = false;
  const NumPy* const np = numpy();
  if (np == nullptr) return true;
  PyTypeObject* const type = Py_TYPE(object);
  if (type == reinterpret_cast<PyTypeObject*>(np->ndarray)) {
    known = true;
    const Ref dtype = attribute(object, "dtype");
    if (!dtype) return false;
    write_tag(writer_, Tag::numpy_array);
    writer_.array(3);
    return write_array(object, dtype.get(), true);
  }
  if (PyType_IsSubtype(type, reinterpret_cast<PyTypeObject*>(np->generic)) != 0) {
    const Ref array =
        Ref::steal(PyObject_CallMethod(np->module, "asarray", "O", object));
    const Ref dtype = array ? attribute(array.get(), "dtype") : Ref();
    const Ref exact = dtype ? attribute(dtype.get(), "type") : Ref();
    if (!exact) return false;
    // A subclass of a scalar type has a type, and maybe attributes, that are not here.
    known = exact.get() == reinterpret_cast<PyObject*>(type);
    if (!known) return true;
    write_tag(writer_, Tag::numpy_scalar);
    writer_.array(2);
    return write_array(array.get(), dtype.get(), false);
  }
  if (PyType_IsSubtype(type, reinterpret_cast<PyTypeObject*>(np->dtype)) != 0) {
    known = true;
    write_tag(writer_, Tag::numpy_dtype);
    return write_dtype(object, true);
  }
  return true;
}

/// *dtype* of the page. `as_it_is`: the dtype itself is the argument, so the order of
/// its bytes and the places of its fields count.
bool KeyWalk::write_dtype(PyObject* dtype, bool as_it_is) {
  const Ref metadata = attribute(dtype, "metadata");
  if (!metadata) return false;
  const Ref shape = attribute(dtype, "shape");
  const Ref names = attribute(dtype, "names");
  if (!shape || !names) return false;
  const bool has_metadata =
      PyMapping_Check(metadata.get()) != 0 && PyMapping_Size(metadata.get()) > 0;
  const bool has_shape = PyTuple_GET_SIZE(shape.get()) > 0;
  const bool has_places = as_it_is && names.get() != Py_None;
  if (!has_metadata && !has_shape && !has_places) {
    return write_plain_dtype(dtype, as_it_is);
  }
  writer_.array(4);
  if (has_metadata) {
    const Ref copy = Ref::steal(PyDict_New());
    if (!copy || PyDict_Update(copy.get(), metadata.get()) < 0 || !write(copy.get())) {
      return false;
    }
  } else {
    writer_.null();
  }
  if (!write_tuple(shape.get())) return false;
  if (has_places) {
    const Ref size = attribute(dtype, "itemsize");
    const Ref fields = attribute(dtype, "fields");
    if (!size || !fields) return false;
    const Py_ssize_t count = PyTuple_GET_SIZE(names.get());
    writer_.array(static_cast<std::uint64_t>(count) + 1);
    if (!write(size.get())) return false;
    for (Py_ssize_t at = 0; at < count; ++at) {
      const Ref field =
          Ref::steal(PyObject_GetItem(fields.get(), PyTuple_GET_ITEM(names.get(), at)));
      // Its place, and its title if it has one.
      const Ref rest =
          field ? Ref::steal(PySequence_GetSlice(field.get(), 1, 3)) : Ref();
      if (!rest || !write(rest.get())) return false;
    }
  } else {
    writer_.null();
  }
  const Ref base = attribute(dtype, "base");
  if (!base) return false;
  return has_shape ? write_dtype(base.get(), as_it_is)
                   : write_plain_dtype(dtype, as_it_is);
}

bool KeyWalk::write_plain_dtype(PyObject* dtype, bool as_it_is) {
  const Ref names = attribute(dtype, "names");
  if (!names) return false;
  if (names.get() == Py_None) {
    const Ref number = attribute(dtype, "num");
    const long kind = number ? PyLong_AsLong(number.get()) : -1;
    if (PyErr_Occurred()) return false;
    const bool of_numpy = kind >= 0 && kind < kTypesOfNumPy;
    const Ref own = as_it_is || !of_numpy ? Ref::borrow(dtype) : packed(dtype);
    const Ref text = own ? attribute(own.get(), "str") : Ref();
    if (!text || of_numpy) return text && write(text.get());
    // Others may share their text.
    const Ref type = attribute(dtype, "type");
    const Ref reduced =
        type ? Ref::steal(PyObject_CallMethod(dtype, "__reduce__", nullptr)) : Ref();
    const Ref rest =
        reduced ? Ref::steal(PySequence_GetSlice(reduced.get(), 1, 3)) : Ref();
    if (!rest) return false;
    writer_.array(3);
    return write(text.get()) && write(type.get()) && write(rest.get());
  }
  const Ref fields = attribute(dtype, "fields");
  if (!fields) return false;
  const Py_ssize_t size = PyTuple_GET_SIZE(names.get());
  writer_.array(static_cast<std::uint64_t>(size));
  for (Py_ssize_t at = 0; at < size; ++at) {
    PyObject* const name = PyTuple_GET_ITEM(names.get(), at);
    const Ref field = Ref::steal(PyObject_GetItem(fields.get(), name));
    const Ref type = field ? Ref::steal(PySequence_GetItem(field.get(), 0)) : Ref();
    const Ref base = type ? attribute(type.get(), "base") : Ref();
    const Ref shape = base ? attribute(type.get(), "shape") : Ref();
    if (!shape) return false;
    writer_.array(3);
    if (!write(name) || !write_dtype(base.get(), as_it_is) ||
        !write_tuple(shape.get())) {
      return false;
    }
  }
  return true;
}

/// The parts of the item: dtype, shape if asked for, and the content.
bool KeyWalk::write_array(PyObject* array, PyObject* dtype, bool with_shape) {
  if (!write_dtype(dtype, false)) return false;
  if (with_shape) {
    const Ref shape = attribute(array, "shape");
    if (!shape || !write_tuple(shape.get())) return false;
  }
  bool objects = false;
  if (!truth(dtype, "hasobject", objects)) return false;
  if (objects) {
    const Ref flat = Ref::steal(PyObject_CallMethod(array, "reshape", "i", -1));
    const Ref items =
        flat ? Ref::steal(PyObject_CallMethod(flat.get(), "tolist", nullptr)) : Ref();
    return items && write_list(items.get());
  }
  const Ref size = attribute(array, "nbytes");
  if (!size) return false;
  const std::size_t bytes = PyLong_AsSize_t(size.get());
  if (PyErr_Occurred()) return false;
  if (bytes > kMaxKeySize) return fail(too_large());

  const Ref order = packed(dtype);
  const int same = order ? PyObject_RichCompareBool(order.get(), dtype, Py_EQ) : -1;
  if (same < 0) return false;
  const Ref plain =
      same != 0 ? Ref::borrow(array)
                : Ref::steal(PyObject_CallMethod(array, "astype", "O", order.get()));
  if (!plain) return false;

  const Ref character = attribute(dtype, "char");
  if (!character) return false;
  const std::string_view code = utf8_of(character.get());
  const bool padded = code == "g" || code == "G";
  Py_buffer view;
  if (!padded && PyObject_GetBuffer(plain.get(), &view, PyBUF_SIMPLE) == 0) {
    writer_.bytes(
        {static_cast<const std::byte*>(view.buf), static_cast<std::size_t>(view.len)});
    PyBuffer_Release(&view);
    return true;
  }
  // Not contiguous, or of a type that has no buffer: dates, for one.
  PyErr_Clear();
  const Ref copy = Ref::steal(PyObject_CallMethod(plain.get(), "tobytes", nullptr));
  if (!copy) return false;
  const auto length = static_cast<std::size_t>(PyBytes_GET_SIZE(copy.get()));
  const std::span content(PyBytes_AS_STRING(copy.get()), length);
  if (padded) blank_padding(std::as_writable_bytes(content), sizeof(long double));
  writer_.bytes(std::as_bytes(content));
  return true;
}

}  // namespace cachier::python
