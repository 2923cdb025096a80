#include "python.hpp"

#include <datetime.h>

#include "call_options.hpp"

#include <string>

namespace cachier::python {
namespace {

enum class Option : std::size_t {
  max_age,
  skip_cache,
  overwrite_cache,
  verbose,
  allow_none,
  stale_after,
  next_time,
  cleanup_stale,
  cleanup_interval,
  old_skip_cache,
  old_overwrite_cache,
  old_verbose,
  count_
};

constexpr std::size_t kOptions = static_cast<std::size_t>(Option::count_);

/// In the order of `Option`.
constexpr std::array<const char*, kOptions> kNames{
    "max_age",
    "cachier__skip_cache",
    "cachier__overwrite_cache",
    "cachier__verbose",
    "cachier__allow_none",
    "cachier__stale_after",
    "cachier__next_time",
    "cachier__cleanup_stale",
    "cachier__cleanup_interval",
    "ignore_cache",
    "overwrite_cache",
    "verbose_cache",
};

/// Interned, owned for ever.
std::array<PyObject*, kOptions> names{};

Option option_of(PyObject* name) noexcept {
  for (std::size_t at = 0; at < kOptions; ++at) {
    if (names[at] == name) return static_cast<Option>(at);
  }
  if (PyUnicode_CHECK_INTERNED(name) != 0) return Option::count_;
  for (std::size_t at = 0; at < kOptions; ++at) {
    if (PyUnicode_Compare(names[at], name) == 0) return static_cast<Option>(at);
  }
  return Option::count_;
}

bool read_flag(PyObject* value, bool& flag) {
  const int truth = PyObject_IsTrue(value);
  flag = truth > 0;
  return truth >= 0;
}

bool read_flag(PyObject* value, std::optional<bool>& flag) {
  if (value == Py_None) return true;
  bool given = false;
  if (!read_flag(value, given)) return false;
  flag = given;
  return true;
}

bool read_duration(PyObject* value, Option option, std::optional<Duration>& duration) {
  if (value == Py_None) return true;
  Duration given{};
  if (!read_timedelta(value, kNames[static_cast<std::size_t>(option)], given)) {
    return false;
  }
  duration = given;
  return true;
}

/// The new spelling of an old option.
constexpr Option new_spelling(Option option) noexcept {
  switch (option) {
    case Option::old_skip_cache:
      return Option::skip_cache;
    case Option::old_overwrite_cache:
      return Option::overwrite_cache;
    case Option::old_verbose:
      return Option::verbose;
    default:
      return option;
  }
}

/// A warning about how the program is written must not reach whoever called it.
void warn_of_old_spelling(Option option) {
  const char* const name = kNames[static_cast<std::size_t>(option)];
  const char* const instead = kNames[static_cast<std::size_t>(new_spelling(option))];
  const int warned = interruptibly([&] {
    return PyErr_WarnFormat(PyExc_DeprecationWarning, 1,
                            "`%s` is deprecated and will be removed; use `%s` instead",
                            name, instead);
  });
  if (warned < 0) PyErr_Clear();
}

bool read_option(Option option, PyObject* value, CallOptions& options) {
  switch (option) {
    case Option::max_age:
      return read_duration(value, option, options.max_age);
    case Option::skip_cache:
      return read_flag(value, options.skip_cache);
    case Option::overwrite_cache:
      return read_flag(value, options.overwrite_cache);
    case Option::verbose:
      return read_flag(value, options.verbose);
    case Option::allow_none:
      return read_flag(value, options.allow_none);
    case Option::stale_after:
      return read_duration(value, option, options.stale_after);
    case Option::next_time:
      return read_flag(value, options.next_time);
    case Option::cleanup_stale:
      return read_flag(value, options.cleanup_stale);
    case Option::cleanup_interval:
      return read_duration(value, option, options.cleanup_interval);
    case Option::old_skip_cache:
    case Option::old_overwrite_cache:
    case Option::old_verbose:
    case Option::count_:
      break;
  }
  return true;
}

}  // namespace

bool make_option_names() {
  for (std::size_t at = 0; at < kOptions; ++at) {
    if (names[at] == nullptr) names[at] = PyUnicode_InternFromString(kNames[at]);
    if (names[at] == nullptr) return false;
  }
  return true;
}

bool is_call_option(PyObject* name) noexcept {
  return option_of(name) != Option::count_;
}

bool read_timedelta(PyObject* object, const char* option, Duration& duration) {
  if (PyDateTimeAPI == nullptr) PyDateTime_IMPORT;
  if (PyDateTimeAPI == nullptr) return false;
  if (!PyDelta_Check(object)) {
    PyErr_Format(PyExc_TypeError,
                 "%s must be a datetime.timedelta, not %.100s\n"
                 "  fix: write for instance %s=datetime.timedelta(hours=1)",
                 option, Py_TYPE(object)->tp_name, option);
    return false;
  }
  constexpr std::int64_t kNanosecondsOfDay = 86'400'000'000'000;
  const std::int64_t days = PyDateTime_DELTA_GET_DAYS(object);
  const std::int64_t rest =
      std::int64_t{PyDateTime_DELTA_GET_SECONDS(object)} * 1'000'000'000 +
      std::int64_t{PyDateTime_DELTA_GET_MICROSECONDS(object)} * 1'000;
  const std::int64_t most = Duration::max().count() / kNanosecondsOfDay - 1;
  if (days > most) {
    duration = kNoLimit;
  } else if (days < -most) {
    duration = Duration::min();
  } else {
    duration = Duration(days * kNanosecondsOfDay + rest);
  }
  return true;
}

bool Stripped::take(Arguments& arguments, CallOptions& options) {
  const std::size_t count = arguments.keyword_count();
  std::array<PyObject*, kOptions> given{};
  std::size_t found = 0;
  for (std::size_t at = 0; at < count; ++at) {
    const Option option = option_of(arguments.keyword(at));
    if (option == Option::count_) continue;
    given[static_cast<std::size_t>(option)] = arguments.keyword_value(at);
    ++found;
  }
  if (found == 0) return true;

  for (std::size_t at = 0; at < kOptions; ++at) {
    const auto option = static_cast<Option>(at);
    const Option current = new_spelling(option);
    if (given[at] == nullptr) continue;
    if (current == option) {
      if (!read_option(option, given[at], options)) return false;
      continue;
    }
    warn_of_old_spelling(option);
    if (given[static_cast<std::size_t>(current)] == nullptr &&
        !read_option(current, given[at], options)) {
      return false;
    }
  }

  values_.reserve(arguments.positional + count - found);
  values_.assign(arguments.values, arguments.values + arguments.positional);
  if (count > found) {
    keywords_ = Ref::steal(PyTuple_New(static_cast<Py_ssize_t>(count - found)));
    if (!keywords_) return false;
  }
  Py_ssize_t next = 0;
  for (std::size_t at = 0; at < count; ++at) {
    PyObject* const name = arguments.keyword(at);
    if (option_of(name) != Option::count_) continue;
    PyTuple_SET_ITEM(keywords_.get(), next++, Py_NewRef(name));
    values_.push_back(arguments.keyword_value(at));
  }
  arguments = {values_.data(), arguments.positional, keywords_.get()};
  return true;
}

}  // namespace cachier::python
