#include "backends/local/store.hpp"

#include "platform/clock.hpp"

#include <chrono>
#include <mutex>

namespace cachier::local {
namespace {

using std::chrono::steady_clock;

/// How often the files' names are compared with what is open.
constexpr std::int64_t kCheckEvery = 50'000'000;
/// How often a store that cannot be written is tried again.
constexpr std::int64_t kRetryEvery = 1'000'000'000;
/// How often a database that seems damaged, and is not or cannot be replaced, is looked
/// at again.
constexpr std::int64_t kMendEvery = 5'000'000'000;
/// How long a fork waits for connections that are in use.
constexpr auto kForkPatience = std::chrono::seconds(10);
/// Rows that eviction looks at in one transaction.
constexpr std::int64_t kRowsPerStep = 512;
/// How long upkeep may wait for its turn.
constexpr auto kUpkeepPatience = std::chrono::milliseconds(500);

/// Waits on the wake word of one slot.
class SlotWatch final : public Watch {
 public:
  SlotWatch(Sites::Pointer site, std::uint32_t slot) noexcept
      : site_(std::move(site)),
        word_(site_->table().wake_word(slot)),
        seen_(site_->table().attend(slot)) {}
  void wait(Deadline deadline) noexcept override {
    platform::futex_wait(word_, seen_, deadline, platform::Reach::machine);
  }

 private:
  const Sites::Pointer site_;
  const std::atomic<std::uint32_t>& word_;
  const std::uint32_t seen_;
};

/// For want of a site: the engine looks again soon.
class Nap final : public Watch {
 public:
  void wait(Deadline deadline) noexcept override {
    const auto left = deadline - steady_clock::now();
    if (left.count() > 0)
      platform::pause_for(std::chrono::duration_cast<std::chrono::microseconds>(
          std::min<steady_clock::duration>(left, std::chrono::milliseconds(5))));
  }
};

}  // namespace

LocalStore::LocalStore(std::string directory, std::size_t near_cache_bytes)
    : directory_(std::move(directory)),
      folder_(directory_ + "/" + kFolder),
      sites_(near_cache_bytes) {
  watch_forks();
}

LocalStore::~LocalStore() {
  run_at_exit();
  // Closed while a fork would still wait for it.
  if (const auto last = sites_.current()) last->pool().retire();
  ignore_forks();
}

Capabilities LocalStore::capabilities() const noexcept {
  Capabilities can;
  can.name = "local";
  can.persistent = true;
  can.shared = true;
  can.sees_death = true;
  can.wakes = true;
  return can;
}

Sites::Pointer LocalStore::known_site() noexcept {
  if (is_check_due()) return nullptr;
  auto known = sites_.current();
  if (known != nullptr && !known->is_of_generation_in_use()) known = nullptr;
  return known;
}

Result<Sites::Pointer> LocalStore::site(Check check, Deadline deadline) {
  if (check == Check::now_and_then) {
    if (auto known = known_site()) return known;
  }
  auto known = sites_.current();
  if (known != nullptr) {
    if (!known->read_only() && known->is_in_place()) {
      next_check_.store(platform::coarse_now() + kCheckEvery,
                        std::memory_order_relaxed);
      return known;
    }
    known = nullptr;  // nobody closes what somebody has a pointer to
  }
  return find_site(deadline);
}

Result<Sites::Pointer> LocalStore::find_site(Deadline deadline) {
  if (!opening_.try_lock_until(deadline))
    return Error(ErrorCode::deadline_exceeded,
                 "cannot open the cache in '" + directory_ + "'",
                 "another thread is opening it", "try again");
  const std::lock_guard hold(opening_, std::adopt_lock);
  const std::int64_t now = platform::coarse_now();
  auto known = sites_.current();
  if (known != nullptr && !known->is_in_place()) {
    known = nullptr;
    sites_.replace(nullptr);
  }
  if (known != nullptr && (!known->read_only() || now < next_retry_.load())) {
    next_check_.store(now + kCheckEvery);
    return known;
  }
  next_retry_.store(now + kRetryEvery);

  if (orphaned_)
    return Error(ErrorCode::unavailable, "cannot use the cache in '" + directory_ + "'",
                 "this process was forked while another thread was opening it",
                 "start the process anew, or by spawn");
  if (auto ours =
          platform::make_private_directory(directory_, platform::Group::may_write);
      !ours)
    return ours.error();
  auto opened = Site::open(folder_, deadline, abandoned_);
  if (known != nullptr && (!opened || (*opened)->read_only())) {
    next_check_.store(now + kCheckEvery);
    return known;  // it can still be read, and nothing has become better
  }
  if (!opened) return opened.error();
  known = nullptr;
  Sites::Pointer site = std::move(*opened);
  if (site->has_replaced()) tally_.set_aside();
  sites_.replace(site);
  next_check_.store(now + kCheckEvery);
  return site;
}

bool LocalStore::replace_damaged(const Sites::Pointer& site, Deadline deadline) {
  if (!opening_.try_lock_until(deadline)) return false;
  const std::lock_guard hold(opening_, std::adopt_lock);
  if (sites_.current() != site) return true;  // somebody was faster
  const std::int64_t now = platform::coarse_now();
  if (now < next_mending_.load()) return false;
  next_mending_.store(now + kMendEvery);  // it may mean to read all there is
  const auto replaced = site->set_aside(deadline);
  if (!replaced) return false;
  if (*replaced) {
    if (site->has_replaced()) tally_.set_aside();
    next_mending_.store(0);
    sites_.replace(nullptr);
  }
  return true;
}

std::unique_ptr<Watch> LocalStore::watch(const Id& id) noexcept {
  try {
    auto found = site(Check::now_and_then, steady_clock::now() + kUpkeepPatience);
    if (!found) return std::make_unique<Nap>();
    return std::make_unique<SlotWatch>(std::move(*found), slot_of(id.digest));
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}

void LocalStore::run() noexcept {
  const Deadline deadline = steady_clock::now() + kUpkeepPatience;
  if (!delete_doomed(deadline)) platform::request_chore(*this);
  const auto site = sites_.current();
  if (site == nullptr) return;
  if (const std::int64_t from = sweep_from_.exchange(kNoRow); from != kNoRow) {
    Range rest{from, kAllRows.last};
    try {
      const auto error = sweep(*site, rest, deadline);
      // Anything but want of time is for the next clear.
      if (error && *error == ErrorCode::deadline_exceeded) sweep_later(rest.first);
    } catch (const std::bad_alloc&) {
      // So is this.
    }
  }
  try {
    index_if_due(*site, deadline);
  } catch (const std::bad_alloc&) {
    // The next removal of what is stale makes it.
  }
  if (has_bounds_.load()) {
    try {
      if (evict_all(*site, {kRowsPerStep, false}, deadline))
        platform::request_chore(*this);
    } catch (const std::bad_alloc&) {
      // The next put says so again.
    }
  }
  if (site->wants_checkpoint()) run_checkpoint(*site, false, deadline);
  if (site->stores_value_files()) {
    try {
      const auto error = collect(*site, deadline);
      if (error && *error == ErrorCode::deadline_exceeded)
        platform::request_chore(*this);
    } catch (const std::bad_alloc&) {
      // The next process will.
    }
  }
}

void LocalStore::run_at_exit() noexcept {
  // What is left then is found by those who look for files that no row names.
  (void)delete_doomed(steady_clock::now() + kUpkeepPatience);
  if (const auto site = sites_.current())
    run_checkpoint(*site, true, steady_clock::now() + kUpkeepPatience);
}

void LocalStore::before_fork() noexcept {
  const Deadline deadline = steady_clock::now() + kForkPatience;
  held_over_fork_ = opening_.try_lock_until(deadline);
  sites_.before_fork(deadline);
  bounding_.lock();
}

void LocalStore::after_fork_in_parent() noexcept {
  bounding_.unlock();
  sites_.after_fork_in_parent();
  if (held_over_fork_) opening_.unlock();
}

void LocalStore::after_fork_in_child() noexcept {
  // What was open is the parent's; this process opens its own with its first use.
  const auto abandoned = sites_.after_fork_in_child();
  abandoned_.insert(abandoned_.end(), abandoned.begin(), abandoned.end());
  opening_.reset_in_child();
  evicting_.reset_in_child();
  bounding_.reset_in_child();
  doomed_.clear();  // the parent's
  orphaned_ = orphaned_ || !held_over_fork_;
}

Error out_of_memory() {
  return {ErrorCode::unavailable, "the cache could not do its work",
          "there is not enough memory", ""};
}

Result<FunctionRow> find_function(Connection& connection, const Function& function) {
  Run run(connection, Sql::find_function);
  run.bind(1, std::string_view(function.id()));
  FunctionRow found;
  int result = run.step();
  for (; result == SQLITE_ROW; result = run.step()) {
    found.number = run.number(0);
    found.epoch = static_cast<std::uint64_t>(run.number(1));
  }
  if (result == SQLITE_DONE && found.epoch != 0) return found;
  if (result == SQLITE_DONE) result = SQLITE_CORRUPT;  // the store's own row is missing
  return sqlite_error(connection.handle(), result, "cannot read the cache's database");
}

Result<Counts> read_counts(Connection& connection, std::int64_t function) {
  Run run(connection, Sql::read_counts);
  run.bind(1, function);
  if (const int result = run.step(); result != SQLITE_ROW)
    return sqlite_error(connection.handle(),
                        result == SQLITE_DONE ? SQLITE_CORRUPT : result,
                        "cannot read the cache's database");
  return Counts{run.number(0), run.number(1)};
}

std::optional<Error> account(Transaction& transaction, std::int64_t function,
                             const Counts& change) {
  if (change == Counts{}) return std::nullopt;
  for (const std::int64_t counted : {function, std::int64_t{0}}) {  // 0: of all
    Run run(transaction.connection(), Sql::account);
    run.bind(1, counted).bind(2, change.entries).bind(3, change.bytes);
    if (run.step() != SQLITE_DONE)
      return transaction.fail(run.result(), "cannot store in the cache's database");
  }
  return std::nullopt;
}

Result<std::int64_t> add_function(Transaction& transaction, const Function& function,
                                  std::uint64_t epoch) {
  Run run(transaction.connection(), Sql::add_function);
  run.bind(1, std::string_view(function.id()))
      .bind(2, static_cast<std::int64_t>(epoch));
  if (run.step() != SQLITE_DONE)
    return transaction.fail(run.result(), "cannot store in the cache's database");
  const auto number = sqlite3_last_insert_rowid(transaction.connection().handle());
  if (number > kMaxFunction)
    return Error(ErrorCode::refused, "cannot store in the cache's database",
                 "it knows " + std::to_string(kMaxFunction) +
                     " functions, and has no room for another",
                 "delete the cache directory, or set cache_dir to another");
  return number;
}

Range rows_of(std::int64_t function) noexcept {
  const std::int64_t first = function << kDigestBits;
  return {first, first | ((std::int64_t{1} << kDigestBits) - 1)};
}

std::string digest_bytes(const Digest& digest) {
  std::string bytes(16, '\0');
  for (std::size_t index = 0; index < 8; ++index) {
    bytes[index] = static_cast<char>(digest.high >> (56 - 8 * index) & 0xff);
    bytes[8 + index] = static_cast<char>(digest.low >> (56 - 8 * index) & 0xff);
  }
  return bytes;
}

std::optional<Digest> digest_of(Bytes bytes) noexcept {
  if (bytes.size() != 16) return std::nullopt;
  Digest digest;
  for (std::size_t index = 0; index < 8; ++index) {
    digest.high = digest.high << 8 | std::to_integer<std::uint64_t>(bytes[index]);
    digest.low = digest.low << 8 | std::to_integer<std::uint64_t>(bytes[8 + index]);
  }
  return digest;
}

}  // namespace cachier::local
