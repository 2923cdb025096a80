#pragma once

/// The options that a call may bring along with its arguments.

#include "python.hpp"

#include <cachier/entry.hpp>

#include <array>
#include <cstddef>
#include <optional>
#include <vector>

#include "parameters.hpp"

namespace cachier::python {

/// What one call asks for. Not given: what the function, or the program, says.
struct CallOptions {
  std::optional<Duration> max_age;
  std::optional<Duration> stale_after;
  std::optional<bool> next_time;
  std::optional<bool> allow_none;
  std::optional<bool> cleanup_stale;
  std::optional<Duration> cleanup_interval;
  bool skip_cache = false;
  bool overwrite_cache = false;
  bool verbose = false;
};

/// Call once. False: an exception is set.
[[nodiscard]] bool make_option_names();

/// Whether `name` (a `str`) is the name of an option of a call.
[[nodiscard]] bool is_call_option(PyObject* name) noexcept;

/// A `datetime.timedelta` as a duration; what is longer than a duration can be is no
/// limit. False: an exception is set that names `option`.
[[nodiscard]] bool read_timedelta(PyObject* object, const char* option,
                                  Duration& duration);

/// The arguments of a call without its options.
class Stripped {
 public:
  /// Whether there are any among the keywords. They then are in `options`, and
  /// `arguments` is changed to what remains, which this keeps. False: an exception is
  /// set.
  [[nodiscard]] bool take(Arguments& arguments, CallOptions& options);

 private:
  std::vector<PyObject*> values_;
  Ref keywords_;
};

}  // namespace cachier::python
