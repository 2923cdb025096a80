/// `cachier._core.BoundCachedFunction`: a cached function as a method of an object.
///
/// Not a `types.MethodType`, because `obj.f.precache_value(...)` is to know the object.

#include "python.hpp"

#include <structmember.h>

#include <array>
#include <cstdint>

#include "cached.hpp"
#include "objects.hpp"

namespace cachier::python {

PyTypeObject* bound_function_type = nullptr;

namespace {

struct BoundFunction {
  PyObject_HEAD vectorcallfunc vectorcall;
  PyObject* function;
  PyObject* object;
  PyObject* weak_references;
};

BoundFunction& bound_of(PyObject* self) noexcept {
  return *reinterpret_cast<BoundFunction*>(self);
}

/// The arguments of a call with the object in front.
class WithObject {
 public:
  WithObject(PyObject* object, PyObject* const* values, std::size_t count)
      : all_(count + 1) {
    all_[0] = object;
    for (std::size_t at = 0; at < count; ++at) all_[at + 1] = values[at];
  }
  [[nodiscard]] PyObject* const* data() noexcept { return all_.data(); }

 private:
  SmallArray<PyObject*, 16> all_;
};

PyObject* call(PyObject* self, PyObject* const* values, std::size_t count,
               PyObject* keywords) {
  BoundFunction& bound = bound_of(self);
  const auto positional = static_cast<std::size_t>(PyVectorcall_NARGS(count));
  const std::size_t named =
      keywords == nullptr ? 0 : static_cast<std::size_t>(PyTuple_GET_SIZE(keywords));
  if ((count & PY_VECTORCALL_ARGUMENTS_OFFSET) != 0) {
    // The place before the arguments is ours for the time of the call.
    PyObject** const all = const_cast<PyObject**>(values) - 1;
    PyObject* const before = all[0];
    all[0] = bound.object;
    PyObject* const result =
        PyObject_Vectorcall(bound.function, all, positional + 1, keywords);
    all[0] = before;
    return result;
  }
  WithObject all(bound.object, values, positional + named);
  return PyObject_Vectorcall(bound.function, all.data(), positional + 1, keywords);
}

/// Methods of the function that take the arguments of a call, and so the object.
enum class Method : std::uint8_t {
  precache_value,
  key,
  is_cached,
  peek,
  invalidate,
  explain,
};
constexpr std::array<const char*, 6> kMethods{
    "precache_value", "key", "is_cached", "peek", "invalidate", "explain"};

template <Method kMethod>
PyObject* with_object(PyObject* self, PyObject* const* values, Py_ssize_t count,
                      PyObject* keywords) {
  BoundFunction& bound = bound_of(self);
  const Ref method = Ref::steal(PyObject_GetAttrString(
      bound.function, kMethods[static_cast<std::size_t>(kMethod)]));
  if (!method) return nullptr;
  const auto positional = static_cast<std::size_t>(count);
  const std::size_t named =
      keywords == nullptr ? 0 : static_cast<std::size_t>(PyTuple_GET_SIZE(keywords));
  WithObject all(bound.object, values, positional + named);
  return PyObject_Vectorcall(method.get(), all.data(), positional + 1, keywords);
}

/// What it has not of its own is the function's.
PyObject* get_attribute(PyObject* self, PyObject* name) {
  PyObject* const own = PyObject_GenericGetAttr(self, name);
  if (own != nullptr || !PyErr_ExceptionMatches(PyExc_AttributeError)) return own;
  PyErr_Clear();
  return PyObject_GetAttr(bound_of(self).function, name);
}

PyObject* get_function(PyObject* self, void*) {
  return Py_NewRef(bound_of(self).function);
}
PyObject* get_object(PyObject* self, void*) { return Py_NewRef(bound_of(self).object); }
PyObject* get_doc(PyObject* self, void*) {
  return PyObject_GetAttrString(bound_of(self).function, "__doc__");
}
PyObject* get_module(PyObject* self, void*) {
  return PyObject_GetAttrString(bound_of(self).function, "__module__");
}
PyObject* get_signature(PyObject* self, void*) {
  const Ref module = Ref::steal(PyImport_ImportModule("cachier._signature"));
  return module ? PyObject_CallMethod(module.get(), "of_bound", "O",
                                      bound_of(self).function)
                : nullptr;
}
/// `inspect.unwrap` must not lose the object.
PyObject* no_attribute(PyObject*, void*) {
  PyErr_SetString(PyExc_AttributeError, "__wrapped__");
  return nullptr;
}

PyObject* reduce(PyObject* self, PyObject*) {
  const BoundFunction& bound = bound_of(self);
  const Ref builtins = Ref::steal(PyImport_ImportModule("builtins"));
  const Ref getter =
      builtins ? Ref::steal(PyObject_GetAttrString(builtins.get(), "getattr")) : Ref();
  const Ref name = Ref::steal(PyObject_GetAttrString(bound.function, "__name__"));
  if (!getter || !name) return nullptr;
  return Py_BuildValue("O(OO)", getter.get(), bound.object, name.get());
}

PyObject* compare(PyObject* self, PyObject* other, int operation) {
  if ((operation != Py_EQ && operation != Py_NE) ||
      Py_TYPE(other) != bound_function_type) {
    return Py_NewRef(Py_NotImplemented);
  }
  const BoundFunction& a = bound_of(self);
  const BoundFunction& b = bound_of(other);
  const bool equal = a.function == b.function && a.object == b.object;
  return PyBool_FromLong(equal == (operation == Py_EQ) ? 1 : 0);
}

Py_hash_t hash(PyObject* self) {
  const BoundFunction& bound = bound_of(self);
  const auto mixed = reinterpret_cast<std::uintptr_t>(bound.function) * 31 +
                     (reinterpret_cast<std::uintptr_t>(bound.object) >> 4U);
  const auto value = static_cast<Py_hash_t>(mixed);
  return value == -1 ? -2 : value;
}

PyObject* represent(PyObject* self) {
  const BoundFunction& bound = bound_of(self);
  const Ref name = Ref::steal(PyObject_GetAttrString(bound.function, "__qualname__"));
  return name ? PyUnicode_FromFormat("<bound cached function %S of %R>", name.get(),
                                     bound.object)
              : nullptr;
}

PyObject* make(PyTypeObject*, PyObject* arguments, PyObject*) {
  PyObject *function = nullptr, *object = nullptr;
  if (!PyArg_ParseTuple(arguments, "O!O", cached_function_type, &function, &object)) {
    return nullptr;
  }
  return bind_function(function, object);
}

int traverse(PyObject* self, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(self));
  Py_VISIT(bound_of(self).function);
  Py_VISIT(bound_of(self).object);
  return 0;
}

void deallocate(PyObject* self) {
  PyTypeObject* const type = Py_TYPE(self);
  PyObject_GC_UnTrack(self);
  BoundFunction& bound = bound_of(self);
  if (bound.weak_references != nullptr) PyObject_ClearWeakRefs(self);
  Py_CLEAR(bound.function);
  Py_CLEAR(bound.object);
  type->tp_free(self);
  Py_DECREF(type);
}

PyMethodDef methods[] = {
    {"precache_value", as_cfunction(guarded<with_object<Method::precache_value>>),
     METH_FASTCALL | METH_KEYWORDS,
     "Store a value as the result of a call of this method."},
    {"key", as_cfunction(guarded<with_object<Method::key>>),
     METH_FASTCALL | METH_KEYWORDS, "Give the digest of a call of this method."},
    {"is_cached", as_cfunction(guarded<with_object<Method::is_cached>>),
     METH_FASTCALL | METH_KEYWORDS,
     "Tell whether a fresh result of a call of this method is stored."},
    {"peek", as_cfunction(guarded<with_object<Method::peek>>),
     METH_FASTCALL | METH_KEYWORDS,
     "Give the fresh result that is stored for a call of this method, else None."},
    {"invalidate", as_cfunction(guarded<with_object<Method::invalidate>>),
     METH_FASTCALL | METH_KEYWORDS, "Remove the entry of a call of this method."},
    {"explain", as_cfunction(guarded<with_object<Method::explain>>),
     METH_FASTCALL | METH_KEYWORDS,
     "Say in words what a call of this method would do now, and why."},
    {"__reduce__", reduce, METH_NOARGS, nullptr},
    {nullptr, nullptr, 0, nullptr}};

PyGetSetDef properties[] = {{"__func__", get_function, nullptr, nullptr, nullptr},
                            {"__self__", get_object, nullptr, nullptr, nullptr},
                            {"__doc__", get_doc, nullptr, nullptr, nullptr},
                            {"__module__", get_module, nullptr, nullptr, nullptr},
                            {"__signature__", get_signature, nullptr, nullptr, nullptr},
                            {"__wrapped__", no_attribute, nullptr, nullptr, nullptr},
                            {nullptr, nullptr, nullptr, nullptr, nullptr}};

PyMemberDef members[] = {{"__vectorcalloffset__", T_PYSSIZET,
                          offsetof(BoundFunction, vectorcall), READONLY, nullptr},
                         {"__weaklistoffset__", T_PYSSIZET,
                          offsetof(BoundFunction, weak_references), READONLY, nullptr},
                         {nullptr, 0, 0, 0, nullptr}};

PyType_Slot slots[] = {{Py_tp_new, as_slot(make)},
                       {Py_tp_call, as_slot(PyVectorcall_Call)},
                       {Py_tp_traverse, as_slot(traverse)},
                       {Py_tp_dealloc, as_slot(deallocate)},
                       {Py_tp_getattro, as_slot(get_attribute)},
                       {Py_tp_richcompare, as_slot(compare)},
                       {Py_tp_hash, as_slot(hash)},
                       {Py_tp_repr, as_slot(represent)},
                       {Py_tp_methods, methods},
                       {Py_tp_getset, properties},
                       {Py_tp_members, members},
                       {0, nullptr}};

PyType_Spec spec = {
    "cachier._core.BoundCachedFunction", sizeof(BoundFunction), 0,
    static_cast<unsigned>(Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
                          Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_IMMUTABLETYPE),
    slots};

}  // namespace

bool add_bound_function_type(PyObject* module) {
  return add_type(module, spec, bound_function_type) != nullptr;
}

PyObject* bind_function(PyObject* function, PyObject* object) {
  PyObject* const self = bound_function_type->tp_alloc(bound_function_type, 0);
  if (self == nullptr) return nullptr;
  BoundFunction& bound = bound_of(self);
  bound.vectorcall = guarded<call>;
  bound.function = Py_NewRef(function);
  bound.object = Py_NewRef(object);
  return self;
}

}  // namespace cachier::python
