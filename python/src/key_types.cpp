#include "key_types.hpp"

#include <array>

namespace cachier::python {
namespace {

struct Entry {
  const char* module;
  const char* name;
  PyObject* type;  ///< owned for ever once found
};

constexpr auto kTypes = static_cast<std::size_t>(StdlibType::count_);

/// In the order of `StdlibType`.
std::array<Entry, kTypes> entries{{
    {"datetime", "datetime", nullptr},
    {"datetime", "date", nullptr},
    {"datetime", "time", nullptr},
    {"datetime", "timedelta", nullptr},
    {"datetime", "timezone", nullptr},
    {"zoneinfo", "ZoneInfo", nullptr},
    {"decimal", "Decimal", nullptr},
    {"fractions", "Fraction", nullptr},
    {"uuid", "UUID", nullptr},
    {"pathlib", "PosixPath", nullptr},
    {"pathlib", "WindowsPath", nullptr},
    {"pathlib", "PurePosixPath", nullptr},
    {"pathlib", "PureWindowsPath", nullptr},
    {"collections", "OrderedDict", nullptr},
    {"functools", "partial", nullptr},
    {"enum", "Enum", nullptr},
    {"enum", "Flag", nullptr},
}};

PyObject* find(Entry& entry) noexcept {
  if (entry.type != nullptr) return entry.type;
  const Ref module = imported(entry.module);
  if (!module) return nullptr;
  entry.type = PyObject_GetAttrString(module.get(), entry.name);
  // A module that is still being imported: its types are not there yet.
  if (entry.type == nullptr) PyErr_Clear();
  return entry.type;
}

Ref text_attribute(PyObject* object, const char* name) {
  Ref text = Ref::steal(PyObject_GetAttrString(object, name));
  if (text && !PyUnicode_Check(text.get())) {
    PyErr_Format(PyExc_TypeError, "%s of %.100s is not a str", name,
                 Py_TYPE(object)->tp_name);
    return {};
  }
  return text;
}

}  // namespace

PyObject* stdlib_type(StdlibType which) noexcept {
  return find(entries[static_cast<std::size_t>(which)]);
}

StdlibType stdlib_type_of(PyTypeObject* type) noexcept {
  const auto* const wanted = reinterpret_cast<PyObject*>(type);
  for (std::size_t at = 0; at < kTypes; ++at) {
    if (find(entries[at]) == wanted) return static_cast<StdlibType>(at);
  }
  return StdlibType::count_;
}

PyTypeObject* builtin_base(PyTypeObject* type) noexcept {
  for (PyTypeObject* const base :
       {&PyLong_Type, &PyFloat_Type, &PyComplex_Type, &PyUnicode_Type, &PyBytes_Type,
        &PyByteArray_Type, &PyList_Type, &PyTuple_Type, &PySet_Type,
        &PyFrozenSet_Type}) {
    if (PyType_IsSubtype(type, base) != 0) return base;
  }
  return nullptr;
}

bool is_plain_named_tuple(PyObject* object, bool& answer) {
  answer = false;
  if (!PyTuple_Check(object)) return true;
  auto* const type = reinterpret_cast<PyObject*>(Py_TYPE(object));
  const Ref fields = Ref::steal(PyObject_GetAttrString(type, "_fields"));
  if (!fields) {
    if (!PyErr_ExceptionMatches(PyExc_AttributeError)) return false;
    PyErr_Clear();
    return true;
  }
  if (!PyTuple_CheckExact(fields.get()) ||
      PyTuple_GET_SIZE(fields.get()) != PyTuple_GET_SIZE(object)) {
    return true;
  }
  for (Py_ssize_t at = 0; at < PyTuple_GET_SIZE(fields.get()); ++at) {
    if (!PyUnicode_CheckExact(PyTuple_GET_ITEM(fields.get(), at))) return true;
  }
  const Ref state = Ref::steal(PyObject_GetAttrString(object, "__dict__"));
  if (!state) {
    if (!PyErr_ExceptionMatches(PyExc_AttributeError)) return false;
    PyErr_Clear();
    answer = true;
    return true;
  }
  answer = PyDict_Check(state.get()) && PyDict_GET_SIZE(state.get()) == 0;
  return true;
}

std::string qualified_name(PyObject* object) {
  const Ref module = text_attribute(object, "__module__");
  if (!module) return {};
  const Ref name = text_attribute(object, "__qualname__");
  if (!name) return {};
  std::string_view place = utf8_of(module.get());
  // Where the paths live is a detail of one version of Python.
  if (place.starts_with("pathlib.")) place = "pathlib";
  // What children of multiprocessing call the module of their parent's program.
  if (place == "__mp_main__") place = "__main__";
  const std::string_view called = utf8_of(name.get());
  if (PyErr_Occurred()) return {};
  return std::string(place) + "." + std::string(called);
}

bool leads_back(PyObject* object, bool& answer) {
  answer = false;
  const Ref module_name = text_attribute(object, "__module__");
  const Ref name = module_name ? text_attribute(object, "__qualname__") : Ref();
  if (!name) {
    // `__module__` of a builtin may be None.
    if (!PyErr_ExceptionMatches(PyExc_AttributeError) &&
        !PyErr_ExceptionMatches(PyExc_TypeError)) {
      return false;
    }
    PyErr_Clear();
    return true;
  }
  Ref at = Ref::steal(PyImport_GetModule(module_name.get()));
  const Ref dot = Ref::steal(PyUnicode_FromString("."));
  const Ref steps =
      dot ? Ref::steal(PyUnicode_Split(name.get(), dot.get(), -1)) : Ref();
  if (!steps) return false;
  for (Py_ssize_t n = 0; at && n < PyList_GET_SIZE(steps.get()); ++n) {
    at = Ref::steal(PyObject_GetAttr(at.get(), PyList_GET_ITEM(steps.get(), n)));
  }
  if (!at) {
    if (PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_AttributeError)) return false;
    PyErr_Clear();
    return true;
  }
  answer = at.get() == object;
  return true;
}

Ref imported(const char* name) noexcept {
  const Ref text = Ref::steal(PyUnicode_FromString(name));
  Ref module = text ? Ref::steal(PyImport_GetModule(text.get())) : Ref();
  if (!module) PyErr_Clear();
  return module;
}

bool main_has_no_file() noexcept {
  const Ref main = imported("__main__");
  if (!main) return true;
  PyObject* const names = PyModule_GetDict(main.get());
  PyObject* const spec = PyDict_GetItemString(names, "__spec__");
  return PyDict_GetItemString(names, "__file__") == nullptr &&
         (spec == nullptr || spec == Py_None);
}

}  // namespace cachier::python
