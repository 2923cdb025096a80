#include "platform/fork_aware.hpp"

#include "platform/fork.hpp"
#include "platform/lock.hpp"

#include <mutex>

namespace cachier::platform {

/// All that is registered, oldest first. The lock is held from before a fork until
/// after it, so the list cannot change meanwhile.
struct ForkList {
  Lock lock;
  ForkAware* first = nullptr;
  ForkAware* last = nullptr;

  static ForkList& instance() {
    static auto* const list = [] {
      auto* const made = new ForkList;  // never destroyed: forks may come late
      at_fork({.stage = ForkStage::waiting,
               .before = [made] { made->prepare(); },
               .in_parent = [made] { made->parent(); },
               .in_child = [made] { made->child(); }});
      return made;
    }();
    return *list;
  }

  void add(ForkAware& one) noexcept {
    const std::lock_guard hold(lock);
    one.previous_ = last;
    (last != nullptr ? last->next_ : first) = &one;
    last = &one;
  }

  void remove(ForkAware& one) noexcept {
    const std::lock_guard hold(lock);
    (one.previous_ != nullptr ? one.previous_->next_ : first) = one.next_;
    (one.next_ != nullptr ? one.next_->previous_ : last) = one.previous_;
    one.previous_ = one.next_ = nullptr;
  }

 private:
  void prepare() noexcept {
    lock.lock();
    for (auto* one = last; one != nullptr; one = one->previous_) one->before_fork();
  }
  void parent() noexcept {
    for (auto* one = first; one != nullptr; one = one->next_)
      one->after_fork_in_parent();
    lock.unlock();
  }
  void child() noexcept {
    for (auto* one = first; one != nullptr; one = one->next_)
      one->after_fork_in_child();
    lock.reset_in_child();
  }
};

namespace {
[[maybe_unused]] const ForkList& made_at_load = ForkList::instance();
}

void ForkAware::watch_forks() { ForkList::instance().add(*this); }

void ForkAware::ignore_forks() noexcept { ForkList::instance().remove(*this); }

}  // namespace cachier::platform
