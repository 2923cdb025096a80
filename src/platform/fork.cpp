#include "platform/fork.hpp"

#include <pthread.h>

#include <atomic>
#include <mutex>
#include <utility>

namespace cachier::platform {
namespace {

struct Registration {
  ForkHandlers handlers;
  const Registration* older;
};

using Handler = std::function<void()> ForkHandlers::*;

// Constant from the start and never destroyed: a fork can happen at any time.
constinit std::atomic<std::uint64_t> forks{0};
constinit std::atomic<const Registration*> newest{nullptr};
constinit std::mutex forking;                      // one fork at a time
constinit const Registration* prepared = nullptr;  // by the fork under way; under it

void run(const Registration& one, ForkStage stage, Handler handler) {
  if (one.handlers.stage == stage && one.handlers.*handler) (one.handlers.*handler)();
}

void run_newest_first(const Registration* one, ForkStage stage, Handler handler) {
  for (; one != nullptr; one = one->older) run(*one, stage, handler);
}

void run_oldest_first(const Registration* one, ForkStage stage, Handler handler) {
  if (one == nullptr) return;
  run_oldest_first(one->older, stage, handler);
  run(*one, stage, handler);
}

void run_after(Handler handler) {
  run_oldest_first(prepared, ForkStage::locking, handler);
  run_oldest_first(prepared, ForkStage::waiting, handler);
  forking.unlock();
}

extern "C" {

static void cachier_before_fork() {
  forking.lock();
  prepared = newest.load();
  run_newest_first(prepared, ForkStage::waiting, &ForkHandlers::before);
  run_newest_first(prepared, ForkStage::locking, &ForkHandlers::before);
}

static void cachier_after_fork_in_parent() { run_after(&ForkHandlers::in_parent); }

static void cachier_after_fork_in_child() {
  forks.fetch_add(1, std::memory_order_relaxed);
  run_after(&ForkHandlers::in_child);
}

}  // extern "C"

[[maybe_unused]] const int kInstalled = ::pthread_atfork(
    cachier_before_fork, cachier_after_fork_in_parent, cachier_after_fork_in_child);

}  // namespace

void at_fork(ForkHandlers handlers) {
  // Never freed.
  auto* const one = new Registration{std::move(handlers), newest.load()};
  while (!newest.compare_exchange_weak(one->older, one)) {
  }
}

std::uint64_t fork_count() noexcept { return forks.load(std::memory_order_relaxed); }

}  // namespace cachier::platform
