#pragma once

/// One background thread per process, for the upkeep of stores.
///
/// It starts with the first request and is gone in a child of `fork`, where the next
/// request starts a new one. Signals are left to the program's own threads, but for
/// what the thread itself does wrong.

#include <atomic>
#include <memory>

namespace cachier::platform {

/// Something that is done in the background now and then.
class Chore {
 public:
  virtual ~Chore() = default;
  /// On the housekeeper's thread.
  virtual void run() noexcept = 0;
  /// Once, when the housekeeper is shut down, on the thread that does so.
  virtual void run_at_exit() noexcept = 0;

 private:
  friend class Housekeeper;
  std::atomic<bool> requested_{false};
};

/// Makes `chore` known, so that it runs at exit.
void add_chore(const std::shared_ptr<Chore>& chore);

/// Has `chore` run soon; requests made before it begins are one. Cheap. Precondition:
/// it has been added. After the shutdown: nothing.
void request_chore(Chore& chore) noexcept;

/// Ends the thread, after what it is doing, and runs each chore's `run_at_exit`. For
/// the end of the process; nothing runs in the background afterwards. May be called
/// again.
void shutdown_housekeeper() noexcept;

}  // namespace cachier::platform
