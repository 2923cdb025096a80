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

/// Somebody types at this process: what `__main__` has may not come from its file.
bool is_interactive() {
  if (PySys_GetObject("ps1") != nullptr) return true;
  PyObject* const flags = PySys_GetObject("flags");
  const Ref inspects = flags != nullptr ? optional_attribute(flags, "inspect") : Ref();
  PyErr_Clear();
  return inspects && PyObject_IsTrue(inspects.get()) > 0;
}

/// `cachier._names.place_of` for what `__main__` with these globals defines. The answer
/// is kept for as long as it would be the same.
bool place_of_main(PyObject* globals, std::string& text, bool& has_file) {
  static PyObject* known_spec = nullptr;
  static PyObject* known_file = nullptr;
  static std::string known;
  static bool known_has_file = false;
  PyObject* const spec = PyDict_GetItemString(globals, "__spec__");
  PyObject* const file = PyDict_GetItemString(globals, "__file__");
  if (known.empty() || spec != known_spec || file != known_file) {
    const Ref names = Ref::steal(PyImport_ImportModule("cachier._names"));
    const Ref types = names ? Ref::steal(PyImport_ImportModule("types")) : Ref();
    const Ref made =
        types ? Ref::steal(PyObject_CallMethod(types.get(), "SimpleNamespace", nullptr))
              : Ref();
    const Ref main = made ? Ref::steal(PyUnicode_FromString("__main__")) : Ref();
    if (!main || PyObject_SetAttrString(made.get(), "__module__", main.get()) < 0 ||
        PyObject_SetAttrString(made.get(), "__globals__", globals) < 0) {
      return false;
    }
    const Ref place =
        Ref::steal(PyObject_CallMethod(names.get(), "place_of", "O", made.get()));
    PyObject* where = nullptr;
    int in_file = 0;
    if (!place || !PyArg_ParseTuple(place.get(), "Up", &where, &in_file)) return false;
    const Ref bytes =
        Ref::steal(PyUnicode_AsEncodedString(where, "utf-8", "backslashreplace"));
    if (!bytes) return false;
    known.assign(PyBytes_AS_STRING(bytes.get()),
                 static_cast<std::size_t>(PyBytes_GET_SIZE(bytes.get())));
    // What is read from standard input is said to lie in `<stdin>`.
    const std::string_view path =
        file != nullptr && PyUnicode_Check(file) ? utf8_of(file) : std::string_view();
    if (PyErr_Occurred()) return false;
    known_has_file = in_file != 0 &&
                     ((spec != nullptr && spec != Py_None) || !path.starts_with('<'));
    if (!known_has_file) known = "__main__";
    Py_XSETREF(known_spec, Py_XNewRef(spec));
    Py_XSETREF(known_file, Py_XNewRef(file));
  }
  text = known;
  has_file = known_has_file && !is_interactive();
  return true;
}

/// What a module is called in names, and whether what it has comes from a file.
bool place_of(PyObject* module, PyObject* globals, std::string& text, bool& has_file) {
  has_file = true;
  std::string_view place = utf8_of(module);
  if (PyErr_Occurred()) return false;
  // The second: what children of multiprocessing call their parent's program.
  if (place == "__main__" || place == "__mp_main__") {
    const Ref main = Ref::steal(PyImport_GetModule(module));
    if (globals == nullptr && main && PyModule_Check(main.get())) {
      globals = PyModule_GetDict(main.get());
    }
    if (globals != nullptr) return place_of_main(globals, text, has_file);
    if (PyErr_Occurred()) return false;
    has_file = false;
    place = "__main__";
  }
  // Where the paths live is a detail of one version of Python.
  if (place.starts_with("pathlib.")) place = "pathlib";
  text = place;
  return true;
}

bool write_name(PyObject* module, PyObject* called, PyObject* globals,
                std::string& text, bool& has_file) {
  if (!place_of(module, globals, text, has_file)) return false;
  const std::string_view name = utf8_of(called);
  if (PyErr_Occurred()) return false;
  text += '.';
  text += name;
  return true;
}

/// Whether `called`, in a module that has been imported, is `object` itself.
bool leads_to(PyObject* module, PyObject* called, PyObject* object, bool& answer) {
  answer = false;
  Ref at = Ref::steal(PyImport_GetModule(module));
  const Py_ssize_t size = PyUnicode_GET_LENGTH(called);
  if (at && PyUnicode_FindChar(called, '.', 0, size, 1) < 0) {
    at = Ref::steal(PyObject_GetAttr(at.get(), called));
  } else if (at) {
    const Ref dot = Ref::steal(PyUnicode_FromString("."));
    const Ref steps = dot ? Ref::steal(PyUnicode_Split(called, dot.get(), -1)) : Ref();
    if (!steps) return false;
    for (Py_ssize_t n = 0; at && n < PyList_GET_SIZE(steps.get()); ++n) {
      at = Ref::steal(PyObject_GetAttr(at.get(), PyList_GET_ITEM(steps.get(), n)));
    }
  }
  if (!at) {
    // A module that looks names up by itself may fail in its own way.
    if (PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_Exception)) return false;
    PyErr_Clear();
    return true;
  }
  answer = at.get() == object;
  return true;
}

/// The module that has `object` as `called`. Of several: one that is not Python source
/// is where it was made, whatever else has been imported since.
bool module_that_has(PyObject* object, PyObject* called, Ref& found) {
  found = {};
  PyObject* const modules = PyImport_GetModuleDict();
  const Ref all = modules != nullptr && PyDict_Check(modules)
                      ? Ref::steal(PyDict_Copy(modules))
                      : Ref();
  if (!all) return !PyErr_Occurred();
  bool found_source = true;
  Py_ssize_t position = 0;
  PyObject *name = nullptr, *module = nullptr;
  while (PyDict_Next(all.get(), &position, &name, &module) != 0) {
    if (!PyUnicode_Check(name) || !PyModule_Check(module)) continue;
    PyObject* const names = PyModule_GetDict(module);
    if (PyDict_GetItemWithError(names, called) != object) {
      if (PyErr_Occurred()) return false;
      continue;
    }
    if (PyUnicode_CompareWithASCIIString(name, "__main__") == 0 ||
        PyUnicode_CompareWithASCIIString(name, "__mp_main__") == 0) {
      continue;
    }
    PyObject* const file = PyDict_GetItemString(names, "__file__");
    const bool source =
        file != nullptr && PyUnicode_Check(file) && utf8_of(file).ends_with(".py");
    PyErr_Clear();
    if (!found || (found_source && !source) ||
        (found_source == source && PyUnicode_Compare(name, found.get()) < 0)) {
      found = Ref::borrow(name);
      found_source = source;
    }
  }
  return !PyErr_Occurred();
}

/// Whether a function's code lies in a file, and not in a text that was executed.
bool lies_in_file(PyObject* function) {
  const Ref file = optional_attribute(PyFunction_GET_CODE(function), "co_filename");
  const std::string_view path =
      file && PyUnicode_Check(file.get()) ? utf8_of(file.get()) : std::string_view();
  PyErr_Clear();
  return !path.starts_with('<') || path.starts_with("<frozen");
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
  const Ref distinct = Ref::steal(PySet_New(fields.get()));
  if (!distinct) return false;
  if (PySet_GET_SIZE(distinct.get()) != PyTuple_GET_SIZE(object)) return true;
  const Ref state = instance_dict(object);
  if (PyErr_Occurred()) return false;
  answer = !state || PyDict_GET_SIZE(state.get()) == 0;
  return true;
}

bool name_of(PyObject* object, Name& name) {
  name = {};
  const Ref called = text_attribute(object, "__qualname__");
  if (!called) return false;
  Ref module = optional_attribute(object, "__module__");
  if (!module && PyErr_Occurred()) return false;
  if (!module || !PyUnicode_Check(module.get())) {
    module = Ref::steal(PyUnicode_FromString("builtins"));
    if (!module) return false;
  }
  PyObject* const globals =
      PyFunction_Check(object) ? PyFunction_GET_GLOBALS(object) : nullptr;
  bool has_file = true;
  if (!write_name(module.get(), called.get(), globals, name.text, has_file)) {
    return false;
  }
  if (PyFunction_Check(object) && has_file) has_file = lies_in_file(object);
  return !has_file || leads_to(module.get(), called.get(), object, name.leads_back);
}

bool name_of_reduced(PyObject* object, PyObject* called, Name& name) {
  name = {};
  Ref module = optional_attribute(object, "__module__");
  if (!module && PyErr_Occurred()) return false;
  if (!module || !PyUnicode_Check(module.get())) {
    module =
        optional_attribute(reinterpret_cast<PyObject*>(Py_TYPE(object)), "__module__");
  }
  bool has_file = true;
  if (module && PyUnicode_Check(module.get())) {
    if (!leads_to(module.get(), called, object, name.leads_back)) return false;
  }
  if (PyErr_Occurred()) return false;
  if (!name.leads_back) {
    if (!module_that_has(object, called, module)) return false;
    if (!module) return true;
  }
  if (!write_name(module.get(), called, nullptr, name.text, has_file)) return false;
  name.leads_back = has_file;
  if (!has_file) name.text.clear();
  return true;
}

bool name_of_module(PyObject* module, Name& name) {
  name = {};
  const Ref called = Ref::steal(PyModule_GetNameObject(module));
  if (!called) return false;
  bool has_file = true;
  if (!place_of(called.get(), PyModule_GetDict(module), name.text, has_file)) {
    return false;
  }
  const Ref found = Ref::steal(PyImport_GetModule(called.get()));
  if (!found && PyErr_Occurred()) return false;
  name.leads_back = has_file && found.get() == module;
  return true;
}

Ref instance_dict(PyObject* object) {
  if (Py_TYPE(object)->tp_dictoffset == 0) return {};
  Ref attributes = Ref::steal(PyObject_GenericGetDict(object, nullptr));
  if (!attributes && PyErr_ExceptionMatches(PyExc_AttributeError)) PyErr_Clear();
  return attributes;
}

Ref optional_attribute(PyObject* object, const char* name) {
  Ref value = Ref::steal(PyObject_GetAttrString(object, name));
  if (!value && PyErr_ExceptionMatches(PyExc_AttributeError)) PyErr_Clear();
  return value;
}

Ref imported(const char* name) noexcept {
  const Ref text = Ref::steal(PyUnicode_FromString(name));
  Ref module = text ? Ref::steal(PyImport_GetModule(text.get())) : Ref();
  if (!module) PyErr_Clear();
  return module;
}

}  // namespace cachier::python
