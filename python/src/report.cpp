#include "report.hpp"

#include <cachier/log.hpp>

#include <atomic>
#include <initializer_list>
#include <memory>
#include <new>
#include <string_view>
#include <utility>

namespace cachier::python {
namespace {

/// A message of the engine that is still to be told.
struct Message {
  LogLevel level;
  std::string text;
  std::unique_ptr<Message> next;  ///< said before this one
};

constexpr int kMostMessages = 64;
/// The last one said. A chain that is only pushed to, or taken whole.
std::atomic<Message*> messages{nullptr};
std::atomic<int> message_count{0};

void keep_message(LogLevel level, std::string_view text) noexcept {
  if (message_count.load(std::memory_order_relaxed) >= kMostMessages) return;
  try {
    auto made = std::make_unique<Message>(Message{level, std::string(text), nullptr});
    message_count.fetch_add(1, std::memory_order_relaxed);
    Message* last = messages.load(std::memory_order_relaxed);
    Message* const added = made.release();
    do {
      added->next.release();
      added->next.reset(last);
    } while (!messages.compare_exchange_weak(last, added, std::memory_order_acq_rel));
  } catch (const std::bad_alloc&) {
    return;  // it goes untold
  }
}

/// All that was kept, in the order in which it was said.
std::unique_ptr<Message> take_messages() noexcept {
  std::unique_ptr<Message> rest(messages.exchange(nullptr, std::memory_order_acq_rel));
  message_count.store(0, std::memory_order_relaxed);
  std::unique_ptr<Message> ordered;
  while (rest) {
    auto earlier = std::move(rest->next);
    rest->next = std::move(ordered);
    ordered = std::move(rest);
    rest = std::move(earlier);
  }
  return ordered;
}

/// Calls a function of `cachier._report`; what it raises is nobody's.
template <class... Arguments>
bool report(const char* function, const char* format, Arguments... arguments) noexcept {
  const ErrorsAside aside;
  const Ref module = import_module("cachier._report");
  const Ref done = module ? Ref::steal(interruptibly([&] {
    return PyObject_CallMethod(module.get(), function, format, arguments...);
  }))
                          : Ref();
  if (!done) PyErr_Clear();
  return static_cast<bool>(module);
}

/// A warning that needs nothing of the disk: where no file can be opened, no module
/// that is not there yet can be imported.
void warn_without_modules(const std::string& message) noexcept {
  const ErrorsAside aside;
  const Ref errors = import_module("cachier._errors");
  const Ref category =
      errors ? Ref::steal(PyObject_GetAttrString(errors.get(), "CachierWarning"))
             : Ref();
  const int done = category ? interruptibly([&] {
    return PyErr_WarnEx(category.get(), message.c_str(), 1);
  })
                            : -1;
  if (done < 0) PyErr_Clear();
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

void report_unstorable(const std::string& function, PyObject* exception) noexcept {
  report("unstorable", "sO", function.c_str(), exception);
}

void report_other_code(const std::string& function) noexcept {
  report("other_code", "s", function.c_str());
}

void report_failed_refresh(const std::string& function, PyObject* exception) noexcept {
  report("failed_refresh", "sO", function.c_str(), exception);
}

void report_long_wait(const std::string& function, std::uint32_t process) noexcept {
  report("long_wait", "sI", function.c_str(), static_cast<unsigned>(process));
}

void report_store_failure(const std::string& location,
                          const std::string& message) noexcept {
  // Said without the module that remembers what was said.
  static bool said = false;
  if (said || report("store_failure", "ss", location.c_str(), message.c_str())) return;
  said = true;
  warn_without_modules(message +
                       "\n  meanwhile: functions run uncached; this is said once");
}

void keep_engine_messages() { set_log_sink(keep_message); }

void report_engine_messages() noexcept {
  if (messages.load(std::memory_order_relaxed) == nullptr) [[likely]] {
    return;
  }
  // What is told may call cached functions, and these come here.
  for (auto told = take_messages(); told; told = std::move(told->next)) {
    report("engine_message", "is", static_cast<int>(told->level), told->text.c_str());
  }
}

void forget_engine_messages() noexcept { (void)take_messages(); }

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
