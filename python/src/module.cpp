/// The module `cachier._core`. The package `cachier` is what programs import.

#include "python.hpp"

#include <cachier/backend.hpp>
#include <cachier/cbor.hpp>
#include <cachier/key.hpp>
#include <cachier/options.hpp>

#include "cached.hpp"
#include "call_options.hpp"
#include "decorating.hpp"
#include "file_buffer.hpp"
#include "key_walk.hpp"
#include "objects.hpp"
#include "report.hpp"
#include "steps_object.hpp"
#include "value_codec.hpp"
#include "work.hpp"

namespace cachier::python {
namespace {

PyObject* to_bytes(Bytes bytes) {
  return PyBytes_FromStringAndSize(as_text(bytes).data(),
                                   static_cast<Py_ssize_t>(bytes.size()));
}

PyObject* to_text(const std::string& text) {
  return PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()),
                              "surrogateescape");
}

bool raise_reason(const KeyWalk& walk) {
  if (PyErr_Occurred() == nullptr) {
    PyErr_SetString(PyExc_TypeError, walk.reason().c_str());
  }
  return false;
}

PyObject* settings_changed(PyObject*, PyObject*) {
  ++settings_epoch;
  return Py_NewRef(Py_None);
}

PyObject* core_caching_enabled(PyObject*, PyObject*) {
  return PyBool_FromLong(caching_enabled() ? 1 : 0);
}

PyObject* set_caching_enabled(PyObject*, PyObject* value) {
  const int on = PyObject_IsTrue(value);
  if (on < 0) return nullptr;
  on != 0 ? enable_caching() : disable_caching();
  ++settings_epoch;
  return Py_NewRef(Py_None);
}

PyObject* core_default_cache_dir(PyObject*, PyObject*) {
  const std::string directory = default_cache_dir();
  return PyUnicode_DecodeFSDefaultAndSize(directory.data(),
                                          static_cast<Py_ssize_t>(directory.size()));
}

PyObject* core_is_call_option(PyObject*, PyObject* name) {
  return PyBool_FromLong(PyUnicode_Check(name) && is_call_option(name) ? 1 : 0);
}

PyObject* core_read_timedelta(PyObject*, PyObject* arguments) {
  PyObject* value = nullptr;
  const char* option = nullptr;
  if (!PyArg_ParseTuple(arguments, "Os", &value, &option)) return nullptr;
  Duration duration{};
  if (!read_timedelta(value, option, duration)) return nullptr;
  if (duration == kNoLimit) return Py_NewRef(Py_None);
  return PyLong_FromLongLong(duration.count());
}

PyObject* core_function_id(PyObject*, PyObject* arguments) {
  const char *prefix = nullptr, *name = nullptr, *code = nullptr, *version = nullptr;
  const char* parameters = nullptr;
  Py_ssize_t prefix_size = 0, name_size = 0, code_size = 0, version_size = 0,
             parameters_size = 0;
  if (!PyArg_ParseTuple(arguments, "s#s#s#z#s#", &prefix, &prefix_size, &name,
                        &name_size, &code, &code_size, &parameters, &parameters_size,
                        &version, &version_size)) {
    return nullptr;
  }
  const auto text = [](const char* data, Py_ssize_t size) {
    return std::string(data, static_cast<std::size_t>(size));
  };
  FunctionIdParts parts;
  parts.key_prefix = text(prefix, prefix_size);
  parts.name = text(name, name_size);
  parts.code = text(code, code_size);
  if (parameters != nullptr) parts.parameters = text(parameters, parameters_size);
  parts.version = text(version, version_size);
  return to_text(function_id(parts));
}

/// The item of what a cell of a closure holds, when its function is decorated. What has
/// no key is told by `tell_apart`. False: an exception is set.
bool write_captured(cbor::Writer& writer, PyObject* cell, PyObject* layers,
                    PyObject* tell_apart) {
  const Ref value = Ref::steal(PyCell_Get(cell));
  const auto is_layer = [&] {
    for (Py_ssize_t at = 0; at < PyTuple_GET_SIZE(layers); ++at) {
      if (PyTuple_GET_ITEM(layers, at) == value.get()) return true;
    }
    return false;
  };
  if (!value || is_layer()) {
    writer.simple(cbor::kUndefined);
    return true;
  }
  if (Py_TYPE(value.get()) == cached_function_type) {
    // Its id says which function it is.
    writer.array(2);
    writer.simple(cbor::kUndefined);
    writer.text(cached_of(value.get()).id->id());
    return true;
  }
  const std::size_t before = writer.view().size();
  KeyWalk walk(writer);
  if (walk.write(value.get()) && writer.view().size() - before <= kMaxKeySize) {
    return true;
  }
  if (PyErr_Occurred() != nullptr && !PyErr_ExceptionMatches(PyExc_Exception)) {
    return false;
  }
  PyErr_Clear();
  writer.truncate(before);
  if (tell_apart == Py_None) {
    writer.simple(cbor::kUndefined);
    return true;
  }
  const Ref told = Ref::steal(PyObject_CallOneArg(tell_apart, value.get()));
  const std::string_view text = told ? utf8_of(told.get()) : std::string_view();
  if (PyErr_Occurred() != nullptr) return false;
  writer.array(2);
  writer.simple(cbor::kUndefined);
  writer.text(text);
  return true;
}

/// The part of a function's id that its code is: 16 hexadecimal digits. Takes the
/// functions around and behind it, outermost first, and what tells objects apart.
PyObject* core_code_digest(PyObject*, PyObject* arguments) {
  PyObject *layers = nullptr, *tell_apart = Py_None;
  if (!PyArg_ParseTuple(arguments, "O!|O", &PyTuple_Type, &layers, &tell_apart)) {
    return nullptr;
  }
  cbor::Writer writer;
  const Py_ssize_t count = PyTuple_GET_SIZE(layers);
  writer.array(2 * static_cast<std::uint64_t>(count));
  for (Py_ssize_t layer = 0; layer < count; ++layer) {
    PyObject* const function = PyTuple_GET_ITEM(layers, layer);
    if (!PyFunction_Check(function)) {
      PyErr_SetString(PyExc_TypeError, "functions written in Python are needed");
      return nullptr;
    }
    KeyWalk walk(writer);
    std::array<std::byte, 16> code;
    if (!walk.digest_code(PyFunction_GET_CODE(function), code)) {
      raise_reason(walk);
      return nullptr;
    }
    writer.bytes(code);
    PyObject* const closure = PyFunction_GET_CLOSURE(function);
    const Py_ssize_t cells = closure == nullptr ? 0 : PyTuple_GET_SIZE(closure);
    writer.array(static_cast<std::uint64_t>(cells));
    for (Py_ssize_t at = 0; at < cells; ++at) {
      if (!write_captured(writer, PyTuple_GET_ITEM(closure, at), layers, tell_apart)) {
        return nullptr;
      }
    }
  }
  const KeptKey hash(writer.view(), true);
  constexpr std::size_t kDigits = 16;
  constexpr std::string_view kHexadecimal = "0123456789abcdef";
  std::string digits;
  for (std::size_t at = 0; at < kDigits / 2; ++at) {
    const auto byte = std::to_integer<unsigned>(hash.bytes()[at]);
    digits += kHexadecimal[byte >> 4U];
    digits += kHexadecimal[byte & 15U];
  }
  return to_text(digits);
}

/// For tests: the item of one object in a key.
PyObject* core_encode_key(PyObject*, PyObject* object) {
  cbor::Writer writer;
  KeyWalk walk(writer);
  if (!walk.write(object)) {
    raise_reason(walk);
    return nullptr;
  }
  return to_bytes(writer.view());
}

/// For tests: the key of a call of a cached function.
PyObject* core_call_key(PyObject*, PyObject* const* values, Py_ssize_t count,
                        PyObject* keywords) {
  if (count < 1 || Py_TYPE(values[0]) != cached_function_type) {
    PyErr_SetString(PyExc_TypeError, "a cached function is needed");
    return nullptr;
  }
  cbor::Writer writer;
  const Arguments arguments{values + 1, static_cast<std::size_t>(count) - 1, keywords};
  switch (write_key(cached_of(values[0]), arguments, writer)) {
    case Keyed::made:
      return to_bytes(writer.view());
    case Keyed::refused:
      PyErr_SetString(PyExc_TypeError, "the arguments do not fit the function");
      return nullptr;
    case Keyed::failed:
      break;
  }
  return nullptr;
}

/// For tests: where a key of a function id is placed.
PyObject* core_digest(PyObject*, PyObject* arguments) {
  const char *id = nullptr, *key = nullptr;
  Py_ssize_t id_size = 0, key_size = 0;
  if (!PyArg_ParseTuple(arguments, "s#y#", &id, &id_size, &key, &key_size)) {
    return nullptr;
  }
  const Function& function = Function::intern({id, static_cast<std::size_t>(id_size)});
  return to_text(to_string(
      digest_of(function, as_bytes({key, static_cast<std::size_t>(key_size)}))));
}

/// For tests: a value as it is stored, (codec, bytes), and back.
PyObject* core_encode_value(PyObject*, PyObject* object) {
  const Result<Value> value =
      encode_value(object, std::numeric_limits<std::uint64_t>::max(), Pickles::taken);
  if (!value) return PyErr_Occurred() != nullptr ? nullptr : raise_error(value.error());
  const Ref bytes = Ref::steal(to_bytes(value->bytes()));
  return bytes ? Py_BuildValue("iO", static_cast<int>(value->codec()), bytes.get())
               : nullptr;
}

PyObject* core_decode_value(PyObject*, PyObject* arguments) {
  int codec = 0;
  Py_buffer bytes;
  unsigned long long fingerprint = 0;
  if (!PyArg_ParseTuple(arguments, "iy*|K", &codec, &bytes, &fingerprint)) {
    return nullptr;
  }
  Value value(
      static_cast<Codec>(codec),
      {static_cast<const std::byte*>(bytes.buf), static_cast<std::size_t>(bytes.len)},
      nullptr);
  value.set_fingerprint(fingerprint);
  PyObject* const object =
      decode_value(value, Buffers::copied, Pickles::taken).release();
  PyBuffer_Release(&bytes);
  return object;
}

PyObject* after_fork_in_child(PyObject*, PyObject*) {
  live_stores_after_fork();
  forget_engine_messages();
  return Py_NewRef(Py_None);
}

/// Threads that renew claims may be on their way into Python, and wait for the GIL.
PyObject* core_shutdown(PyObject*, PyObject*) {
  {
    const WithGilReleased released;
    shutdown();
  }
  return Py_NewRef(Py_None);
}

PyMethodDef functions[] = {
    {"open_store", guarded<open_store_handle>, METH_VARARGS, nullptr},
    {"open_client_store", guarded<open_client_store>, METH_VARARGS, nullptr},
    {"settings_changed", settings_changed, METH_NOARGS, nullptr},
    {"caching_enabled", core_caching_enabled, METH_NOARGS, nullptr},
    {"set_caching_enabled", set_caching_enabled, METH_O, nullptr},
    {"default_cache_dir", guarded<core_default_cache_dir>, METH_NOARGS, nullptr},
    {"is_call_option", core_is_call_option, METH_O, nullptr},
    {"read_timedelta", core_read_timedelta, METH_VARARGS, nullptr},
    {"function_id", guarded<core_function_id>, METH_VARARGS, nullptr},
    {"given_options", as_cfunction(guarded<given_options>), METH_FASTCALL, nullptr},
    {"plain_function_id", as_cfunction(guarded<plain_function_id>), METH_FASTCALL,
     nullptr},
    {"look_like", as_cfunction(guarded<look_like>), METH_FASTCALL, nullptr},
    {"code_digest", guarded<core_code_digest>, METH_VARARGS, nullptr},
    {"begin", as_cfunction(guarded<begin>), METH_FASTCALL, nullptr},
    {"open_and_begin", as_cfunction(guarded<open_and_begin>), METH_FASTCALL, nullptr},
    {"encode_key", guarded<core_encode_key>, METH_O, nullptr},
    {"call_key", as_cfunction(guarded<core_call_key>), METH_FASTCALL | METH_KEYWORDS,
     nullptr},
    {"digest", guarded<core_digest>, METH_VARARGS, nullptr},
    {"encode_value", guarded<core_encode_value>, METH_O, nullptr},
    {"decode_value", guarded<core_decode_value>, METH_VARARGS, nullptr},
    {"after_fork_in_child", after_fork_in_child, METH_NOARGS, nullptr},
    {"shutdown", core_shutdown, METH_NOARGS, nullptr},
    {nullptr, nullptr, 0, nullptr}};

int execute(PyObject* module) {
#ifdef Py_GIL_DISABLED
  PyErr_SetString(PyExc_ImportError,
                  "cannot import cachier: this Python is free-threaded\n"
                  "  cause: its engine relies on the global interpreter lock\n"
                  "  fix:   use the build of Python that has the lock");
  return -1;
#endif
  if (PyInterpreterState_Get() != PyInterpreterState_Main()) {
    PyErr_SetString(PyExc_ImportError,
                    "cannot import cachier in a subinterpreter\n"
                    "  cause: its engine works in the main interpreter of a process "
                    "only\n"
                    "  fix:   use threads or processes instead");
    return -1;
  }
  const bool ready =
      make_option_names() && make_frame_variable() && add_store_handle_type(module) &&
      add_cached_function_type(module) && add_bound_function_type(module) &&
      add_file_buffer_type(module) && add_steps_type(module);
  if (!ready) return -1;
  try {
    keep_engine_messages();
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
    return -1;
  }
  return 0;
}

PyModuleDef_Slot slots[] = {
    {Py_mod_exec, as_slot(execute)},
#if PY_VERSION_HEX >= 0x030c0000
    {Py_mod_multiple_interpreters, Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED},
#endif
#if PY_VERSION_HEX >= 0x030d0000
    {Py_mod_gil, Py_MOD_GIL_USED},
#endif
    {0, nullptr}};

PyModuleDef definition = {PyModuleDef_HEAD_INIT,
                          "cachier._core",
                          "The engine of cachier, as Python sees it.",
                          0,
                          functions,
                          slots,
                          nullptr,
                          nullptr,
                          nullptr};

}  // namespace
}  // namespace cachier::python

// NOLINTNEXTLINE(readability-identifier-naming): the name that CPython looks for
PyMODINIT_FUNC PyInit__core() { return PyModuleDef_Init(&cachier::python::definition); }
