#pragma once

/// What is known of a call, asked without making it: methods of cached functions. They
/// take the arguments of the call, and its options.

#include "python.hpp"

namespace cachier::python {

using Question = PyObject*(PyObject* self, PyObject* const* values, Py_ssize_t count,
                           PyObject* keywords);

/// The call's digest, as listings show it.
Question key_of_call;
/// Whether a fresh result is stored.
Question is_cached;
/// The result that is stored and fresh, else None.
Question peek;
/// Removes the call's entry. Whether there was one.
Question invalidate;
/// All of that for `cachier._explain`: a dict.
Question examine;
/// What a call would do and why, in words.
Question explain;

}  // namespace cachier::python
