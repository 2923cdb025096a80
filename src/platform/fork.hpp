#pragma once

/// What has to happen when the process is forked.

#include <cstdint>
#include <functional>

namespace cachier::platform {

/// What one part of the library does around a fork. Each may be empty.
struct ForkHandlers {
  std::function<void()> before;     ///< in the parent, before: take locks, close files
  std::function<void()> in_parent;  ///< afterwards: give them back
  std::function<void()> in_child;   ///< afterwards, on the one thread that came along
};

/// Registers handlers for the rest of the process's life. `before` runs in the reverse
/// order of registration, the others in that order, as of `pthread_atfork` (POSIX).
/// Thread-safe; not from within a handler. A library has no say over a `fork` that is
/// made as a bare system call.
void at_fork(ForkHandlers handlers);

/// How many forks this process's line has seen as a child: differs between a parent and
/// its child, so that what was taken before a fork can be told from one's own. Some ns.
[[nodiscard]] std::uint64_t fork_count() noexcept;

}  // namespace cachier::platform
