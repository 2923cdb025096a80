#pragma once

/// What has to happen when the process is forked.

#include <cachier/export.hpp>

#include <cstdint>
#include <functional>

namespace cachier::platform {

/// When a handler's turn comes. Before a fork those that wait for other threads to
/// finish something go first, while these threads can still take every lock; then the
/// locks are taken. Afterwards it is the other way round.
enum class ForkStage : std::uint8_t {
  waiting,  ///< may wait for other threads
  locking,  ///< takes locks under which nothing is waited for and no other is taken
};

/// What one part of the library does around a fork. Each may be empty.
struct ForkHandlers {
  ForkStage stage = ForkStage::locking;
  std::function<void()> before{};     ///< in the parent, before
  std::function<void()> in_parent{};  ///< afterwards: give back what `before` took
  std::function<void()> in_child{};   ///< afterwards, on the one thread that came along
};

/// Registers handlers for the rest of the process's life. Within a stage `before` runs
/// in the reverse order of registration, the others in that order, as of
/// `pthread_atfork` (POSIX). Thread-safe, and never waits: a fork that is under way
/// does without them. A library has no say over a `fork` made as a bare system call.
///
/// Whoever registers is made when the library is loaded, not with its first use: a
/// function's static object that another thread is making during a fork stays half made
/// in the child for ever.
void at_fork(ForkHandlers handlers);

/// For one lock: held from before a fork until after it. `Lock` is one of `lock.hpp`.
template <class Lock>
void hold_over_forks(Lock& lock) {
  at_fork({.before = [&lock] { lock.lock(); },
           .in_parent = [&lock] { lock.unlock(); },
           .in_child = [&lock] { lock.reset_in_child(); }});
}

/// How many forks this process's line has seen as a child: differs between a parent and
/// its child, so that what was taken before a fork can be told from one's own. Some ns.
[[nodiscard]] CACHIER_API std::uint64_t fork_count() noexcept;

}  // namespace cachier::platform
