#pragma once

/// What decorating asks so often that it is asked here.

#include "python.hpp"

namespace cachier::python {

/// `given_options(names, values, defaults)` of the module: a dict of those that are
/// neither None nor what `defaults` has.
PyObject* given_options(PyObject* module, PyObject* const* values, Py_ssize_t count);

/// `plain_function_id(function, key_prefix, name, version)` of the module: the id of a
/// function that has nothing of its own: written in Python, in a file, at the top of a
/// module or of a class that are found again by their names; no generator, no method,
/// no wrapper, without parameters that are options of a call. Any other: None.
PyObject* plain_function_id(PyObject* module, PyObject* const* values,
                            Py_ssize_t count);

/// `look_like(cached, function)` of the module: name, documentation and attributes of
/// what is behind.
PyObject* look_like(PyObject* module, PyObject* const* values, Py_ssize_t count);

}  // namespace cachier::python
