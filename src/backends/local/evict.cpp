#include "backends/local/removal.hpp"
#include "backends/local/store.hpp"
#include "platform/random.hpp"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <mutex>
#include <new>
#include <string>
#include <utility>
#include <vector>

namespace cachier::local {
namespace {

/// Rows that a put looks at itself where the housekeeper does not keep up.
constexpr std::int64_t kSmallStep = 256;
/// How long it waits for the housekeeper's step to end.
constexpr auto kPatience = std::chrono::milliseconds(4);

/// By how much the counts exceed the bounds once these are lowered by `part` of
/// themselves. Not positive: they do not.
Counts beyond(const Counts& counts, const Bounds& bounds, std::uint64_t part) noexcept {
  const auto over = [part](std::int64_t count, std::uint64_t bound) -> std::int64_t {
    if (bound == Bounds::kNone || count < 0) return 0;
    const std::uint64_t wanted = part == 0 ? bound : bound - bound / part;
    return static_cast<std::int64_t>(static_cast<std::uint64_t>(count) - wanted);
  };
  return {over(counts.entries, bounds.entries), over(counts.bytes, bounds.bytes)};
}

bool is_over(const Counts& beyond) noexcept {
  return beyond.entries > 0 || beyond.bytes > 0;
}

}  // namespace

bool LocalStore::keep_within(const Function* function, const Bounds& bounds) noexcept {
  try {
    const std::lock_guard hold(bounding_);
    const auto known =
        std::find_if(bounded_.begin(), bounded_.end(),
                     [&](const Bounded& one) { return one.function == function; });
    if (known != bounded_.end()) {
      known->bounds = bounds;
    } else if (bounds.any()) {
      // Processes begin in different places, so as not to meet.
      const auto begin =
          static_cast<std::int64_t>(platform::random_bits() >> (64 - kDigestBits));
      bounded_.push_back({function, bounds, begin});
    }
    has_bounds_.store(!bounded_.empty());
    return true;
  } catch (const std::bad_alloc&) {
    return false;
  }
}

Result<LocalStore::Excess> LocalStore::excess_of(Connection& connection,
                                                 const Function& function,
                                                 std::int64_t number) {
  if (!has_bounds_.load(std::memory_order_relaxed)) return Excess::none;
  const std::lock_guard hold(bounding_);
  Excess worst = Excess::none;
  for (const Bounded& one : bounded_) {
    if (one.function != nullptr && one.function != &function) continue;
    const auto counts = read_counts(connection, one.function != nullptr ? number : 0);
    if (!counts) return counts.error();
    if (!is_over(beyond(*counts, one.bounds, 0))) continue;
    // Two hundredths above the bound: as much above is left for those who put at once.
    Bounds raised = one.bounds;
    if (raised.entries != Bounds::kNone) raised.entries += raised.entries / 50;
    if (raised.bytes != Bounds::kNone) raised.bytes += raised.bytes / 50;
    worst = std::max(worst,
                     is_over(beyond(*counts, raised, 0)) ? Excess::much : Excess::some);
  }
  return worst;
}

void LocalStore::make_room(Site& site, Excess excess, Deadline deadline) noexcept {
  try {
    if (excess == Excess::much) evict_all(site, {kSmallStep, true}, deadline);
  } catch (const std::bad_alloc&) {
    // The housekeeper tries it again.
  }
  platform::request_chore(*this);
}

bool LocalStore::evict_all(Site& site, const Step& step, Deadline deadline) {
  // One at a time: two would look at the same rows.
  const auto patience = step.pressed ? kPatience : Deadline::duration::zero();
  if (!evicting_.try_lock_until(
          std::min(deadline, std::chrono::steady_clock::now() + patience)))
    return false;
  const std::lock_guard hold(evicting_, std::adopt_lock);
  std::vector<Bounded> all;
  {
    const std::lock_guard reading(bounding_);
    all = bounded_;
  }
  bool more = false;
  for (std::size_t at = 0; at < all.size(); ++at) {
    const auto left = evict(site, all[at], step, deadline);
    more = more || (left && *left);
    const std::lock_guard writing(bounding_);
    bounded_[at].hand = all[at].hand;
  }
  return more;
}

Result<bool> LocalStore::evict(Site& site, Bounded& of, const Step& step,
                               Deadline deadline) {
  // Of this database: the function may have had another row in one before.
  const std::int64_t number =
      of.function != nullptr ? site.functions().find(*of.function) : 0;
  if (of.function != nullptr && number == 0) return false;  // nothing was stored here
  Counts counts;
  {
    auto lease = site.pool().lend(deadline);
    if (!lease) return lease.error();
    const auto read = read_counts(**lease, number);
    if (!read) return read.error();
    counts = *read;
  }
  if (!is_over(beyond(counts, of.bounds, 0))) return false;
  // A little more than needed, so that not every put from now on is one too many.
  Counts needed = beyond(counts, of.bounds, 32);

  const Range all = of.function == nullptr ? kAllRows : rows_of(number);
  if (of.hand < all.first) of.hand += all.first;
  if (of.hand > all.last) of.hand = all.first;
  Removal removal(site, static_cast<std::size_t>(step.rows));
  // Where there are fewer rows than may be looked at, twice round: the first time all
  // may have been asked for.
  std::int64_t looked = 0;
  Portion portion;
  const auto done = [&] { return !is_over(needed) || portion.full(); };
  for (int rounds = 0; looked < step.rows && rounds < 3 && !done();) {
    const std::int64_t asked = step.rows - looked;
    const auto rows = walk(site, {of.hand, all.last}, asked, deadline);
    if (!rows) return rows.error();
    for (const SeenRow& row : *rows) {
      if (done()) break;  // and the hand stays
      ++looked;
      of.hand = row.row + 1;
      const bool spared = !step.pressed || looked <= step.rows / 2;
      if (row.is_entry() && site.table().unmark(row.digest) && spared) continue;
      if (auto error = removal.add(row, deadline)) return *error;
      portion.add(row.size, row.apart);
      if (row.is_entry()) needed -= Counts::of_entry(row.size);
    }
    if (static_cast<std::int64_t>(rows->size()) < asked && !done()) {
      of.hand = all.first;
      ++rounds;
    }
  }
  // Nobody need be told: what is remembered of them is what was stored last.
  std::vector<ValueFile> files;
  const auto removed = removal.remove(std::nullopt, deadline, files);
  if (!removed) return removed.error();
  delete_later(site, files);
  counts -= *removed;
  const auto evicted = static_cast<std::uint64_t>(removed->entries);
  tally_.evicted(evicted);
  site.table().evictions().fetch_add(evicted, std::memory_order_relaxed);
  return is_over(beyond(counts, of.bounds, 0));
}

void LocalStore::delete_later(const Site& site, const std::vector<ValueFile>& files) {
  if (files.empty()) return;
  {
    const std::lock_guard hold(bounding_);
    doomed_.reserve(doomed_.size() + files.size());
    for (const ValueFile& file : files)
      doomed_.push_back(site.value_files().path_of(file));
  }
  platform::request_chore(*this);
}

bool LocalStore::delete_doomed(Deadline deadline) noexcept {
  for (;;) {
    std::string path;
    {
      const std::lock_guard hold(bounding_);
      if (doomed_.empty()) return true;
      path = std::move(doomed_.back());
      doomed_.pop_back();
    }
    ::unlink(path.c_str());
    if (std::chrono::steady_clock::now() >= deadline) return false;
  }
}

}  // namespace cachier::local
