#include <cachier/log.hpp>

#include <memory>
#include <mutex>
#include <utility>

namespace cachier {
namespace {

struct Sink {
  std::mutex mutex;
  std::shared_ptr<const LogSink> current;
};

Sink& sink_of_process() noexcept {
  static auto* const sink = new Sink;
  return *sink;
}

}  // namespace

void set_log_sink(LogSink sink) {
  auto next = sink ? std::make_shared<const LogSink>(std::move(sink)) : nullptr;
  Sink& of_process = sink_of_process();
  const std::lock_guard lock(of_process.mutex);
  of_process.current.swap(next);
}

void log(LogLevel level, std::string_view message) noexcept {
  std::shared_ptr<const LogSink> current;
  {
    Sink& of_process = sink_of_process();
    const std::lock_guard lock(of_process.mutex);
    current = of_process.current;
  }
  if (current) (*current)(level, message);
}

}  // namespace cachier
