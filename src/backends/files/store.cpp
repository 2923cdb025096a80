#include "backends/files/store.hpp"

#include "backends/shared/wakes.hpp"
#include "platform/clock.hpp"
#include "platform/random.hpp"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <chrono>
#include <mutex>
#include <new>

namespace cachier::files {
namespace {

using std::chrono::steady_clock;

/// Waits for a wake-up in this process, and not long for one that may come from
/// another.
class PollingWatch final : public Watch {
 public:
  PollingWatch(std::unique_ptr<Watch> here, bool remote) noexcept
      : here_(std::move(here)), remote_(remote) {}

  void wait(Deadline deadline) noexcept override {
    const std::uint64_t least = remote_ ? 25'000 : 5'000;
    const std::uint64_t spread = remote_ ? 25'000 : 10'000;
    const auto slice = std::chrono::microseconds(
        static_cast<std::int64_t>(least + platform::random_bits() % spread));
    here_->wait(std::min(deadline, steady_clock::now() + slice));
  }

 private:
  const std::unique_ptr<Watch> here_;
  const bool remote_;
};

}  // namespace

FilesStore::FilesStore(std::string directory, bool remote, std::size_t near_cache_bytes)
    : disk_(std::move(directory), remote),
      locks_(disk_.path("locks")),
      claims_(disk_.folder()),
      near_cache_(near_cache_bytes) {
  watch_forks();
}

FilesStore::~FilesStore() { ignore_forks(); }

Capabilities FilesStore::capabilities() const noexcept {
  Capabilities can;
  can.name = "files";
  can.persistent = true;
  can.shared = true;
  can.sees_death = true;
  return can;
}

Result<State> FilesStore::state_at(const std::string& path) const {
  const auto loaded = disk_.load(path, kStateSize + 1);
  if (!loaded.stamp && errno != ENOENT) return cannot("read", path, errno);
  return read_state(loaded.bytes).value_or(State{});
}

Result<State> FilesStore::store_state(Deadline deadline) {
  const std::string path = disk_.path("state");
  if (const Stamp stamp = disk_.stamp_at(path)) {
    const std::lock_guard hold(known_lock_);
    if (stamp == known_stamp_) return known_state_;
  }
  if (auto ours = platform::make_private_directory(disk_.directory(),
                                                   platform::Group::may_write);
      !ours)
    return ours.error();
  auto loaded = disk_.load(path, kStateSize + 1);
  auto state = read_state(loaded.bytes);
  if (!state) {
    if (auto error = disk_.make()) return *error;
    const auto held = locks_.of_states(deadline);
    if (!held) return too_late("cannot use the cache's files");
    loaded = disk_.load(path, kStateSize + 1);
    state = read_state(loaded.bytes);
    if (!state) {
      state = State{platform::random_bits(), 0};
      auto aside = disk_.write_aside(as_bytes(write_state(*state)));
      if (!aside) return aside.error();
      if (const int error_number = aside->move_to(path); error_number != 0)
        return cannot("make", path, error_number);
      return *state;
    }
  }
  // Somebody who may write to the directory may have put another in its place.
  if (auto ours = platform::make_private_directory(disk_.folder()); !ours)
    return ours.error();
  const std::lock_guard hold(known_lock_);
  known_stamp_ = loaded.stamp;
  known_state_ = *state;
  return *state;
}

Result<FilesStore::States> FilesStore::states_of(const Function& function,
                                                 Deadline deadline) {
  const auto all = store_state(deadline);
  if (!all) return all.error();
  const auto own = state_at(disk_.function(function) + "/state");
  if (!own) return own.error();
  States states;
  states.epoch = (all->epoch ^ std::rotl(own->epoch * 0x9e3779b97f4a7c15, 32)) *
                 0xbf58476d1ce4e5b9;
  states.claims = static_cast<std::uint32_t>(all->claims ^ own->claims);
  return states;
}

std::unique_ptr<Watch> FilesStore::watch(const Id& id) noexcept {
  try {
    return std::make_unique<PollingWatch>(shared::watch(id.digest), disk_.remote());
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}

void FilesStore::before_fork() noexcept {
  locks_.before_fork();
  claims_.before_fork();
  near_cache_.before_fork();
  known_lock_.lock();
}

void FilesStore::after_fork_in_parent() noexcept {
  known_lock_.unlock();
  near_cache_.after_fork_in_parent();
  claims_.after_fork_in_parent();
  locks_.after_fork_in_parent();
}

void FilesStore::after_fork_in_child() noexcept {
  known_lock_.reset_in_child();
  near_cache_.after_fork_in_child();
  claims_.after_fork_in_child();
  locks_.after_fork_in_child();
}

Error out_of_memory() noexcept {
  try {
    return {ErrorCode::unavailable, "the cache could not do its work",
            "there is not enough memory", ""};
  } catch (const std::bad_alloc&) {
    return Error(ErrorCode::unavailable);
  }
}

Error too_late(const char* what) {
  return {ErrorCode::deadline_exceeded, what,
          "others were changing the same until the deadline", "try again"};
}

Error cannot(const char* what, const std::string& path, int error_number) {
  return platform::system_error(std::string("cannot ") + what + " '" + path + "'",
                                error_number);
}

}  // namespace cachier::files
