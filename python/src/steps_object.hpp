#pragma once

/// `cachier._core.Steps`: a call of a coroutine function on its way, for the driver in
/// `cachier/_coroutines.py`.

#include "python.hpp"

#include <cachier/engine.hpp>
#include <cachier/store.hpp>

namespace cachier::python {

[[nodiscard]] bool add_steps_type(PyObject* module);

/// The result of a call of `self`, if the store knows it without waiting, else its
/// steps. Null: an exception is set.
[[nodiscard]] PyObject* begin_steps(PyObject* self, const Id& id,
                                    const engine::Policy& policy, bool verbose);
/// The steps of a call that neither reads nor writes.
[[nodiscard]] PyObject* make_skipping_steps(PyObject* self);

/// The functions of the module that begin a call: of the tuple that the coroutine of
/// the call was made with, and its names.
PyObject* begin(PyObject* module, PyObject* const* values, Py_ssize_t count);
PyObject* open_and_begin(PyObject* module, PyObject* const* values, Py_ssize_t count);

}  // namespace cachier::python
