/// Types of the standard library that have items of their own.

#include "python.hpp"

#include <datetime.h>

#include "key_types.hpp"
#include "key_walk.hpp"
#include "objects.hpp"

namespace cachier::python {
namespace {

/// The C API of `datetime`, which must have been imported.
bool have_datetime() noexcept {
  if (PyDateTimeAPI == nullptr) PyDateTime_IMPORT;
  return PyDateTimeAPI != nullptr;
}

}  // namespace

bool KeyWalk::write_known(PyObject* object, bool& known) {
  switch (stdlib_type_of(Py_TYPE(object))) {
    case StdlibType::datetime:
      return have_datetime() && write_datetime(object);
    case StdlibType::date:
      if (!have_datetime()) return false;
      write_tag(writer_, Tag::date);
      writer_.array(3);
      writer_.integer(PyDateTime_GET_YEAR(object));
      writer_.integer(PyDateTime_GET_MONTH(object));
      writer_.integer(PyDateTime_GET_DAY(object));
      return true;
    case StdlibType::time:
      return have_datetime() && write_time(object);
    case StdlibType::timedelta:
      if (!have_datetime()) return false;
      write_tag(writer_, Tag::timedelta);
      writer_.array(3);
      writer_.integer(PyDateTime_DELTA_GET_DAYS(object));
      writer_.integer(PyDateTime_DELTA_GET_SECONDS(object));
      writer_.integer(PyDateTime_DELTA_GET_MICROSECONDS(object));
      return true;
    case StdlibType::timezone:
      return write_timezone(object);
    case StdlibType::zone_info: {
      const Ref key = Ref::steal(PyObject_GetAttrString(object, "key"));
      if (!key) return false;
      if (key.get() == Py_None) return write_reduced(object);
      // One that was read from a file has rules that its key does not name; it refuses.
      if (!Ref::steal(PyObject_CallMethod(object, "__reduce__", nullptr))) return false;
      write_tag(writer_, Tag::timezone);
      return write(key.get());
    }
    case StdlibType::decimal: {
      const Ref text = Ref::steal(PyObject_Str(object));
      const Ref upper =
          text ? Ref::steal(PyObject_CallMethod(text.get(), "upper", nullptr)) : Ref();
      write_tag(writer_, Tag::decimal);
      return upper && write_str(writer_, upper.get());
    }
    case StdlibType::fraction:
      write_tag(writer_, Tag::rational);
      return write_attributes(object, {"numerator", "denominator"});
    case StdlibType::uuid: {
      const Ref bytes = Ref::steal(PyObject_GetAttrString(object, "bytes"));
      write_tag(writer_, Tag::uuid);
      return bytes && write(bytes.get());
    }
    case StdlibType::posix_path:
      return write_path(object);
    case StdlibType::windows_path:
    case StdlibType::pure_posix_path:
    case StdlibType::pure_windows_path:
      write_tag(writer_, Tag::path);
      writer_.array(2);
      return write_type(Py_TYPE(object)) && write_as_text(object);
    case StdlibType::ordered_dict: {
      const Ref items = Ref::steal(PyObject_CallMethod(object, "items", nullptr));
      return items && write_pairs(items.get());
    }
    case StdlibType::partial:
      return write_partial(object);
    case StdlibType::enum_:
    case StdlibType::flag:
    case StdlibType::count_:
      break;
  }
  if (PyFunction_Check(object)) return write_function(object);
  if (PyCFunction_Check(object)) return write_builtin(object, known);
  if (PyMethod_Check(object) || Py_TYPE(object) == bound_function_type) {
    return write_method(object);
  }
  if (PyModule_Check(object)) return write_module(object);
  if (PyMemoryView_Check(object)) return write_memoryview(object);
  if (Py_TYPE(object) == &PyDictProxy_Type) {
    const Ref copy = Ref::steal(PyDict_New());
    if (!copy || PyDict_Update(copy.get(), object) < 0) return false;
    write_tag(writer_, Tag::reduced);
    writer_.array(3);
    if (!write_type(Py_TYPE(object))) return false;
    writer_.null();
    writer_.array(1);
    return write(copy.get());
  }
  if (PyDictKeys_Check(object) || PyDictValues_Check(object) ||
      PyDictItems_Check(object)) {
    const Ref items = Ref::steal(PySequence_List(object));
    if (!items) return false;
    write_tag(writer_, Tag::reduced);
    writer_.array(3);
    if (!write_type(Py_TYPE(object))) return false;
    writer_.null();
    writer_.array(1);
    return write(items.get());
  }
  if (Py_TYPE(object) == cached_function_type) return write_cached_function(object);
  known = false;
  return true;
}

bool KeyWalk::write_datetime(PyObject* object) {
  PyObject* const zone = PyDateTime_DATE_GET_TZINFO(object);
  const bool fold = PyDateTime_DATE_GET_FOLD(object) != 0;
  write_tag(writer_, Tag::datetime);
  writer_.array(7U + (fold ? 2U : (zone != Py_None ? 1U : 0U)));
  writer_.integer(PyDateTime_GET_YEAR(object));
  writer_.integer(PyDateTime_GET_MONTH(object));
  writer_.integer(PyDateTime_GET_DAY(object));
  writer_.integer(PyDateTime_DATE_GET_HOUR(object));
  writer_.integer(PyDateTime_DATE_GET_MINUTE(object));
  writer_.integer(PyDateTime_DATE_GET_SECOND(object));
  writer_.integer(PyDateTime_DATE_GET_MICROSECOND(object));
  return write_zone_and_fold(object, zone, fold);
}

bool KeyWalk::write_time(PyObject* object) {
  PyObject* const zone = PyDateTime_TIME_GET_TZINFO(object);
  const bool fold = PyDateTime_TIME_GET_FOLD(object) != 0;
  write_tag(writer_, Tag::time);
  writer_.array(4U + (fold ? 2U : (zone != Py_None ? 1U : 0U)));
  writer_.integer(PyDateTime_TIME_GET_HOUR(object));
  writer_.integer(PyDateTime_TIME_GET_MINUTE(object));
  writer_.integer(PyDateTime_TIME_GET_SECOND(object));
  writer_.integer(PyDateTime_TIME_GET_MICROSECOND(object));
  return write_zone_and_fold(object, zone, fold);
}

bool KeyWalk::write_zone_and_fold(PyObject*, PyObject* zone, bool fold) {
  if ((zone != Py_None || fold) && !write(zone)) return false;
  if (fold) writer_.integer(1);
  return true;
}

bool KeyWalk::write_timezone(PyObject* object) {
  const Ref parts = Ref::steal(PyObject_CallMethod(object, "__getinitargs__", nullptr));
  if (!parts || !have_datetime()) return false;
  PyObject* offset = nullptr;
  PyObject* name = nullptr;
  if (!PyArg_ParseTuple(parts.get(), "O!|U", PyDateTimeAPI->DeltaType, &offset,
                        &name)) {
    return false;
  }
  constexpr std::int64_t kMicroseconds = 1'000'000;
  const std::int64_t seconds =
      std::int64_t{PyDateTime_DELTA_GET_DAYS(offset)} * 86'400 +
      PyDateTime_DELTA_GET_SECONDS(offset);
  write_tag(writer_, Tag::timezone);
  writer_.array(name == nullptr ? 1 : 2);
  writer_.integer(seconds * kMicroseconds + PyDateTime_DELTA_GET_MICROSECONDS(offset));
  return name == nullptr || write(name);
}

bool KeyWalk::write_path(PyObject* object) {
  // The bytes of the file system: where its encoding is UTF-8, that is the text itself,
  // undecodable bytes as they are.
  Ref bytes;
  {
    PyObject* encoded = nullptr;
    if (PyUnicode_FSConverter(object, &encoded) == 0) return false;
    bytes = Ref::steal(encoded);
  }
  const std::string_view text(PyBytes_AS_STRING(bytes.get()),
                              static_cast<std::size_t>(PyBytes_GET_SIZE(bytes.get())));
  write_tag(writer_, Tag::path);
  if (cbor::valid_text(text)) {
    writer_.text(text);
  } else {
    write_tag(writer_, Tag::other_text);
    writer_.bytes(as_bytes(text));
  }
  return true;
}

bool KeyWalk::write_partial(PyObject* object) {
  const Ref attributes = instance_dict(object);
  if (PyErr_Occurred()) return false;
  const bool more = attributes && PyDict_GET_SIZE(attributes.get()) > 0;
  write_tag(writer_, Tag::partial);
  writer_.array(more ? 4 : 3);
  const Ref function = Ref::steal(PyObject_GetAttrString(object, "func"));
  if (!function || !write(function.get())) return false;
  const Ref positionals = Ref::steal(PyObject_GetAttrString(object, "args"));
  if (!positionals) return false;
  if (!write_tuple(positionals.get())) return false;
  const Ref keywords = Ref::steal(PyObject_GetAttrString(object, "keywords"));
  if (!keywords || !write_dict(keywords.get())) return false;
  return !more || write_dict(attributes.get());
}

/// A method of an object, cached or not.
bool KeyWalk::write_method(PyObject* object) {
  const Ref self = Ref::steal(PyObject_GetAttrString(object, "__self__"));
  const Ref function =
      self ? Ref::steal(PyObject_GetAttrString(object, "__func__")) : Ref();
  const Ref name = function ? optional_attribute(function.get(), "__name__") : Ref();
  if (PyErr_Occurred()) return false;
  // The name tells it only if it leads to this very function.
  bool leads_back = false;
  if (name && PyUnicode_Check(name.get())) {
    const Ref found = Ref::steal(PyObject_GetAttr(self.get(), name.get()));
    if (!found && !PyErr_ExceptionMatches(PyExc_Exception)) return false;
    PyErr_Clear();
    if (found && Py_TYPE(found.get()) == Py_TYPE(object)) {
      const Ref its_self = optional_attribute(found.get(), "__self__");
      const Ref its_function = optional_attribute(found.get(), "__func__");
      if (PyErr_Occurred()) return false;
      leads_back = its_self.get() == self.get() && its_function.get() == function.get();
    }
  }
  write_tag(writer_, Tag::bound_method);
  writer_.array(2);
  return write(self.get()) && write(leads_back ? name.get() : function.get());
}

bool KeyWalk::write_module(PyObject* object) {
  Name name;
  if (!name_of_module(object, name)) return false;
  if (!name.leads_back) {
    return fail("the module '" + name.text +
                "' is not what an import of its name would give");
  }
  write_tag(writer_, Tag::module);
  writer_.text(name.text);
  return true;
}

bool KeyWalk::write_memoryview(PyObject* object) {
  const Ref elements = Ref::steal(PyObject_GetAttrString(object, "format"));
  if (!elements) return false;
  const std::string_view format = utf8_of(elements.get());
  if (format.find_first_of("OPXz&") != std::string_view::npos) {
    return fail("a memoryview of pointers has no content of its own");
  }
  const Ref content = Ref::steal(PyObject_CallMethod(object, "tobytes", nullptr));
  if (!content) return false;
  write_tag(writer_, Tag::reduced);
  writer_.array(3);
  if (!write_type(Py_TYPE(object))) return false;
  writer_.null();
  writer_.array(4);
  if (!write(content.get())) return false;
  for (const char* const name : {"format", "shape", "readonly"}) {
    const Ref part = Ref::steal(PyObject_GetAttrString(object, name));
    if (!part || !write(part.get())) return false;
  }
  return true;
}

}  // namespace cachier::python
