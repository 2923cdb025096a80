#include "backends/local/sites.hpp"

#include <algorithm>
#include <mutex>
#include <utility>

namespace cachier::local {

Sites::~Sites() {
  for (const Pointer& one : known_) one->pool().retire();
}

Sites::Pointer Sites::current() noexcept {
  const std::lock_guard hold(lock_);
  return current_;
}

Sites::Pointer Sites::holder_of(const Digest& digest, std::uint64_t serial) noexcept {
  const std::lock_guard hold(lock_);
  const auto holder = std::find_if(
      known_.rbegin(), known_.rend(),
      [&](const Pointer& one) { return one->claims().holds(digest, serial); });
  return holder == known_.rend() ? nullptr : *holder;
}

void Sites::replace(Pointer next) {
  Pointer last;
  const Site* const now = next.get();
  {
    const std::lock_guard hold(lock_);
    prepared_.reserve(known_.size() + 1);  // forks allocate nothing
    if (next) known_.push_back(next);
    last = std::exchange(current_, std::move(next));
  }
  // Without a shared table nobody tells what others write.
  const bool remembers = now != nullptr && now->table().is_shared();
  near_cache_.serve(remembers ? &now->table() : nullptr,
                    remembers ? now->generation() : 0);
  if (last) last->pool().retire();
  last = nullptr;
  close_unused();
}

void Sites::close_unused() noexcept {
  // One at a time, and outside the lock: closing files takes its time.
  for (;;) {
    Pointer unused;
    const std::lock_guard hold(lock_);
    const auto found =
        std::find_if(known_.begin(), known_.end(), [&](const Pointer& one) {
          // Pointers are made from those here only, under this lock.
          return one != current_ && one.use_count() == 1 && one->claims().none();
        });
    if (found == known_.end()) return;
    unused = std::move(*found);
    known_.erase(found);
  }
}

void Sites::before_fork(Deadline deadline) noexcept {
  std::vector<Pointer> walked;
  {
    const std::lock_guard hold(lock_);
    prepared_ = known_;
    walked.swap(prepared_);
  }
  // Whoever has a connection may need our lock before he gives it back. Meanwhile
  // `replace` may make room in `prepared_`.
  for (const Pointer& one : walked) one->pool().before_fork(deadline);
  lock_.lock();
  if (prepared_.capacity() > walked.capacity()) {
    prepared_ = walked;
  } else {
    prepared_.swap(walked);
  }
  for (const Pointer& one : prepared_) one->before_fork();
  near_cache_.before_fork();
}

void Sites::after_fork_in_parent() noexcept {
  near_cache_.after_fork();
  for (const Pointer& one : prepared_) {
    one->after_fork_in_parent();
    one->pool().after_fork_in_parent();
  }
  lock_.unlock();
  prepared_.clear();
}

std::vector<platform::Identity> Sites::after_fork_in_child() noexcept {
  near_cache_.after_fork();
  near_cache_.serve(nullptr, 0);
  std::vector<platform::Identity> abandoned;
  for (const Pointer& one : prepared_) {
    one->after_fork_in_child();
    if (!one->pool().after_fork_in_child()) abandoned.push_back(one->database());
    one->pool().retire();
  }
  // One that was just being opened, against the precondition, is left alone.
  for (Pointer& one : known_) {
    if (std::find(prepared_.begin(), prepared_.end(), one) == prepared_.end())
      (void)new Pointer(one);
  }
  current_ = nullptr;
  lock_.reset_in_child();
  prepared_.clear();
  close_unused();
  return abandoned;
}

}  // namespace cachier::local
