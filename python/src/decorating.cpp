#include "decorating.hpp"

#include <cachier/key.hpp>

#include <array>
#include <string>
#include <string_view>

#include "call_options.hpp"
#include "parameters.hpp"

namespace cachier::python {
namespace {

constexpr int kNeedsMore = CO_GENERATOR | CO_ITERABLE_COROUTINE | CO_ASYNC_GENERATOR;

bool expects(Py_ssize_t count, Py_ssize_t expected) {
  if (count == expected) return true;
  PyErr_Format(PyExc_TypeError, "%zd arguments are needed", expected);
  return false;
}

/// The text of a `str`, empty of anything else.
std::string_view text_of(PyObject* object) {
  if (object == nullptr || !PyUnicode_Check(object)) return {};
  const std::string_view text = utf8_of(object);
  if (text.data() == nullptr) PyErr_Clear();
  return text;
}

/// What the parameters are called, with commas between, as ids have it. False: there is
/// one that needs more, or an exception is set.
bool list_parameters(PyCodeObject* code, std::string& listed) {
  const Ref locals = names_of_locals(code);
  if (!locals) return false;
  const auto add = [&](const char* stars, Py_ssize_t at) {
    PyObject* const name = PyTuple_GET_ITEM(locals.get(), at);
    if (is_call_option(name)) return false;
    const std::string_view text = text_of(name);
    if (at == 0 && *stars == '\0' && text == "self") return false;
    if (!listed.empty()) listed += ',';
    listed += stars;
    listed += text;
    return !text.empty();
  };
  const Py_ssize_t positional = code->co_argcount;
  const Py_ssize_t end = positional + code->co_kwonlyargcount;
  const bool surplus = (code->co_flags & CO_VARARGS) != 0;
  for (Py_ssize_t at = 0; at < positional; ++at) {
    if (!add("", at)) return false;
  }
  if (surplus && !add("*", end)) return false;
  for (Py_ssize_t at = positional; at < end; ++at) {
    if (!add("", at)) return false;
  }
  return (code->co_flags & CO_VARKEYWORDS) == 0 || add("**", surplus ? end + 1 : end);
}

/// Whether a function of that module and name is found again by these.
bool is_found_by(std::string_view module, std::string_view name,
                 std::string_view file) {
  return !module.empty() && module != "__main__" && module != "__mp_main__" &&
         !name.empty() && name.find('<') == std::string_view::npos && !file.empty() &&
         file.front() != '<';
}

/// The attributes that are copied, interned.
enum Copied : std::size_t {
  kModule,
  kName,
  kQualname,
  kDoc,
  kAnnotations,
  kTypeParams
};
constexpr std::array<const char*, 6> kCopied{"__module__",      "__name__",
                                             "__qualname__",    "__doc__",
                                             "__annotations__", "__type_params__"};

/// Null: an exception is set.
PyObject* interned_name(const char* name, PyObject*& kept) {
  if (kept == nullptr) kept = PyUnicode_InternFromString(name);
  return kept;
}

/// False: an exception is set.
bool copy_attribute(PyObject* from, PyObject* to, Copied which) {
  static std::array<PyObject*, kCopied.size()> names{};
  PyObject* const name = interned_name(kCopied[which], names[which]);
  if (name == nullptr) return false;
  const Ref value =
      Ref::steal(interruptibly([&] { return PyObject_GetAttr(from, name); }));
  if (value) return PyDict_SetItem(to, name, value.get()) == 0;
  if (!PyErr_ExceptionMatches(PyExc_AttributeError)) return false;
  PyErr_Clear();
  return true;
}

/// What else the attributes of a function are; empty if none. Null with an exception
/// set: they cannot be had.
Ref attributes_of(PyObject* function) {
  if (PyFunction_Check(function)) {
    return Ref::borrow(reinterpret_cast<PyFunctionObject*>(function)->func_dict);
  }
  Ref attributes = Ref::steal(
      interruptibly([&] { return PyObject_GetAttrString(function, "__dict__"); }));
  if (!attributes && PyErr_ExceptionMatches(PyExc_AttributeError)) PyErr_Clear();
  return attributes;
}

}  // namespace

PyObject* given_options(PyObject*, PyObject* const* values, Py_ssize_t count) {
  if (!expects(count, 3)) return nullptr;
  PyObject* const names = values[0];
  PyObject* const options = values[1];
  Ref given = Ref::steal(PyDict_New());
  if (!given) return nullptr;
  const Py_ssize_t size = PyTuple_Size(options);
  if (size != PyTuple_Size(names)) {
    if (PyErr_Occurred() == nullptr) {
      PyErr_SetString(PyExc_TypeError, "a value for each name is needed");
    }
    return nullptr;
  }
  for (Py_ssize_t at = 0; at < size; ++at) {
    PyObject* const value = PyTuple_GET_ITEM(options, at);
    if (value == Py_None) continue;
    PyObject* const name = PyTuple_GET_ITEM(names, at);
    const Ref fallback = Ref::borrow(PyDict_GetItemWithError(values[2], name));
    const int is_same = !fallback ? 0 : interruptibly([&] {
      return PyObject_RichCompareBool(fallback.get(), value, Py_EQ);
    });
    if (is_same > 0) continue;
    if (PyErr_Occurred() != nullptr || PyDict_SetItem(given.get(), name, value) < 0) {
      return nullptr;
    }
  }
  return given.release();
}

PyObject* plain_function_id(PyObject*, PyObject* const* values, Py_ssize_t count) {
  if (!expects(count, 4)) return nullptr;
  PyObject* const object = values[0];
  if (!PyFunction_Check(object)) return Py_NewRef(Py_None);
  const auto& function = *reinterpret_cast<PyFunctionObject*>(object);
  auto* const code = reinterpret_cast<PyCodeObject*>(function.func_code);
  const bool has_attributes =
      function.func_dict != nullptr && PyDict_GET_SIZE(function.func_dict) != 0;
  if ((code->co_flags & kNeedsMore) != 0 || has_attributes) return Py_NewRef(Py_None);
  const std::string_view module = text_of(function.func_module);
  const std::string_view called = text_of(function.func_qualname);
  FunctionIdParts parts;
  if (!is_found_by(module, called, text_of(code->co_filename)) ||
      !list_parameters(code, parts.parameters.emplace())) {
    return PyErr_Occurred() != nullptr ? nullptr : Py_NewRef(Py_None);
  }
  parts.key_prefix = utf8_of(values[1]);
  if (values[2] != Py_None) {
    parts.name = utf8_of(values[2]);
    parts.parameters = std::nullopt;
  } else {
    parts.name.reserve(module.size() + 1 + called.size());
    parts.name.append(module).append(1, '.').append(called);
  }
  if (values[3] != Py_None) parts.version = utf8_of(values[3]);
  if (PyErr_Occurred() != nullptr) return nullptr;
  const std::string id = function_id(parts);
  return PyUnicode_DecodeUTF8(id.data(), static_cast<Py_ssize_t>(id.size()),
                              "surrogateescape");
}

PyObject* look_like(PyObject*, PyObject* const* values, Py_ssize_t count) {
  if (!expects(count, 2)) return nullptr;
  PyObject* const function = values[1];
  const Ref own = Ref::steal(PyObject_GenericGetDict(values[0], nullptr));
  if (!own) return nullptr;
  for (const Copied which : {kModule, kName, kQualname, kDoc, kAnnotations}) {
    if (!copy_attribute(function, own.get(), which)) return nullptr;
  }
  // Functions have it from 3.12 on, anything else if it likes.
  if (PY_VERSION_HEX >= 0x030c0000 || !PyFunction_Check(function)) {
    if (!copy_attribute(function, own.get(), kTypeParams)) return nullptr;
  }
  const Ref attributes = attributes_of(function);
  if (PyErr_Occurred() != nullptr) return nullptr;
  if (attributes &&
      interruptibly([&] { return PyDict_Update(own.get(), attributes.get()); }) < 0) {
    return nullptr;
  }
  static PyObject* wrapped = nullptr;
  PyObject* const name = interned_name("__wrapped__", wrapped);
  if (name == nullptr || PyDict_SetItem(own.get(), name, function) < 0) return nullptr;
  return Py_NewRef(Py_None);
}

}  // namespace cachier::python
