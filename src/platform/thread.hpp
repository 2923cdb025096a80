#pragma once

/// Threads of the library's own.

#include <pthread.h>

namespace cachier::platform {

/// A thread that leaves signals to the program's own threads, but for what it does
/// wrong itself. Nothing has to be done with one that a forked child finds: the thread
/// is not there.
class Thread {
 public:
  /// Runs `body(self)`. `name` has at most 15 characters. False: the system has no
  /// thread for us.
  [[nodiscard]] bool start(const char* name, void (*body)(void*), void* self) noexcept;
  /// Precondition: it was started, by this process.
  void join() noexcept;

 private:
  pthread_t thread_{};
};

}  // namespace cachier::platform
