#include "platform/fork.hpp"

#include <pthread.h>

#include <atomic>
#include <mutex>
#include <utility>
#include <vector>

namespace cachier::platform {
namespace {

std::atomic<std::uint64_t> forks{0};

/// Never destroyed: a fork can happen at any time. `pthread_atfork` itself takes no
/// arguments, so that one set of C functions stands for all.
struct Registry {
  std::mutex mutex;
  std::vector<ForkHandlers> handlers;
};

Registry& registry() noexcept {
  static auto* const handlers = new Registry;
  return *handlers;
}

extern "C" {

// The registry stays locked from before to after, so that its order does not change.
static void cachier_before_fork() {
  Registry& all = registry();
  all.mutex.lock();
  for (auto one = all.handlers.rbegin(); one != all.handlers.rend(); ++one) {
    if (one->before) one->before();
  }
}

static void cachier_after_fork_in_parent() {
  Registry& all = registry();
  for (const ForkHandlers& one : all.handlers) {
    if (one.in_parent) one.in_parent();
  }
  all.mutex.unlock();
}

static void cachier_after_fork_in_child() {
  forks.fetch_add(1, std::memory_order_relaxed);
  Registry& all = registry();
  for (const ForkHandlers& one : all.handlers) {
    if (one.in_child) one.in_child();
  }
  all.mutex.unlock();
}

}  // extern "C"

void install_once() {
  static const int installed = pthread_atfork(
      cachier_before_fork, cachier_after_fork_in_parent, cachier_after_fork_in_child);
  (void)installed;
}

}  // namespace

void at_fork(ForkHandlers handlers) {
  install_once();
  Registry& all = registry();
  const std::lock_guard lock(all.mutex);
  all.handlers.push_back(std::move(handlers));
}

std::uint64_t fork_count() noexcept { return forks.load(std::memory_order_relaxed); }

}  // namespace cachier::platform
