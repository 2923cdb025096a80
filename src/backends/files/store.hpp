#pragma once

#include <cachier/store.hpp>

#include "backends/files/disk.hpp"
#include "backends/files/entry_cache.hpp"
#include "backends/files/locks.hpp"
#include "backends/shared/claims.hpp"
#include "backends/shared/tally.hpp"
#include "platform/fork_aware.hpp"
#include "platform/lock.hpp"

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

namespace cachier::files {

/// The verbs of the contract over one cache directory. Nothing is kept open but files
/// of locks, so that a directory which is removed or replaced is noticed at once.
class FilesStore final : public Store, private platform::ForkAware {
 public:
  /// `directory`: absolute. Opens nothing yet.
  FilesStore(std::string directory, bool remote, std::size_t near_cache_bytes);
  ~FilesStore() override;

  [[nodiscard]] Capabilities capabilities() const noexcept override;
  Result<Look> look(const Id& id, const Ask& ask, Deadline deadline) noexcept override;
  Result<Version> commit(const Id& id, const Change& change,
                         Deadline deadline) noexcept override;
  Result<Page> scan(const Filter& filter, const Cursor& from,
                    Deadline deadline) noexcept override;
  Result<std::uint64_t> clear(const Filter& filter, Clear what,
                              Deadline deadline) noexcept override;
  [[nodiscard]] std::unique_ptr<Watch> watch(const Id& id) noexcept override;
  [[nodiscard]] StoreMetrics metrics() const noexcept override {
    return tally_.metrics(near_hits_.load(std::memory_order_relaxed));
  }
  [[nodiscard]] std::string location() const override { return disk_.directory(); }

 private:
  void before_fork() noexcept override;
  void after_fork_in_parent() noexcept override;
  void after_fork_in_child() noexcept override;

  // Epochs and claim generations (store.cpp).
  struct States {
    std::uint64_t epoch = 0;
    std::uint32_t claims = 0;
  };
  /// Those of the function; what must be there for them is made.
  Result<States> states_of(const Function& function, Deadline deadline);
  Result<State> store_state(Deadline deadline);
  /// Changes the state of a function, or of the store, as `change` says. The caller
  /// holds the lock. Gives the time by the file system's clock.
  Result<std::int64_t> change_state(const Function* function,
                                    void (*change)(State& state));
  /// The state at the path; one of zeros where there is none or it is damaged.
  [[nodiscard]] Result<State> state_at(const std::string& path) const;

  // Looking (look.cpp).
  struct Seen;
  bool find_near(const Id& id, const Ask& ask, const std::string& path, Look& look);
  Result<Seen> read(const Id& id, const std::string& path, Deadline deadline);
  shared::Miss judge(const Seen& seen, const Id& id, const Ask& ask, Look& look);
  Result<shared::Miss> look_further(const Id& id, const Ask& ask,
                                    const std::string& path, Look& look,
                                    Deadline deadline);
  Outcome outcome_of(const std::string& path, Time now) const;

  // Changing (commit.cpp).
  Result<Version> apply(const Id& id, const Change& change, Deadline deadline) noexcept;
  Result<Version> put(const Id& id, const Change& change, Deadline deadline);
  Result<Version> release(const Id& id, const Change& change, Deadline deadline);
  Result<Version> write(const Id& id, const Change& change, Deadline deadline);
  /// Nothing: a clear came between, and all begins again.
  Result<std::optional<Version>> replace(const Id& id, const Change& change,
                                         const std::string& name, Version version,
                                         Disk::Aside& aside, Deadline deadline);
  Result<Directory> open_entries(const Function& function);
  void end_claim(const Id& id, const Change& change) noexcept;
  void leave_outcome(const Id& id, const Change& change, Deadline deadline);
  void tidy_now_and_then(std::int64_t now, Deadline deadline);

  // Clearing (clear.cpp).
  Result<std::uint64_t> clear_entries(const Filter& filter, Deadline deadline);
  Result<std::uint64_t> free_claims(const Filter& filter, Deadline deadline);
  /// Removes entries that were stored earlier, one by one. `disturb`: whoever computes
  /// one of them will not store it.
  Result<std::uint64_t> remove_old(const Filter& filter, bool disturb,
                                   Deadline deadline);
  /// Gives whether an entry has been removed.
  Result<bool> remove_one(const std::string& folder, const std::string& name,
                          Time stored_before, bool disturb, Deadline deadline);

  const Disk disk_;
  Locks locks_;
  shared::Claims claims_;
  EntryCache near_cache_;
  shared::Tally tally_;
  std::atomic<std::uint64_t> near_hits_{0};
  std::atomic<std::int64_t> next_tidying_{0};  // of coarse_now

  platform::Lock known_lock_;
  Stamp known_stamp_;  // of the store's state, as it was read last
  State known_state_;
};

/// For an exception of the standard library, of which there is one: no memory.
[[nodiscard]] Error out_of_memory() noexcept;

/// For `what`, which could not be done by the deadline.
[[nodiscard]] Error too_late(const char* what);

/// The system's words for what could not be done to a path here.
[[nodiscard]] Error cannot(const char* what, const std::string& path, int error_number);

}  // namespace cachier::files
