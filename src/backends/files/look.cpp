#include <cachier/envelope.hpp>

#include "backends/files/store.hpp"
#include "platform/clock.hpp"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <new>

namespace cachier::files {

using shared::Miss;

/// What is there for a call at one moment.
struct FilesStore::Seen {
  Basis basis;
  std::uint32_t claims = 0;
  Stamp stamp;
  bool damaged = false;
  std::optional<Head> head;  ///< of an entry; its views are of `owner`
  Bytes envelope;
  std::shared_ptr<const void> owner;
};

Result<FilesStore::Seen> FilesStore::read(const Id& id, const std::string& path,
                                          Deadline deadline) {
  // Before the entry: what is computed because of what this look sees is not stored
  // where a clear comes between.
  const auto states = states_of(*id.function, deadline);
  if (!states) return states.error();
  Seen seen;
  seen.basis.epoch = states->epoch;
  seen.claims = states->claims;
  auto loaded = disk_.load_entry(path);
  if (!loaded.stamp) {
    if (errno == ENOENT) return seen;
    return cannot("read", path, errno);
  }
  seen.stamp = loaded.stamp;
  const auto head = read_head(loaded.bytes, loaded.stamp.size);
  if (!head || head->digest != id.digest || head->function != id.function->id()) {
    seen.damaged = true;
    seen.basis.version = version_of(loaded.stamp);
    return seen;
  }
  seen.basis.version = Version{{head->version, 0, 0}};
  if (head->is_tombstone()) return seen;
  seen.damaged = !loaded.whole;
  seen.head = *head;
  seen.envelope = loaded.bytes.subspan(head->size);
  seen.owner = std::move(loaded.owner);
  return seen;
}

Miss FilesStore::judge(const Seen& seen, const Id& id, const Ask& ask, Look& look) {
  look.token.basis = seen.basis;
  look.entry.reset();
  look.fresh = look.untrusted = false;
  look.damaged = seen.damaged;
  if (seen.damaged) return Miss::damaged;
  if (!seen.head) return Miss::absent;
  if (ask.unreadable == seen.basis.version) return Miss::unreadable;
  const Time stored_at = seen.head->stored_at;
  auto value =
      envelope::open(seen.envelope, seen.owner, id, stored_at, seen.basis.version);
  if (!value) return shared::refuse(value.error(), look);
  if (!*value) return Miss::collision;
  Entry entry{std::move(**value), stored_at, seen.basis.version};
  near_cache_.remember(id, seen.stamp, seen.basis.epoch, entry);
  if (entry.value.is_none() && !ask.allow_none) return Miss::empty;
  look.entry = std::move(entry);
  look.fresh = is_fresh(stored_at, look.now, ask.max_age);
  return look.fresh ? Miss::none : Miss::stale;
}

bool FilesStore::find_near(const Id& id, const Ask& ask, const std::string& path,
                           Look& look) {
  if (ask.max_age <= Duration::zero()) return false;
  auto found = near_cache_.find(id);
  if (!found || (found->entry.value.is_none() && !ask.allow_none) ||
      ask.unreadable == found->entry.version ||
      (id.function->keyring() != nullptr && !found->entry.value.is_signed()))
    return false;
  if (ask.max_age != kNoLimit) {
    look.now = platform::wall_now();
    if (!is_fresh(found->entry.stored_at, look.now, ask.max_age)) return false;
  }
  if (disk_.stamp_at(path) != found->stamp) return false;
  look.token.basis = {found->epoch, found->entry.version};
  look.entry = std::move(found->entry);
  look.fresh = true;
  return true;
}

Result<Look> FilesStore::look(const Id& id, const Ask& ask,
                              Deadline deadline) noexcept {
  try {
    const std::string path = disk_.entry(id);
    Look look;
    if (find_near(id, ask, path, look)) {
      near_hits_.fetch_add(1, std::memory_order_relaxed);
      return look;
    }
    const auto miss = look_further(id, ask, path, look, deadline);
    tally_.answered(miss);
    if (!miss) return miss.error();
    tally_.looked(look, *miss);
    return look;
  } catch (const std::bad_alloc&) {
    return out_of_memory();
  }
}

Result<Miss> FilesStore::look_further(const Id& id, const Ask& ask,
                                      const std::string& path, Look& look,
                                      Deadline deadline) {
  auto seen = read(id, path, deadline);
  if (!seen) return seen.error();
  look.now = platform::wall_now();
  Miss miss = judge(*seen, id, ask, look);
  if (look.fresh || !ask.claim) return miss;

  look.outcome = outcome_of(path, look.now);
  if (look.outcome == Outcome::not_storable) return miss;
  const auto claim = claims_.take(id.digest, seen->claims);
  if (claim.serial == 0) {
    look.claim = Look::Claim::busy;
    if (claim.here) look.owner_process = static_cast<std::uint32_t>(::getpid());
    return miss;
  }

  // A put may have been finished between the look and the claim.
  const auto states = states_of(*id.function, deadline);
  const bool same = states && states->epoch == seen->basis.epoch &&
                    disk_.stamp_at(path) == seen->stamp;
  std::optional<Error> error;
  if (!states) error = states.error();
  if (!error && !same) {
    if (auto again = read(id, path, deadline)) {
      look.now = platform::wall_now();
      miss = judge(*again, id, ask, look);
    } else {
      error = again.error();
    }
  }
  if (error || look.fresh) {
    Change change;
    change.token = Token{{}, claim.serial};
    end_claim(id, change);
    if (error) return *error;
    look.outcome = Outcome::none;
    return miss;
  }
  look.claim = Look::Claim::granted;
  look.token.serial = claim.serial;
  return miss;
}

Outcome FilesStore::outcome_of(const std::string& path, Time now) const {
  const Stamp left = disk_.stamp_at(path + ".o");
  if (!left) return Outcome::none;
  const Time until{Duration(left.modified)};
  const auto outcome = static_cast<Outcome>(std::min<std::uint64_t>(left.size, 255));
  const bool known = outcome == Outcome::failed || outcome == Outcome::not_storable;
  if (known && until > now && until - now <= kOutcomeLife) return outcome;
  ::unlink((path + ".o").c_str());
  return Outcome::none;
}

}  // namespace cachier::files
