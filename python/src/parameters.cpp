#include "parameters.hpp"

#include <algorithm>

namespace cachier::python {
namespace {

/// The values that `inspect` gives to its kinds of parameters.
enum class Kind : long {
  positional_only = 0,
  positional_or_keyword = 1,
  surplus = 2,
  keyword_only = 3,
  extra = 4,
};

bool is_same_name(PyObject* a, PyObject* b) noexcept {
  if (a == b) return true;
  return PyUnicode_Compare(a, b) == 0;
}

Ref interned(PyObject* name) {
  PyObject* own = Py_NewRef(name);
  PyUnicode_InternInPlace(&own);
  return Ref::steal(own);
}

}  // namespace

Ref names_of_locals(PyCodeObject* code) noexcept {
#if PY_VERSION_HEX >= 0x030b0000
  return Ref::steal(PyCode_GetVarnames(code));
#else
  return Ref::borrow(code->co_varnames);
#endif
}

OwnedArguments::OwnedArguments(const Arguments& arguments)
    : positional_(arguments.positional), keywords_(Ref::borrow(arguments.keywords)) {
  const std::size_t count = arguments.positional + arguments.keyword_count();
  kept_.reserve(count);
  values_.reserve(count);
  for (std::size_t at = 0; at < count; ++at) {
    kept_.push_back(Ref::borrow(arguments.values[at]));
    values_.push_back(arguments.values[at]);
  }
}

void OwnedArguments::add_positional(PyObject* value) {
  kept_.push_back(Ref::borrow(value));
  values_.push_back(value);
  ++positional_;
}

bool OwnedArguments::add_keyword(PyObject* name, PyObject* value) {
  kept_.push_back(Ref::borrow(value));
  for (std::size_t at = 0; at < names_.size(); ++at) {
    if (is_same_name(names_[at].get(), name)) {
      values_[positional_ + at] = value;
      return !PyErr_Occurred();
    }
  }
  names_.push_back(Ref::borrow(name));
  values_.push_back(value);
  return true;
}

bool OwnedArguments::finish_keywords() {
  if (names_.empty()) return true;
  keywords_ = Ref::steal(PyTuple_New(static_cast<Py_ssize_t>(names_.size())));
  if (!keywords_) return false;
  for (std::size_t at = 0; at < names_.size(); ++at) {
    PyTuple_SET_ITEM(keywords_.get(), static_cast<Py_ssize_t>(at),
                     names_[at].release());
  }
  names_.clear();
  return true;
}

Bound::Bound(const Parameters& parameters) : slots(parameters.count()) {}

bool Parameters::read_code(PyObject* of) {
  auto* const code = reinterpret_cast<PyCodeObject*>(PyFunction_GET_CODE(of));
  positional = static_cast<std::size_t>(code->co_argcount);
  positional_only = static_cast<std::size_t>(code->co_posonlyargcount);
  const auto keyword_only = static_cast<std::size_t>(code->co_kwonlyargcount);
  const int flags = code->co_flags;
  const Ref locals = names_of_locals(code);
  if (!locals) return false;
  const auto local = [&](std::size_t at) {
    return interned(PyTuple_GET_ITEM(locals.get(), static_cast<Py_ssize_t>(at)));
  };
  names.reserve(positional + keyword_only);
  std::size_t at = 0;
  while (at < positional + keyword_only) names.push_back(local(at++));
  surplus = (flags & CO_VARARGS) != 0;
  if (surplus) surplus_name = local(at++);
  extra = (flags & CO_VARKEYWORDS) != 0;
  if (extra) extra_name = local(at++);
  function = Ref::borrow(of);
  return true;
}

bool Parameters::read_description(PyObject* description) {
  const Ref items =
      Ref::steal(PySequence_Fast(description, "a description is a list of parameters"));
  if (!items) return false;
  const Py_ssize_t size = PySequence_Fast_GET_SIZE(items.get());
  for (Py_ssize_t at = 0; at < size; ++at) {
    PyObject *name = nullptr, *fallback = nullptr;
    long kind = 0;
    if (!PyArg_ParseTuple(PySequence_Fast_GET_ITEM(items.get(), at), "UlO", &name,
                          &kind, &fallback)) {
      return false;
    }
    switch (static_cast<Kind>(kind)) {
      case Kind::positional_only:
        ++positional_only;
        [[fallthrough]];
      case Kind::positional_or_keyword:
        ++positional;
        [[fallthrough]];
      case Kind::keyword_only:
        names.push_back(interned(name));
        defaults.push_back(fallback == Py_Ellipsis ? Ref() : Ref::borrow(fallback));
        break;
      case Kind::surplus:
        surplus = true;
        surplus_name = interned(name);
        break;
      case Kind::extra:
        extra = true;
        extra_name = interned(name);
        break;
    }
  }
  return true;
}

std::size_t Parameters::find(PyObject* name) const noexcept {
  for (std::size_t at = positional_only; at < names.size(); ++at) {
    if (names[at].get() == name) return at;
  }
  if (PyUnicode_CHECK_INTERNED(name) != 0) return names.size();
  for (std::size_t at = positional_only; at < names.size(); ++at) {
    if (PyUnicode_Compare(names[at].get(), name) == 0) return at;
  }
  return names.size();
}

bool Parameters::bind(const Arguments& arguments, Bound& bound) const {
  std::size_t at = 0;
  for (; at < arguments.positional && at < positional; ++at) {
    bound.slots[at] = arguments.values[at];
  }
  if (at < arguments.positional) {
    if (!surplus) return false;
    at = std::min(at + unkeyed_surplus, arguments.positional);
    bound.surplus = arguments.values + at;
    bound.surplus_count = surplus_left_out_ ? 0 : arguments.positional - at;
  }
  const std::size_t keywords = arguments.keyword_count();
  for (std::size_t n = 0; n < keywords; ++n) {
    PyObject* const name = arguments.keyword(n);
    const std::size_t slot = find(name);
    if (slot < count()) {
      if (bound.slots[slot] != nullptr) return false;
      bound.slots[slot] = arguments.keyword_value(n);
    } else if (extra) {
      if (!left_out_.empty() && is_left_out(name)) continue;
      bound.extra.emplace_back(name, arguments.keyword_value(n));
    } else {
      return false;
    }
  }
  return fill_defaults(bound);
}

void Parameters::leave_out(PyObject* left_out) {
  for (Py_ssize_t at = 0; at < PyTuple_GET_SIZE(left_out); ++at) {
    left_out_names_.push_back(interned(PyTuple_GET_ITEM(left_out, at)));
  }
  if (left_out_names_.empty()) return;
  const auto is_named = [this](const Ref& name) {
    return name && std::ranges::any_of(left_out_names_, [&](const Ref& one) {
             return is_same_name(one.get(), name.get());
           });
  };
  for (const Ref& name : names) left_out_.push_back(is_named(name));
  left_out_.push_back(true);  // never empty
  surplus_left_out_ = is_named(surplus_name);
  extra_left_out_ = is_named(extra_name);
}

bool Parameters::is_left_out(PyObject* name) const noexcept {
  return extra_left_out_ ||
         std::ranges::any_of(left_out_names_, [name](const Ref& one) {
           return is_same_name(one.get(), name);
         });
}

std::size_t Parameters::keyed_count() const noexcept {
  if (left_out_.empty()) return count() - unkeyed;
  return static_cast<std::size_t>(
      std::count(left_out_.begin() + static_cast<std::ptrdiff_t>(unkeyed),
                 left_out_.end() - 1, false));
}

bool Parameters::fill_defaults(Bound& bound) const {
  PyObject* given = nullptr;
  PyObject* by_keyword = nullptr;
  std::size_t first_given = positional;
  if (function) {
    given = PyFunction_GET_DEFAULTS(function.get());
    by_keyword = PyFunction_GET_KW_DEFAULTS(function.get());
    if (given != nullptr) {
      const auto size = static_cast<std::size_t>(PyTuple_GET_SIZE(given));
      first_given = size < positional ? positional - size : 0;
    }
  }
  bool keep_given = false;
  for (std::size_t at = 0; at < count(); ++at) {
    PyObject*& slot = bound.slots[at];
    if (slot != nullptr) continue;
    if (!function) {
      slot = defaults[at].get();
    } else if (at < positional) {
      if (at >= first_given && given != nullptr) {
        slot = PyTuple_GET_ITEM(given, static_cast<Py_ssize_t>(at - first_given));
        keep_given = true;
      }
    } else if (by_keyword != nullptr) {
      slot = PyDict_GetItemWithError(by_keyword, names[at].get());
      if (slot != nullptr) bound.kept.push_back(Ref::borrow(slot));
    }
    if (slot == nullptr) return false;
  }
  // The function may be given other defaults while these are in use.
  if (keep_given) bound.kept.push_back(Ref::borrow(given));
  return true;
}

void Parameters::traverse(visitproc visit, void* arg, int& stop) const noexcept {
  if (stop == 0 && function) stop = visit(function.get(), arg);
  for (const Ref& fallback : defaults) {
    if (stop == 0 && fallback) stop = visit(fallback.get(), arg);
  }
}

}  // namespace cachier::python
