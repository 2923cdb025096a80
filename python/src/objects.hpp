#pragma once

/// The types that `cachier._core` defines.

#include "python.hpp"

#include <cachier/backend.hpp>
#include <cachier/store.hpp>

#include <memory>
#include <string>

#include "live_store.hpp"

namespace cachier::python {

/// What Python holds of a store.
struct StoreHandle {
  PyObject_HEAD std::shared_ptr<Store>* store;  ///< null within: not opened yet
  LiveStore* live;                              ///< the same, if it is one
  StoreSpec* spec;                              ///< what to open
};

/// The store of a handle, opened when it is first needed. Releases the GIL meanwhile.
[[nodiscard]] Result<std::shared_ptr<Store>> store_of(PyObject* handle);
/// Where it lives, for people, opened or not.
[[nodiscard]] std::string location_of(PyObject* handle);

/// The types, made by `make_types` and owned for ever.
extern PyTypeObject* cached_function_type;
extern PyTypeObject* bound_function_type;
extern PyTypeObject* store_handle_type;

/// Makes the types and adds them to the module. False: an exception is set.
[[nodiscard]] bool add_cached_function_type(PyObject* module);
[[nodiscard]] bool add_bound_function_type(PyObject* module);
[[nodiscard]] bool add_store_handle_type(PyObject* module);

/// `function` as a method of `object`. Null: an exception is set.
[[nodiscard]] PyObject* bind_function(PyObject* function, PyObject* object);

/// `open_store(backend, cache_dir)` of the module.
PyObject* open_store_handle(PyObject* module, PyObject* arguments);
/// `open_client_store(adapter, name)` of the module.
PyObject* open_client_store(PyObject* module, PyObject* arguments);

/// Tells every live store that this is the child of a fork.
void live_stores_after_fork() noexcept;

/// Makes a type, or gives the one made before. Null: an exception is set.
[[nodiscard]] PyTypeObject* add_type(PyObject* module, PyType_Spec& spec,
                                     PyTypeObject*& kept);

}  // namespace cachier::python
