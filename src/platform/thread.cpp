#include "platform/thread.hpp"

#include <signal.h>

#include <memory>
#include <new>

namespace cachier::platform {
namespace {

struct Start {
  const char* name;
  void (*body)(void*);
  void* self;
};

void* run(void* given) {
  const Start start = *std::unique_ptr<Start>(static_cast<Start*>(given));
  ::pthread_setname_np(::pthread_self(), start.name);
  start.body(start.self);
  return nullptr;
}

}  // namespace

bool Thread::start(const char* name, void (*body)(void*), void* self) noexcept {
  std::unique_ptr<Start> start(new (std::nothrow) Start{name, body, self});
  if (!start) return false;
  sigset_t all, before;
  ::sigfillset(&all);
  // A fault of the thread's own ends the process where it is blocked, past any handler;
  // that of `sigbus.hpp` is there for this thread too.
  for (const int fault : {SIGBUS, SIGSEGV, SIGFPE, SIGILL, SIGTRAP, SIGSYS})
    ::sigdelset(&all, fault);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  const bool started = ::pthread_create(&thread_, nullptr, run, start.get()) == 0;
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (started) (void)start.release();
  return started;
}

void Thread::join() noexcept { ::pthread_join(thread_, nullptr); }

}  // namespace cachier::platform
