#pragma once

/// The parameters of a function, and how the arguments of a call find them.

#include "python.hpp"

#include <cstdint>
#include <utility>
#include <vector>

#include "small_array.hpp"

namespace cachier::python {

/// The names of a function's locals, parameters first. Null: an exception is set.
[[nodiscard]] Ref names_of_locals(PyCodeObject* code) noexcept;

/// The arguments of one call, as CPython hands them over. Borrowed.
struct Arguments {
  PyObject* const* values = nullptr;  ///< positionals, then the values of keywords
  std::size_t positional = 0;
  PyObject* keywords = nullptr;  ///< tuple of names, or null

  [[nodiscard]] std::size_t keyword_count() const noexcept {
    return keywords == nullptr ? 0
                               : static_cast<std::size_t>(PyTuple_GET_SIZE(keywords));
  }
  [[nodiscard]] PyObject* keyword(std::size_t at) const noexcept {
    return PyTuple_GET_ITEM(keywords, static_cast<Py_ssize_t>(at));
  }
  [[nodiscard]] PyObject* keyword_value(std::size_t at) const noexcept {
    return values[positional + at];
  }
};

/// Arguments that are kept beyond their call.
class OwnedArguments {
 public:
  OwnedArguments() = default;
  explicit OwnedArguments(const Arguments& arguments);

  [[nodiscard]] Arguments view() const noexcept {
    return {values_.data(), positional_, keywords_.get()};
  }
  void add_positional(PyObject* value);
  /// Replaces an earlier one of this name. False: an exception is set.
  bool add_keyword(PyObject* name, PyObject* value);
  /// To be called after the last keyword. False: an exception is set.
  bool finish_keywords();

 private:
  std::vector<Ref> kept_;
  std::vector<PyObject*> values_;
  std::size_t positional_ = 0;
  std::vector<Ref> names_;
  Ref keywords_;
};

struct Parameters;

/// What each parameter of a call is bound to. Borrows from the call and the function,
/// but for what it keeps.
struct Bound {
  explicit Bound(const Parameters& parameters);

  SmallArray<PyObject*, 16> slots;  ///< in signature order
  PyObject* const* surplus = nullptr;
  std::size_t surplus_count = 0;
  std::vector<std::pair<PyObject*, PyObject*>> extra;  ///< extra keywords
  std::vector<Ref> kept;
};

/// The parameters of one function.
struct Parameters {
  /// Those of a plain function, read from its code. False: an exception is set.
  bool read_code(PyObject* function);
  /// Those that `cachier._signature.describe` lists: (name, kind, default or the
  /// ellipsis `Ellipsis` where there is none). False: an exception is set.
  bool read_description(PyObject* description);

  /// How a call binds. False: the function would refuse it, or, with an exception set,
  /// something failed.
  [[nodiscard]] bool bind(const Arguments& arguments, Bound& bound) const;

  [[nodiscard]] std::size_t count() const noexcept { return names.size(); }

  std::vector<Ref> names;  ///< interned; positional ones, then keyword-only ones
  std::size_t positional_only = 0;
  std::size_t positional = 0;  ///< those that may be given by position
  bool surplus = false;        ///< `*args`
  bool extra = false;          ///< `**kwargs`
  Ref surplus_name, extra_name;
  /// Whose defaults count at the moment of the call; null: `defaults` do.
  Ref function;
  std::vector<Ref> defaults;  ///< one for each name, empty where there is none
  /// How many at the front are not part of the key: 1 for `self`.
  std::size_t unkeyed = 0;
  /// The same of the surplus, where that is where they go.
  std::size_t unkeyed_surplus = 0;

  /// Leaves arguments out of keys: those of parameters, of `*args` and `**kwargs`, and
  /// extra keywords, by their names, a tuple of `str`.
  void leave_out(PyObject* left_out);
  /// Whether any is left out.
  [[nodiscard]] bool leaves_out() const noexcept { return !left_out_.empty(); }
  /// Whether the parameter is part of the key, `unkeyed` apart.
  [[nodiscard]] bool is_keyed(std::size_t at) const noexcept {
    return left_out_.empty() || !left_out_[at];
  }
  /// How many are part of the key.
  [[nodiscard]] std::size_t keyed_count() const noexcept;

  /// The parameter of this name that may be given by keyword, or `count()`.
  [[nodiscard]] std::size_t find(PyObject* name) const noexcept;
  void traverse(visitproc visit, void* arg, int& stop) const noexcept;

 private:
  [[nodiscard]] bool fill_defaults(Bound& bound) const;
  [[nodiscard]] bool is_left_out(PyObject* name) const noexcept;

  std::vector<bool> left_out_;       ///< by parameter, with one more; empty: none
  std::vector<Ref> left_out_names_;  ///< all that were given
  bool surplus_left_out_ = false;
  bool extra_left_out_ = false;
};

}  // namespace cachier::python
