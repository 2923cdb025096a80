/// Classes, functions, and objects that are written by their parts.

#include <algorithm>

#include "key_types.hpp"
#include "key_walk.hpp"

namespace cachier::python {
namespace {

using CodeDigest = std::array<std::byte, 16>;

CodeDigest first_half_of_hash(Bytes bytes) noexcept {
  const KeptKey hash(bytes, true);
  CodeDigest half;
  std::copy_n(hash.bytes().begin(), half.size(), half.begin());
  return half;
}

/// Attributes that may be missing: null without an exception then.
Ref optional_attribute(PyObject* object, const char* name) {
  Ref value = Ref::steal(PyObject_GetAttrString(object, name));
  if (!value && PyErr_ExceptionMatches(PyExc_AttributeError)) PyErr_Clear();
  return value;
}

/// The function that an attribute of a class is, or is made of; null: none.
Ref function_in(PyObject* attribute) {
  if (PyFunction_Check(attribute)) return Ref::borrow(attribute);
  for (const char* const name : {"__func__", "fget", "__wrapped__"}) {
    Ref inner = optional_attribute(attribute, name);
    if (inner && PyFunction_Check(inner.get())) return inner;
    if (PyErr_Occurred()) return {};
  }
  return {};
}

bool is_empty(PyObject* state) noexcept {
  return state == nullptr || state == Py_None ||
         (PyDict_CheckExact(state) && PyDict_GET_SIZE(state) == 0);
}

}  // namespace

bool KeyWalk::write_type_name(PyTypeObject* type) {
  const std::string name = qualified_name(reinterpret_cast<PyObject*>(type));
  if (name.empty()) return false;
  writer_.text(name);
  return true;
}

bool KeyWalk::write_class(PyObject* object) {
  auto* const type = reinterpret_cast<PyTypeObject*>(object);
  const std::string name = qualified_name(object);
  if (name.empty()) return false;
  write_tag(writer_, Tag::class_);
  const bool nameless = name.find("<locals>") != std::string::npos ||
                        (name.starts_with("__main__.") && main_has_no_file());
  if (!nameless) {
    writer_.text(name);
    return true;
  }
  cbor::Writer bodies;
  KeyWalk walk(bodies);
  std::vector<std::pair<Ref, Ref>> functions;
  Py_ssize_t position = 0;
  PyObject *key = nullptr, *value = nullptr;
  const Ref own = type_dict(type);
  const Ref attributes = own ? Ref::steal(PyDict_Copy(own.get())) : Ref();
  if (!attributes) return false;
  while (PyDict_Next(attributes.get(), &position, &key, &value) != 0) {
    Ref function = function_in(value);
    if (PyErr_Occurred()) return false;
    if (!function || !PyUnicode_Check(key)) continue;
    functions.emplace_back(Ref::borrow(key), std::move(function));
  }
  bodies.array(functions.size());
  cbor::Sorter sorter(bodies);
  for (const auto& [called, function] : functions) {
    CodeDigest digest;
    if (!walk.digest_code(PyFunction_GET_CODE(function.get()), digest)) {
      return fail(walk.reason());
    }
    sorter.item();
    bodies.array(2);
    if (!write_str(bodies, called.get())) return false;
    bodies.bytes(digest);
  }
  sorter.finish();
  writer_.array(2);
  writer_.text(name);
  writer_.bytes(first_half_of_hash(bodies.view()));
  return true;
}

bool KeyWalk::write_function(PyObject* object) {
  const std::string name = qualified_name(object);
  bool named = false;
  if (name.empty() || !leads_back(object, named)) return false;
  write_tag(writer_, Tag::function);
  if (named && !(name.starts_with("__main__.") && main_has_no_file())) {
    writer_.text(name);
    return true;
  }
  PyObject* const closure = PyFunction_GET_CLOSURE(object);
  PyObject* const defaults = PyFunction_GET_DEFAULTS(object);
  PyObject* const by_keyword = PyFunction_GET_KW_DEFAULTS(object);
  std::size_t parts = 2;
  if (closure != nullptr && PyTuple_GET_SIZE(closure) > 0) parts = 3;
  if (defaults != nullptr && PyTuple_GET_SIZE(defaults) > 0) parts = 4;
  if (by_keyword != nullptr && PyDict_GET_SIZE(by_keyword) > 0) parts = 5;
  writer_.array(parts);
  writer_.text(name);
  if (!write_code(PyFunction_GET_CODE(object))) return false;
  if (parts >= 3 && !write_cells(closure)) return false;
  if (parts >= 4) {
    if (defaults == nullptr) {
      writer_.array(0);
    } else if (!write_tuple(defaults)) {
      return false;
    }
  }
  return parts < 5 || write_dict(by_keyword);
}

bool KeyWalk::write_builtin(PyObject* object, bool& named) {
  if (!leads_back(object, named) || !named) return !PyErr_Occurred();
  const std::string name = qualified_name(object);
  if (name.empty()) return false;
  write_tag(writer_, Tag::function);
  writer_.text(name);
  return true;
}

bool KeyWalk::write_code(PyObject* code) {
  CodeDigest digest;
  if (!digest_code(code, digest)) return false;
  writer_.bytes(digest);
  return true;
}

bool KeyWalk::write_cells(PyObject* closure) {
  const Py_ssize_t size = closure == nullptr ? 0 : PyTuple_GET_SIZE(closure);
  writer_.array(static_cast<std::uint64_t>(size));
  for (Py_ssize_t at = 0; at < size; ++at) {
    const Ref value = Ref::steal(PyCell_Get(PyTuple_GET_ITEM(closure, at)));
    if (!value) {
      writer_.simple(cbor::kUndefined);
    } else if (!write(value.get())) {
      return false;
    }
  }
  return true;
}

bool KeyWalk::is_plain_immutable(PyObject* object) const {
  PyTypeObject* const type = Py_TYPE(object);
  if (object == Py_None || type == &PyBool_Type || type == &PyLong_Type ||
      type == &PyFloat_Type || type == &PyComplex_Type || type == &PyUnicode_Type ||
      type == &PyBytes_Type) {
    return true;
  }
  if (type != &PyTuple_Type && type != &PyFrozenSet_Type) return false;
  // No cycles: these were complete when the next one was made of them.
  const Ref items = Ref::steal(PySequence_Tuple(object));
  if (!items) {
    PyErr_Clear();
    return false;
  }
  for (Py_ssize_t at = 0; at < PyTuple_GET_SIZE(items.get()); ++at) {
    if (!is_plain_immutable(PyTuple_GET_ITEM(items.get(), at))) return false;
  }
  return true;
}

bool KeyWalk::digest_code(PyObject* code, std::array<std::byte, 16>& digest) {
  cbor::Writer parts;
  KeyWalk walk(parts);
  const auto attribute = [&](const char* name) {
    const Ref value = Ref::steal(PyObject_GetAttrString(code, name));
    if (!value) return false;
    if (PyTuple_CheckExact(value.get())) return walk.write_tuple(value.get());
    return walk.write(value.get());
  };
  parts.array(10);
  if (!attribute("co_code")) return false;
  const Ref constants = Ref::steal(PyObject_GetAttrString(code, "co_consts"));
  if (!constants) return false;
  const Py_ssize_t size = PyTuple_GET_SIZE(constants.get());
  parts.array(static_cast<std::uint64_t>(size));
  for (Py_ssize_t at = 0; at < size; ++at) {
    PyObject* const constant = PyTuple_GET_ITEM(constants.get(), at);
    const bool written =
        PyCode_Check(constant) ? walk.write_code(constant) : walk.write(constant);
    if (!written) return fail(walk.reason());
  }
  for (const char* const name :
       {"co_names", "co_varnames", "co_freevars", "co_cellvars", "co_argcount",
        "co_posonlyargcount", "co_kwonlyargcount", "co_flags"}) {
    if (!attribute(name)) return fail(walk.reason());
  }
  digest = first_half_of_hash(parts.view());
  return true;
}

bool KeyWalk::write_enum(PyObject* object) {
  const int is_flag = PyObject_IsInstance(object, stdlib_type(StdlibType::flag));
  if (is_flag < 0) return false;
  write_tag(writer_, Tag::enum_member);
  writer_.array(2);
  if (!write_type_name(Py_TYPE(object))) return false;
  const Ref part =
      Ref::steal(PyObject_GetAttrString(object, is_flag != 0 ? "_value_" : "_name_"));
  return part && write(part.get());
}

bool KeyWalk::write_dataclass(PyObject* object, PyObject* fields) {
  // `ClassVar` and `InitVar` are listed with the fields, told apart by a mark.
  const Ref names = Ref::steal(PyList_New(0));
  if (!names) return false;
  Py_ssize_t position = 0;
  PyObject *name = nullptr, *field = nullptr;
  while (PyDict_Next(fields, &position, &name, &field) != 0) {
    const Ref mark = Ref::steal(PyObject_GetAttrString(field, "_field_type"));
    const Ref kind =
        mark ? Ref::steal(PyObject_GetAttrString(mark.get(), "name")) : Ref();
    if (!kind) return false;
    if (!PyUnicode_Check(kind.get()) ||
        PyUnicode_CompareWithASCIIString(kind.get(), "_FIELD") != 0) {
      continue;
    }
    if (PyList_Append(names.get(), name) < 0) return false;
  }
  const Ref own = Ref::steal(PyList_AsTuple(names.get()));
  if (!own) return false;
  write_tag(writer_, Tag::dataclass);
  writer_.array(2);
  return write_type_name(Py_TYPE(object)) && write_mapping_by_name(own.get(), object);
}

bool KeyWalk::write_own_key(PyObject* object, PyObject*) {
  const Ref own = Ref::steal(PyObject_CallMethod(object, "__cachier_key__", nullptr));
  if (!own) return false;
  write_tag(writer_, Tag::own_key);
  writer_.array(2);
  return write_type_name(Py_TYPE(object)) && write(own.get());
}

/// What `__reduce_ex__` names. All owned by `whole`.
struct KeyWalk::Reduction {
  Ref whole;
  PyObject* callable = nullptr;
  PyObject* arguments = nullptr;
  PyObject* state = nullptr;
  PyObject* items = nullptr;
  PyObject* pairs = nullptr;

  [[nodiscard]] bool is_text() const noexcept { return callable == nullptr; }
};

bool KeyWalk::reduce(PyObject* object, Reduction& reduction) {
  const Ref copyreg = Ref::steal(PyImport_ImportModule("copyreg"));
  if (!copyreg) return false;
  const Ref table = Ref::steal(PyObject_GetAttrString(copyreg.get(), "dispatch_table"));
  if (!table) return false;
  // As pickle does: what is registered for the type comes first.
  PyObject* const reducer =
      PyDict_Check(table.get())
          ? PyDict_GetItemWithError(table.get(),
                                    reinterpret_cast<PyObject*>(Py_TYPE(object)))
          : nullptr;
  if (PyErr_Occurred()) return false;
  const Ref kept = Ref::borrow(reducer);
  reduction.whole = Ref::steal(
      reducer != nullptr ? PyObject_CallOneArg(reducer, object)
                         : PyObject_CallMethod(object, "__reduce_ex__", "i", 4));
  PyObject* const whole = reduction.whole.get();
  if (whole == nullptr) return false;
  if (PyUnicode_Check(whole)) return true;
  if (!PyTuple_Check(whole) || PyTuple_GET_SIZE(whole) < 2 ||
      !PyTuple_Check(PyTuple_GET_ITEM(whole, 1))) {
    return fail("its __reduce_ex__ gives neither a text nor a tuple");
  }
  const auto part = [whole](Py_ssize_t at) -> PyObject* {
    if (at >= PyTuple_GET_SIZE(whole)) return nullptr;
    PyObject* const value = PyTuple_GET_ITEM(whole, at);
    return value == Py_None ? nullptr : value;
  };
  reduction.callable = PyTuple_GET_ITEM(whole, 0);
  reduction.arguments = PyTuple_GET_ITEM(whole, 1);
  reduction.state = part(2);
  reduction.items = part(3);
  reduction.pairs = part(4);
  return true;
}

bool KeyWalk::write_subclass(PyObject* object, PyTypeObject* base) {
  Reduction reduction;
  if (!reduce(object, reduction)) return false;
  const bool has_state = !is_empty(reduction.state);
  write_tag(writer_, Tag::subclass);
  writer_.array(has_state ? 3 : 2);
  if (!write_type_name(Py_TYPE(object))) return false;
  // The plain part, by the base's own constructor, whatever the subclass overrides.
  Ref plain;
  if (base == &PyLong_Type) {
    // `int(x)` would ask the subclass.
    const Ref zero = Ref::steal(PyLong_FromLong(0));
    plain =
        zero ? Ref::steal(PyLong_Type.tp_as_number->nb_add(object, zero.get())) : Ref();
  } else if (base == &PyFloat_Type) {
    plain = Ref::steal(PyFloat_FromDouble(PyFloat_AS_DOUBLE(object)));
  } else if (base == &PyComplex_Type) {
    plain = Ref::steal(
        PyComplex_FromCComplex(reinterpret_cast<PyComplexObject*>(object)->cval));
  } else if (base == &PyUnicode_Type) {
    plain = Ref::steal(PyUnicode_FromObject(object));
  } else if (base == &PyBytes_Type) {
    plain = Ref::steal(
        PyBytes_FromStringAndSize(PyBytes_AS_STRING(object), PyBytes_GET_SIZE(object)));
  } else if (base == &PyByteArray_Type) {
    plain = Ref::steal(PyByteArray_FromStringAndSize(PyByteArray_AS_STRING(object),
                                                     PyByteArray_GET_SIZE(object)));
  } else if (base == &PyList_Type) {
    plain = Ref::steal(PyList_GetSlice(object, 0, PyList_GET_SIZE(object)));
  } else if (base == &PyTuple_Type) {
    write_tag(writer_, Tag::tuple);
    if (!write_tuple(object)) return false;
  } else {
    plain =
        Ref::steal(base == &PySet_Type ? PySet_New(object) : PyFrozenSet_New(object));
  }
  if (base != &PyTuple_Type && (!plain || !write(plain.get()))) return false;
  return !has_state || write(reduction.state);
}

bool KeyWalk::write_reduced(PyObject* object) {
  if (Py_TYPE(object) == &PyBaseObject_Type) {
    return fail("a bare object() has nothing that tells it from another");
  }
  Reduction reduction;
  if (!reduce(object, reduction)) return false;
  write_tag(writer_, Tag::reduced);
  if (reduction.is_text()) {
    writer_.array(2);
    return write_type_name(Py_TYPE(object)) && write(reduction.whole.get());
  }
  std::size_t parts = 3;
  if (reduction.state != nullptr) parts = 4;
  if (reduction.items != nullptr) parts = 5;
  if (reduction.pairs != nullptr) parts = 6;
  writer_.array(parts);
  if (!write_type_name(Py_TYPE(object)) || !write_arguments(reduction)) return false;
  if (parts >= 4) {
    if (reduction.state == nullptr) {
      writer_.null();
    } else if (!write(reduction.state)) {
      return false;
    }
  }
  if (parts >= 5) {
    if (reduction.items == nullptr) {
      writer_.null();
    } else {
      const Ref items = Ref::steal(PySequence_List(reduction.items));
      if (!items || !write_list(items.get())) return false;
    }
  }
  return parts < 6 || write_pairs(reduction.pairs);
}

bool KeyWalk::write_arguments(const Reduction& reduction) {
  const Ref copyreg = Ref::steal(PyImport_ImportModule("copyreg"));
  const Ref usual = copyreg ? optional_attribute(copyreg.get(), "__newobj__") : Ref();
  const Ref usual_ex =
      usual ? optional_attribute(copyreg.get(), "__newobj_ex__") : Ref();
  if (!usual_ex) return false;
  const Py_ssize_t size = PyTuple_GET_SIZE(reduction.arguments);
  if (reduction.callable == usual.get() && size >= 1) {
    writer_.null();
    return write_items(reduction.arguments, 1);
  }
  if (reduction.callable == usual_ex.get() && size == 3) {
    PyObject* const positionals = PyTuple_GET_ITEM(reduction.arguments, 1);
    PyObject* const keywords = PyTuple_GET_ITEM(reduction.arguments, 2);
    if (!PyTuple_Check(positionals) || !PyDict_Check(keywords)) {
      return fail("its __reduce_ex__ gives no arguments");
    }
    writer_.null();
    writer_.array(2);
    return write_tuple(positionals) && write_dict(keywords);
  }
  if (reduction.callable == reinterpret_cast<PyObject*>(Py_TYPE(open_.back()))) {
    writer_.null();
  } else if (!write(reduction.callable)) {
    return false;
  }
  return write_tuple(reduction.arguments);
}

}  // namespace cachier::python
