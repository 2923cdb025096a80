#pragma once

namespace cachier::platform {

/// Something with a lifetime that must be put in order around `fork` (`fork.hpp` is for
/// what lives as long as the process).
///
/// While it is registered, each `fork` of this process calls `before_fork` in the
/// forking thread, then `after_fork_in_parent` there and `after_fork_in_child` in the
/// child, whose only thread it is. Objects are prepared newest first and resumed oldest
/// first. `vfork` and `posix_spawn` call nothing, and need nothing.
class ForkAware {
 public:
  virtual void before_fork() noexcept = 0;
  virtual void after_fork_in_parent() noexcept = 0;
  virtual void after_fork_in_child() noexcept = 0;

 protected:
  ForkAware() = default;
  ForkAware(const ForkAware&) = delete;
  ForkAware& operator=(const ForkAware&) = delete;
  virtual ~ForkAware() = default;

  /// From the end of the constructor. Not from within the calls above.
  void watch_forks();
  /// From the beginning of the destructor; waits for a fork that is under way.
  void ignore_forks() noexcept;

 private:
  friend struct ForkList;
  ForkAware* previous_ = nullptr;
  ForkAware* next_ = nullptr;
};

}  // namespace cachier::platform
