#include "report.hpp"

#include <initializer_list>

namespace cachier::python {
namespace {

/// Calls a function of `cachier._report`; what it raises is nobody's.
template <class... Arguments>
void report(const char* function, const char* format, Arguments... arguments) noexcept {
  const ErrorsAside aside;
  const Ref module = import_module("cachier._report");
  const Ref done = module ? Ref::steal(interruptibly([&] {
    return PyObject_CallMethod(module.get(), function, format, arguments...);
  }))
                          : Ref();
  if (!done) PyErr_Clear();
}

void record(PyObject* metrics, std::initializer_list<const char*> methods) noexcept {
  const ErrorsAside aside;
  for (const char* const method : methods) {
    const Ref done = Ref::steal(
        interruptibly([&] { return PyObject_CallMethod(metrics, method, nullptr); }));
    if (!done) PyErr_Clear();
  }
}

}  // namespace

void report_unreadable(const std::string& function, PyObject* exception) noexcept {
  report("unreadable", "sO", function.c_str(), exception);
}

void report_failed_refresh(const std::string& function, PyObject* exception) noexcept {
  report("failed_refresh", "sO", function.c_str(), exception);
}

void report_long_wait(const std::string& function, std::uint32_t process) noexcept {
  report("long_wait", "sI", function.c_str(), static_cast<unsigned>(process));
}

void report_store_failure(const std::string& location,
                          const std::string& message) noexcept {
  report("store_failure", "ss", location.c_str(), message.c_str());
}

void report_network_file_system(const std::string& location) noexcept {
  report("network_file_system", "s", location.c_str());
}

void record_step(PyObject* metrics, engine::Step step, bool waited) noexcept {
  switch (step) {
    case engine::Step::entry_found:
      // Whoever was served by another's computation neither hit nor missed.
      if (!waited) record(metrics, {"record_hit"});
      break;
    case engine::Step::entry_stale:
      record(metrics, {"record_stale_hit", "record_miss", "record_recalculation"});
      break;
    case engine::Step::no_entry:
      record(metrics, {"record_miss", "record_recalculation"});
      break;
    case engine::Step::too_large:
      record(metrics, {"record_size_limit_rejection"});
      break;
    case engine::Step::waiting:
    case engine::Step::calling:
    case engine::Step::stored:
      break;
  }
}

void record_call(PyObject* metrics, std::chrono::nanoseconds took,
                 bool timed_out) noexcept {
  if (timed_out) record(metrics, {"record_wait_timeout"});
  const ErrorsAside aside;
  const double seconds = std::chrono::duration<double>(took).count();
  const Ref done = Ref::steal(interruptibly(
      [&] { return PyObject_CallMethod(metrics, "record_latency", "d", seconds); }));
  if (!done) PyErr_Clear();
}

}  // namespace cachier::python
