#include "platform/housekeeper.hpp"

#include "platform/fork.hpp"
#include "platform/futex.hpp"
#include "platform/lock.hpp"
#include "platform/thread.hpp"

#include <algorithm>
#include <mutex>
#include <vector>

namespace cachier::platform {

class Housekeeper {
 public:
  static Housekeeper& of_process() noexcept {
    static auto* const one = new Housekeeper;  // never destroyed: forks may come late
    return *one;
  }

  void add(const std::shared_ptr<Chore>& chore) {
    const std::lock_guard hold(lock_);
    chores_.erase(std::remove_if(chores_.begin(), chores_.end(),
                                 [](const auto& known) { return known.expired(); }),
                  chores_.end());
    chores_.push_back(chore);
  }

  void request(Chore& chore) noexcept {
    if (chore.requested_.exchange(true)) return;
    const std::lock_guard hold(lock_);
    if (closed_) return;
    if (!running_) {
      running_ = start();
      if (!running_) {
        chore.requested_ = false;  // a later request tries again
        return;
      }
    }
    requests_.fetch_add(1);
    futex_wake_one(requests_, Reach::process);
  }

  void close() noexcept {
    bool join = false;
    {
      const std::lock_guard hold(lock_);
      if (closed_) return;
      closed_ = true;
      join = std::exchange(running_, false);
      requests_.fetch_add(1);
      futex_wake_one(requests_, Reach::process);
    }
    if (join) thread_.join();
    for (const auto& chore : known()) chore->run_at_exit();
  }

 private:
  Housekeeper() {
    at_fork({.before = [this] { lock_.lock(); },
             .in_parent = [this] { lock_.unlock(); },
             .in_child =
                 [this] {
                   running_ = false;
                   for (const auto& chore : chores_) {
                     if (const auto alive = chore.lock()) alive->requested_ = false;
                   }
                   lock_.reset_in_child();
                 }});
  }

  bool start() noexcept {
    return thread_.start(
        "cachier-upkeep", [](void* self) { static_cast<Housekeeper*>(self)->work(); },
        this);
  }

  void work() noexcept {
    for (;;) {
      const std::uint32_t seen = requests_.load();
      for (const auto& chore : known()) {
        if (is_closed()) return;
        if (chore->requested_.exchange(false)) chore->run();
      }
      if (is_closed()) return;
      futex_wait(requests_, seen, Deadline::max(), Reach::process);
    }
  }

  bool is_closed() noexcept {
    const std::lock_guard hold(lock_);
    return closed_;
  }

  std::vector<std::shared_ptr<Chore>> known() noexcept {
    const std::lock_guard hold(lock_);
    std::vector<std::shared_ptr<Chore>> alive;
    for (const auto& chore : chores_) {
      if (auto one = chore.lock()) alive.push_back(std::move(one));
    }
    return alive;
  }

  Lock lock_;
  std::vector<std::weak_ptr<Chore>> chores_;
  std::atomic<std::uint32_t> requests_{0};
  Thread thread_;
  bool running_ = false;
  bool closed_ = false;
};

namespace {
[[maybe_unused]] const Housekeeper& made_at_load = Housekeeper::of_process();
}

void add_chore(const std::shared_ptr<Chore>& chore) {
  Housekeeper::of_process().add(chore);
}

void request_chore(Chore& chore) noexcept { Housekeeper::of_process().request(chore); }

void shutdown_housekeeper() noexcept { Housekeeper::of_process().close(); }

}  // namespace cachier::platform
