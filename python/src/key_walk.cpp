/// The walk itself, and the builtin types.

#include "key_walk.hpp"

#include <algorithm>

#include "key_types.hpp"

namespace cachier::python {
namespace {

Ref utf8_with_surrogates(PyObject* text) {
  return Ref::steal(PyUnicode_AsEncodedString(text, "utf-8", "surrogatepass"));
}

Bytes bytes_of(PyObject* bytes) noexcept {
  return as_bytes(
      {PyBytes_AS_STRING(bytes), static_cast<std::size_t>(PyBytes_GET_SIZE(bytes))});
}

}  // namespace

void write_tag(cbor::Writer& writer, Tag tag) {
  writer.tag(static_cast<std::uint64_t>(tag));
}

bool write_int(cbor::Writer& writer, PyObject* object) {
  int overflow = 0;
  const long long small = PyLong_AsLongLongAndOverflow(object, &overflow);
  if (overflow == 0) {
    writer.integer(small);
    return true;
  }
  // Of a negative number n, CBOR has -1 - n.
  const Ref magnitude =
      overflow > 0 ? Ref::borrow(object) : Ref::steal(PyNumber_Invert(object));
  if (!magnitude) return false;
  const unsigned long long wide = PyLong_AsUnsignedLongLong(magnitude.get());
  if (!PyErr_Occurred()) {
    overflow > 0 ? writer.unsigned_int(wide) : writer.negative(wide);
    return true;
  }
  if (!PyErr_ExceptionMatches(PyExc_OverflowError)) return false;
  PyErr_Clear();
  const Ref bits =
      Ref::steal(PyObject_CallMethod(magnitude.get(), "bit_length", nullptr));
  if (!bits) return false;
  const std::size_t count = (PyLong_AsSize_t(bits.get()) + 7) / 8;
  if (PyErr_Occurred()) return false;
  const Ref bytes = Ref::steal(PyObject_CallMethod(
      magnitude.get(), "to_bytes", "ns", static_cast<Py_ssize_t>(count), "big"));
  if (!bytes) return false;
  write_tag(writer, overflow > 0 ? Tag::positive_bignum : Tag::negative_bignum);
  writer.bytes(bytes_of(bytes.get()));
  return true;
}

bool write_str(cbor::Writer& writer, PyObject* object) {
  if (PyUnicode_IS_COMPACT_ASCII(object)) {
    writer.text({static_cast<const char*>(PyUnicode_DATA(object)),
                 static_cast<std::size_t>(PyUnicode_GET_LENGTH(object))});
    return true;
  }
  // Not `PyUnicode_AsUTF8`: that would keep the bytes with the user's object.
  Ref bytes = Ref::steal(PyUnicode_AsUTF8String(object));
  if (bytes) {
    writer.text(as_text(bytes_of(bytes.get())));
    return true;
  }
  if (!PyErr_ExceptionMatches(PyExc_UnicodeEncodeError)) return false;
  PyErr_Clear();
  bytes = utf8_with_surrogates(object);
  if (!bytes) return false;
  write_tag(writer, Tag::other_text);
  writer.bytes(bytes_of(bytes.get()));
  return true;
}

/// The walk is within one object. Converts to false where it may not go in.
class KeyWalk::Within {
 public:
  Within(KeyWalk& walk, PyObject* object) : walk_(walk) {
    const auto& open = walk.open_;
    if (std::find(open.begin(), open.end(), object) != open.end()) {
      ok_ = walk.fail("it contains itself");
    } else if (walk.depth_around() + open.size() >= kMaxNesting) {
      ok_ = walk.fail("it nests more than " + std::to_string(kMaxNesting) +
                      " objects within each other");
    } else if (walk.writer_.size() > kMaxKeySize) {
      ok_ = walk.fail(too_large());
    }
    walk_.open_.push_back(object);
  }
  Within(const Within&) = delete;
  Within& operator=(const Within&) = delete;
  ~Within() { walk_.open_.pop_back(); }

  explicit operator bool() const noexcept { return ok_; }

 private:
  KeyWalk& walk_;
  bool ok_ = true;
};

std::string too_large() {
  return "it is larger than " + std::to_string(kMaxKeySize >> 20U) + " MiB";
}

bool KeyWalk::fail(std::string reason) {
  reason_ = std::move(reason);
  return false;
}

bool KeyWalk::write(PyObject* object) {
  if (write_simple(writer_, object)) return true;
  PyTypeObject* const type = Py_TYPE(object);
  if (type == &PyLong_Type) return write_int(writer_, object);
  if (type == &PyUnicode_Type) return write_str(writer_, object);
  if (classes_ != nullptr) {
    bool written = false;
    if (!write_reference(object, written)) return false;
    if (written) return true;
  }
  const Within within(*this, object);
  return within && write_container(object);
}

bool KeyWalk::write_container(PyObject* object) {
  PyTypeObject* const type = Py_TYPE(object);
  if (type == &PyList_Type) return write_list(object);
  if (type == &PyTuple_Type) {
    write_tag(writer_, Tag::tuple);
    return write_tuple(object);
  }
  if (type == &PyDict_Type) return write_dict(object);
  if (type == &PySet_Type || type == &PyFrozenSet_Type) {
    write_tag(writer_, type == &PySet_Type ? Tag::set : Tag::frozenset);
    return write_set(object);
  }
  if (type == &PyByteArray_Type) {
    write_tag(writer_, Tag::bytearray);
    writer_.bytes(as_bytes({PyByteArray_AS_STRING(object),
                            static_cast<std::size_t>(PyByteArray_GET_SIZE(object))}));
    return true;
  }
  if (type == &PyComplex_Type) {
    write_tag(writer_, Tag::complex);
    writer_.array(2);
    writer_.real(PyComplex_RealAsDouble(object));
    writer_.real(PyComplex_ImagAsDouble(object));
    return true;
  }
  if (type == &PyRange_Type || type == &PySlice_Type) {
    write_tag(writer_, type == &PyRange_Type ? Tag::range : Tag::slice);
    return write_attributes(object, {"start", "stop", "step"});
  }
  return write_general(object);
}

bool KeyWalk::write_attributes(PyObject* object,
                               const std::vector<const char*>& names) {
  writer_.array(names.size());
  for (const char* const name : names) {
    const Ref part = Ref::steal(PyObject_GetAttrString(object, name));
    if (!part || !write(part.get())) return false;
  }
  return true;
}

bool KeyWalk::write_as_text(PyObject* object) {
  const Ref text = Ref::steal(PyObject_Str(object));
  return text && write_str(writer_, text.get());
}

bool KeyWalk::write_list(PyObject* list) {
  const Py_ssize_t size = PyList_GET_SIZE(list);
  writer_.array(static_cast<std::uint64_t>(size));
  for (Py_ssize_t at = 0; at < size; ++at) {
    if (PyList_GET_SIZE(list) != size) return fail("it changes while it is read");
    PyObject* const item = PyList_GET_ITEM(list, at);
    if (write_simple(writer_, item)) continue;
    const Ref kept = Ref::borrow(item);
    if (!write(item)) return false;
  }
  return true;
}

bool KeyWalk::write_tuple(PyObject* tuple) { return write_items(tuple, 0); }

bool KeyWalk::write_items(PyObject* tuple, Py_ssize_t from) {
  const Py_ssize_t size = PyTuple_GET_SIZE(tuple);
  writer_.array(static_cast<std::uint64_t>(size - from));
  for (Py_ssize_t at = from; at < size; ++at) {
    if (!write(PyTuple_GET_ITEM(tuple, at))) return false;
  }
  return true;
}

bool KeyWalk::write_dict(PyObject* dict) {
  const Py_ssize_t size = PyDict_GET_SIZE(dict);
  writer_.map(static_cast<std::uint64_t>(size));
  cbor::Sorter sorter(writer_);
  Py_ssize_t position = 0;
  Py_ssize_t written = 0;
  PyObject *key = nullptr, *value = nullptr;
  while (PyDict_Next(dict, &position, &key, &value) != 0) {
    const Ref kept_key = Ref::borrow(key);
    const Ref kept_value = Ref::borrow(value);
    sorter.item();
    if (!write(key) || !write(value)) return false;
    if (++written > size || PyDict_GET_SIZE(dict) != size) {
      return fail("it changes while it is read");
    }
  }
  if (written != size) return fail("it changes while it is read");
  sorter.finish();
  return true;
}

bool KeyWalk::write_set(PyObject* set) {
  writer_.array(static_cast<std::uint64_t>(PySet_GET_SIZE(set)));
  const Ref items = Ref::steal(PyObject_GetIter(set));
  if (!items) return false;
  cbor::Sorter sorter(writer_);
  // A set that changes meanwhile ends this with an exception.
  while (const Ref item = Ref::steal(PyIter_Next(items.get()))) {
    sorter.item();
    if (!write(item.get())) return false;
  }
  if (PyErr_Occurred()) return false;
  sorter.finish();
  return true;
}

bool KeyWalk::write_pairs(PyObject* iterable) {
  const Ref pairs = Ref::steal(PySequence_List(iterable));
  if (!pairs) return false;
  const Py_ssize_t size = PyList_GET_SIZE(pairs.get());
  write_tag(writer_, Tag::pairs);
  writer_.array(2 * static_cast<std::uint64_t>(size));
  for (Py_ssize_t at = 0; at < size; ++at) {
    PyObject* const pair = PyList_GET_ITEM(pairs.get(), at);
    if (!PyTuple_Check(pair) || PyTuple_GET_SIZE(pair) != 2) {
      return fail("its items do not come as pairs");
    }
    if (!write(PyTuple_GET_ITEM(pair, 0)) || !write(PyTuple_GET_ITEM(pair, 1))) {
      return false;
    }
  }
  return true;
}

bool KeyWalk::write_named_tuple(PyObject* object) {
  PyTypeObject* const type = Py_TYPE(object);
  const Ref names =
      Ref::steal(PyObject_GetAttrString(reinterpret_cast<PyObject*>(type), "_fields"));
  if (!names) return false;
  const Py_ssize_t size = PyTuple_GET_SIZE(object);
  if (!PyTuple_CheckExact(names.get()) || PyTuple_GET_SIZE(names.get()) != size) {
    return fail("it changes while it is read");
  }
  write_tag(writer_, Tag::named_tuple);
  writer_.array(2);
  if (!write_type(type)) return false;
  writer_.map(static_cast<std::uint64_t>(size));
  cbor::Sorter sorter(writer_);
  for (Py_ssize_t at = 0; at < size; ++at) {
    sorter.item();
    // Not by the name: a subclass may have given it another meaning.
    if (!write(PyTuple_GET_ITEM(names.get(), at)) ||
        !write(PyTuple_GET_ITEM(object, at))) {
      return false;
    }
  }
  sorter.finish();
  return true;
}

bool KeyWalk::write_general(PyObject* object) {
  PyTypeObject* const type = Py_TYPE(object);
  if (PyType_Check(object)) return write_class(object);
  const Ref own = Ref::steal(
      PyObject_GetAttrString(reinterpret_cast<PyObject*>(type), "__cachier_key__"));
  if (own) return write_own_key(object, own.get());
  if (!PyErr_ExceptionMatches(PyExc_AttributeError)) return false;
  PyErr_Clear();

  bool known = true;
  if (!write_known(object, known)) return false;
  if (known) return true;
  if (!write_numpy(object, known)) return false;
  if (known) return true;

  PyObject* const enum_type = stdlib_type(StdlibType::enum_);
  if (enum_type != nullptr &&
      PyType_IsSubtype(type, reinterpret_cast<PyTypeObject*>(enum_type)) != 0) {
    return write_enum(object);
  }
  PyTypeObject* const base = builtin_base(type);
  if (base == nullptr) {
    // Of the class itself: what a plain subclass adds is not among its fields.
    const Ref attributes = type_dict(type);
    PyObject* const fields =
        attributes ? PyDict_GetItemString(attributes.get(), "__dataclass_fields__")
                   : nullptr;
    if (fields != nullptr && PyDict_Check(fields)) {
      bool complete = false;
      if (!write_dataclass(object, fields, complete)) return false;
      if (complete) return true;
    }
    return write_reduced(object);
  }
  bool named_tuple = false;
  if (!is_plain_named_tuple(object, named_tuple)) return false;
  return named_tuple ? write_named_tuple(object) : write_subclass(object, base);
}

}  // namespace cachier::python
