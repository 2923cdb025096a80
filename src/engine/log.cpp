#include <cachier/log.hpp>

#include "platform/fork.hpp"
#include "platform/lock.hpp"

#include <functional>
#include <memory>
#include <mutex>
#include <new>
#include <set>
#include <string>
#include <utility>

namespace cachier {
namespace {

struct Sink {
  platform::Lock lock;
  std::shared_ptr<const LogSink> current;
  std::set<std::string, std::less<>> told;  ///< subjects of `log_once`
};

Sink& sink_of_process() noexcept {
  static auto* const sink = [] {
    auto* const made = new Sink;
    platform::hold_over_forks(made->lock);
    return made;
  }();
  return *sink;
}

[[maybe_unused]] const Sink& made_at_load = sink_of_process();

}  // namespace

void set_log_sink(LogSink sink) {
  auto next = sink ? std::make_shared<const LogSink>(std::move(sink)) : nullptr;
  Sink& of_process = sink_of_process();
  const std::lock_guard hold(of_process.lock);
  of_process.current.swap(next);
  of_process.told.clear();
}

void log(LogLevel level, std::string_view message) noexcept {
  std::shared_ptr<const LogSink> current;
  {
    Sink& of_process = sink_of_process();
    const std::lock_guard hold(of_process.lock);
    current = of_process.current;
  }
  if (current) (*current)(level, message);
}

void log_once(LogLevel level, std::string_view subject,
              std::string_view message) noexcept {
  try {
    Sink& of_process = sink_of_process();
    const std::lock_guard hold(of_process.lock);
    if (!of_process.current || of_process.told.contains(subject)) return;
    of_process.told.emplace(subject);
  } catch (const std::bad_alloc&) {
    return;  // the next time
  }
  log(level, message);
}

}  // namespace cachier
