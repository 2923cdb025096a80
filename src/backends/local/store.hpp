#pragma once

#include <cachier/store.hpp>

#include "backends/local/layout.hpp"
#include "backends/local/sites.hpp"
#include "backends/local/transaction.hpp"
#include "backends/shared/tally.hpp"
#include "platform/clock.hpp"
#include "platform/fork_aware.hpp"
#include "platform/housekeeper.hpp"
#include "platform/lock.hpp"

#include <atomic>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <typeinfo>
#include <utility>
#include <vector>

namespace cachier::local {

/// The rows of one function's entries, or of all.
struct Range {
  std::int64_t first = 0;
  std::int64_t last = 0;
};
[[nodiscard]] Range rows_of(std::int64_t function) noexcept;
inline constexpr Range kAllRows{std::int64_t{1} << kDigestBits,
                                std::numeric_limits<std::int64_t>::max()};

struct SeenRow;

inline constexpr std::int64_t kNoRow = kAllRows.last;

/// The verbs of the contract over one cache directory. What is open of it is a `Site`,
/// found anew when somebody removes the directory.
class LocalStore final : public Store,
                         public platform::Chore,
                         private platform::ForkAware {
 public:
  /// `directory`: absolute. Opens nothing yet.
  LocalStore(std::string directory, std::size_t near_cache_bytes);
  ~LocalStore() override;

  Capabilities capabilities() const noexcept override;
  Result<Look> look(const Id& id, const Ask& ask, Deadline deadline) noexcept override;
  std::optional<Entry> recall(const Id& id, const Ask& ask) noexcept override;
  Result<Version> commit(const Id& id, const Change& change,
                         Deadline deadline) noexcept override;
  Result<Page> scan(const Filter& filter, const Cursor& from,
                    Deadline deadline) noexcept override;
  Result<std::uint64_t> clear(const Filter& filter, Clear what,
                              Deadline deadline) noexcept override;
  std::unique_ptr<Watch> watch(const Id& id) noexcept override;
  bool copy_fresh(const Id& id, const Ask& ask, const std::type_info& type, void* to,
                  std::size_t size) noexcept override;
  void keep_copy(const Id& id, const Version& version, const std::type_info& type,
                 const void* from, std::size_t size) noexcept override;
  bool keep_within(const Function* function, const Bounds& bounds) noexcept override;
  [[nodiscard]] StoreMetrics metrics() const noexcept override {
    return tally_.metrics(sites_.near_cache().hits());
  }
  std::string location() const override { return directory_; }

  void run() noexcept override;
  void run_at_exit() noexcept override;

 private:
  void before_fork() noexcept override;
  void after_fork_in_parent() noexcept override;
  void after_fork_in_child() noexcept override;

  // Finding the site (store.cpp).
  enum class Check : std::uint8_t { now_and_then, now };
  /// Whether it is time to see if the files still have their names.
  [[nodiscard]] bool is_check_due() const noexcept {
    return platform::coarse_now() >= next_check_.load(std::memory_order_relaxed);
  }
  /// The current site, if it need not be looked at again yet; else null.
  [[nodiscard]] Sites::Pointer known_site() noexcept;
  Result<Sites::Pointer> site(Check check, Deadline deadline);
  Result<Sites::Pointer> find_site(Deadline deadline);
  /// Does it in the site, and where that turns out to be damaged again in a new one.
  template <class Do>
  auto in_site(Check check, Deadline deadline, const Do& what)
      -> decltype(what(std::declval<const Sites::Pointer&>()));
  /// True: there is, or may be, a sound site instead of this one.
  bool replace_damaged(const Sites::Pointer& site, Deadline deadline);

  // Looking (look.cpp).
  struct Row;
  /// The row; an envelope that has a file of its own is not yet read.
  Result<Row> read(Site& site, const Id& id, std::uint64_t& counter, Deadline deadline);
  /// What a look would see now.
  Result<Basis> basis_now(Site& site, const Id& id, Deadline deadline);
  /// The row with its envelope, wherever that is.
  Result<Row> read_all(Site& site, const Id& id, std::uint64_t& counter,
                       Deadline deadline);
  /// A hit without the database.
  bool find_near(const Id& id, const Ask& ask, Look& look) noexcept;
  Result<shared::Miss> read_and_judge(Site& site, const Id& id, const Ask& ask,
                                      std::uint64_t counter, Look& look,
                                      Deadline deadline) noexcept;
  Result<Look> look_in(Site& site, const Id& id, const Ask& ask, Deadline deadline);
  /// After a look that found no fresh entry, when the slot's counter was `counted`:
  /// takes the claim that is asked for, if it is free. Gives what the look has become.
  Result<shared::Miss> claim_in(Site& site, const Id& id, const Ask& ask,
                                std::uint64_t counted, shared::Miss miss, Look& look,
                                Deadline deadline);
  static shared::Miss judge(const Row& row, const Id& id, const Ask& ask, Look& look);

  // Listing (scan.cpp).
  Result<Page> scan_in(Site& site, const Filter& filter, const Cursor& from,
                       Deadline deadline);

  // Changing (commit.cpp).
  struct State;
  Result<Version> apply(const Id& id, const Change& change, Deadline deadline) noexcept;
  Result<Version> put(const Id& id, const Change& change, Deadline deadline);
  Result<Version> release(const Id& id, const Change& change, Deadline deadline);
  /// Leaves the outcome for those who wait, unless the entry or its function have
  /// changed since the claim was given: then it says nothing of what is now.
  bool publish_outcome(Site& site, const Id& id, const Change& change,
                       Deadline deadline) noexcept;
  Result<Version> erase(const Id& id, const Change& change, Deadline deadline);
  Result<Version> write(Site& site, const Id& id, const Change& change,
                        Deadline deadline);
  /// Gives the claim of the change's token back and wakes those who wait for it, where
  /// it was held. Null: it was not held here.
  Sites::Pointer end_claim(const Id& id, const Change& change) noexcept;

  // Clearing (clear.cpp).
  Result<std::uint64_t> clear_entries(Site& site, const Filter& filter,
                                      Deadline deadline);
  /// Deletes rows of cleared epochs, some at a time; `range` is what is left to look
  /// at.
  static std::optional<Error> sweep(Site& site, Range& range, Deadline deadline);
  /// Leaves the rest, from this row on, to the housekeeper.
  void sweep_later(std::int64_t from) noexcept;

  // Removing what is stale (stale.cpp).
  Result<std::uint64_t> remove_stale(Site& site, const Filter& filter,
                                     Deadline deadline);
  /// The same for one function, by the index of ages.
  Result<std::uint64_t> remove_stale_of(Site& site, std::int64_t function,
                                        std::int64_t limit, Deadline deadline);
  /// Removes these at once. Gives how many entries they were.
  Result<std::uint64_t> remove_rows(Site& site, const std::vector<SeenRow>& rows,
                                    Deadline deadline);
  /// A put: whether it is the one after which the index of ages may be due, for want of
  /// entries when stale ones were removed last.
  bool counts_to_index() noexcept;
  /// Makes the index then, if there still are so few entries that nobody waits long.
  void index_if_due(Site& site, Deadline deadline);

  // Bounds (evict.cpp).
  /// Bounds and how far eviction has come. Never destroyed before the store.
  struct Bounded {
    const Function* function = nullptr;  ///< null: the whole store
    Bounds bounds;
    std::int64_t hand = 0;  ///< the row that the clock's hand points to
  };
  enum class Excess : std::uint8_t { none, some, much };
  /// Whether what is stored is more than the bounds allow, of this function or in all.
  /// Inside a transaction that has put an entry of it.
  Result<Excess> excess_of(Connection& connection, const Function& function,
                           std::int64_t number);
  /// Does something about it: leaves it to the housekeeper, where it is much makes a
  /// small step itself.
  void make_room(Site& site, Excess excess, Deadline deadline) noexcept;
  /// One step of eviction.
  struct Step {
    std::int64_t rows;  ///< that it looks at, at most
    bool pressed;       ///< its second half removes what was asked for, too
  };
  /// Looks at rows of what has exceeded its bounds and removes what was not asked for.
  /// Gives whether there still is more than there should be.
  Result<bool> evict(Site& site, Bounded& of, const Step& step, Deadline deadline);
  /// The same for all that is bounded. False: nothing is left to be done.
  bool evict_all(Site& site, const Step& step, Deadline deadline);

  /// Leaves it to the housekeeper to delete files whose rows are gone: a big one takes
  /// longer than a put may wait.
  void delete_later(const Site& site, const std::vector<ValueFile>& files);
  /// Deletes those. False: there was no time for all.
  bool delete_doomed(Deadline deadline) noexcept;

  /// Removes value files that no row names, directory by directory (collect.cpp).
  static std::optional<Error> collect(Site& site, Deadline deadline);

  const std::string directory_;
  const std::string folder_;
  Sites sites_;
  std::atomic<std::int64_t> next_check_{0};       // of coarse_now
  std::atomic<std::int64_t> next_retry_{0};       // where nothing could be written
  std::atomic<std::int64_t> next_mending_{0};     // where nothing could be mended
  std::atomic<std::int64_t> sweep_from_{kNoRow};  // where a clear left rows behind
  std::atomic<std::int64_t> puts_to_index_{0};    // 0: none is counted
  std::atomic<bool> index_is_due_{false};
  std::atomic<bool> stalled_{false};  ///< the last put waited in vain for its turn
  platform::Lock evicting_;           ///< taken before a transaction
  platform::Lock bounding_;           ///< of what follows; may be taken within one
  std::vector<Bounded> bounded_;      ///< only ever grows
  std::vector<std::string> doomed_;   ///< paths of files to be deleted
  std::atomic<bool> has_bounds_{false};
  shared::Tally tally_;
  platform::Lock opening_;
  bool held_over_fork_ = false;
  // What this process, as a child of a fork, must not open: databases of which a
  // connection was in use; all, where one was just being opened.
  std::vector<platform::Identity> abandoned_;
  bool orphaned_ = false;
};

template <class Do>
auto LocalStore::in_site(Check check, Deadline deadline, const Do& what)
    -> decltype(what(std::declval<const Sites::Pointer&>())) {
  for (bool again = false;; again = true) {
    auto found = site(check, deadline);
    if (!found) return found.error();
    auto answer = what(*found);
    if (answer || again || answer.error() != ErrorCode::corrupt) return answer;
    const Sites::Pointer damaged = std::move(*found);
    if (!replace_damaged(damaged, deadline)) return answer;
  }
}

/// The row of a function: its number and its epoch; where it has none (number 0), the
/// epoch with which it would begin.
struct FunctionRow {
  std::int64_t number = 0;
  std::uint64_t epoch = 0;
};
Result<FunctionRow> find_function(Connection& connection, const Function& function);

/// How many entries, and what they count for (`docs/formats/local.md`, "Counts").
struct Counts {
  std::int64_t entries = 0;
  std::int64_t bytes = 0;

  /// One entry whose value has so many bytes.
  [[nodiscard]] static Counts of_entry(std::int64_t size) noexcept {
    return {1, size + kEntryCost};
  }
  Counts& operator+=(const Counts& other) noexcept {
    entries += other.entries;
    bytes += other.bytes;
    return *this;
  }
  Counts& operator-=(const Counts& other) noexcept {
    entries -= other.entries;
    bytes -= other.bytes;
    return *this;
  }
  friend bool operator==(const Counts&, const Counts&) = default;
};
/// The counts of a function's row; 0: of all.
Result<Counts> read_counts(Connection& connection, std::int64_t function);
/// Adds `change` to the counts of a function and of all.
std::optional<Error> account(Transaction& transaction, std::int64_t function,
                             const Counts& change);

/// Adds the row that `find_function` did not find. Gives its number.
Result<std::int64_t> add_function(Transaction& transaction, const Function& function,
                                  std::uint64_t epoch);

/// For an exception of the standard library, of which there is one: no memory.
[[nodiscard]] Error out_of_memory();

[[nodiscard]] std::string digest_bytes(const Digest& digest);
[[nodiscard]] std::optional<Digest> digest_of(Bytes bytes) noexcept;

}  // namespace cachier::local
