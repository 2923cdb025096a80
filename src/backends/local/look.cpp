#include <cachier/envelope.hpp>

#include "backends/local/protocol.hpp"
#include "backends/local/store.hpp"
#include "platform/clock.hpp"

#include <unistd.h>

#include <cstring>
#include <new>

namespace cachier::local {

using shared::Miss;

namespace {

/// A copy of the envelope that outlives the statement, so placed that a value which
/// wants to be aligned is.
std::pair<std::shared_ptr<const void>, Bytes> copy_of(Bytes bytes) {
  const bool aligned = bytes.size() >= envelope::kAlignedFrom;
  std::shared_ptr<std::byte[]> owner = std::make_shared_for_overwrite<std::byte[]>(
      bytes.size() + (aligned ? envelope::kAlignment : 0));
  void* start = owner.get();
  std::size_t space = bytes.size() + envelope::kAlignment;
  if (aligned) start = std::align(envelope::kAlignment, bytes.size(), start, space);
  if (!bytes.empty()) std::memcpy(start, bytes.data(), bytes.size());
  return {std::move(owner), {static_cast<const std::byte*>(start), bytes.size()}};
}

}  // namespace

/// What the database holds for a call at one moment.
struct LocalStore::Row {
  Basis basis;
  bool filled = false;  ///< an entry, not a tombstone
  bool none = false;
  Time stored_at;
  std::shared_ptr<const void> owner;
  Bytes envelope;
  std::shared_ptr<const FileBytes> file;  ///< where the envelope is mapped
  std::optional<ValueFile> apart;         ///< where it is yet to be read
};

Result<LocalStore::Row> LocalStore::read(Site& site, const Id& id,
                                         [[maybe_unused]] std::uint64_t& counter,
                                         Deadline deadline) {
  auto lease = site.pool().lend(deadline);
  if (!lease) return lease.error();
  Connection& connection = **lease;
  Row row;
  std::int64_t number = site.functions().find(*id.function);
  if (number == 0) {
    const auto found = find_function(connection, *id.function);
    if (!found) {
      lease->discard();
      return found.error();
    }
    if (found->number == 0) {
      row.basis.epoch = found->epoch;
      return row;
    }
    number = found->number;
    site.functions().remember(*id.function, number);
  }
  [[maybe_unused]] std::optional<Run> open;
  if constexpr (Protocol::kCountsInOpenSnapshot) {
    open.emplace(connection, Sql::find_function);
    open->bind(1, std::string_view(id.function->id())).step();
    Protocol::at(Protocol::Point::snapshot_open);
    counter = site.table().counter(slot_of(id.digest)).load();
  }
  Run run(connection, Sql::read_entry);
  run.bind(1, number).bind(2, row_of(number, id.digest));
  if (const int result = run.step(); result != SQLITE_ROW) {
    lease->discard();
    return sqlite_error(connection.handle(),
                        result == SQLITE_DONE ? SQLITE_CORRUPT : result,
                        "cannot read the cache's database");
  }
  row.basis.epoch = static_cast<std::uint64_t>(run.number(0));
  if (run.is_null(1)) return row;
  row.basis.version.words[0] = static_cast<std::uint64_t>(run.number(1));
  const std::int64_t stored_at = run.number(2);
  row.filled = stored_at != 0;
  row.stored_at = Time(Duration(stored_at));
  row.none = (run.number(3) & kFlagNone) != 0;
  if (row.filled && (run.number(3) & kFlagApart) != 0) {
    row.apart = ValueFile{row_of(number, id.digest), row.basis.version.words[0]};
  } else if (row.filled) {
    std::tie(row.owner, row.envelope) = copy_of(run.bytes(4));
  }
  return row;
}

Result<Basis> LocalStore::basis_now(Site& site, const Id& id, Deadline deadline) {
  std::uint64_t counter = 0;
  const auto row = read(site, id, counter, deadline);
  if (!row) return row.error();
  return row->basis;
}

Result<LocalStore::Row> LocalStore::read_all(Site& site, const Id& id,
                                             std::uint64_t& counter,
                                             Deadline deadline) {
  constexpr int kTries = 8;
  for (int tried = 1;; ++tried) {
    auto row = read(site, id, counter, deadline);
    if (!row || !row->apart) return row;
    auto opened = site.value_files().open(*row->apart);
    if (!opened) return opened.error();
    if (*opened) {
      row->envelope = (*opened)->envelope;
      row->owner = std::move((*opened)->owner);
      row->file = std::move((*opened)->file);
      return row;
    }
    // Replaced since the row was read; if it still is not there, it is lost.
    if (tried == kTries) return row;
  }
}

Miss LocalStore::judge(const Row& row, const Id& id, const Ask& ask, Look& look) {
  look.token.basis = row.basis;
  look.entry.reset();
  look.fresh = look.damaged = look.untrusted = false;
  if (!row.filled) return Miss::absent;
  if (row.none && !ask.allow_none) return Miss::empty;
  if (ask.unreadable == row.basis.version) return Miss::unreadable;
  auto value =
      envelope::open(row.envelope, row.owner, id, row.stored_at, row.basis.version);
  if (!value) return shared::refuse(value.error(), look);
  if (!*value) return Miss::collision;
  if ((*value)->is_none() && !ask.allow_none) return Miss::empty;
  if (row.file) {
    Value mapped = Value::in_file((*value)->codec(), (*value)->bytes(), row.file);
    mapped.set_marks_of(**value);
    if (!row.file->is_unchanged()) {
      look.damaged = true;
      return Miss::damaged;
    }
    **value = std::move(mapped);
  }
  look.entry = Entry{std::move(**value), row.stored_at, row.basis.version};
  look.fresh = is_fresh(row.stored_at, look.now, ask.max_age);
  return look.fresh ? Miss::none : Miss::stale;
}

Result<Look> LocalStore::look(const Id& id, const Ask& ask,
                              Deadline deadline) noexcept {
  try {
    auto answer = in_site(
        Check::now_and_then, deadline,
        [&](const Sites::Pointer& site) { return look_in(*site, id, ask, deadline); });
    tally_.answered(answer);
    return answer;
  } catch (const std::bad_alloc&) {
    return out_of_memory();
  }
}

std::optional<Entry> LocalStore::recall(const Id& id, const Ask& ask) noexcept {
  Look look;
  if (is_check_due() || !find_near(id, ask, look)) return std::nullopt;
  return std::move(look.entry);
}

bool LocalStore::copy_fresh(const Id& id, const Ask& ask, const std::type_info& type,
                            void* to, std::size_t size) noexcept {
  if (is_check_due() || ask.max_age <= Duration::zero()) return false;
  return sites_.near_cache().copy(id, ask, type, to, size);
}

void LocalStore::keep_copy(const Id& id, const Version& version,
                           const std::type_info& type, const void* from,
                           std::size_t size) noexcept {
  sites_.near_cache().add_copy(id, version, type, from, size);
}

bool LocalStore::find_near(const Id& id, const Ask& ask, Look& look) noexcept {
  if (ask.max_age <= Duration::zero()) return false;
  auto found = sites_.near_cache().find(id, ask);
  if (!found) return false;
  const FileBytes* const file = found->entry.value.file();
  if (file != nullptr && !file->is_unchanged()) return false;
  look.now = found->now;
  look.token.basis = {found->epoch, found->entry.version};
  look.entry = std::move(found->entry);
  look.fresh = true;
  return true;
}

Result<Miss> LocalStore::read_and_judge(Site& site, const Id& id, const Ask& ask,
                                        std::uint64_t counter, Look& look,
                                        Deadline deadline) noexcept {
  try {
    const auto row = read_all(site, id, counter, deadline);
    if (!row) return row.error();
    Protocol::at(Protocol::Point::row_read);
    if constexpr (!Protocol::kCountsBeforeReading)
      counter = site.table().counter(slot_of(id.digest)).load();
    look.now = platform::wall_now();
    const Miss miss = judge(*row, id, ask, look);
    if (look.entry) {
      site.table().mark(id.digest);
      sites_.near_cache().remember(site.table(), id, counter, row->basis.epoch,
                                   *look.entry);
    }
    return miss;
  } catch (const std::bad_alloc&) {
    return out_of_memory();
  }
}

Result<Look> LocalStore::look_in(Site& site, const Id& id, const Ask& ask,
                                 Deadline deadline) {
  const auto& counter = site.table().counter(slot_of(id.digest));
  const std::uint64_t counted = counter.load();
  Look look;
  if (find_near(id, ask, look)) return look;
  auto miss = read_and_judge(site, id, ask, counted, look, deadline);
  if (miss) miss = claim_in(site, id, ask, counted, *miss, look, deadline);
  if (!miss) return miss.error();
  tally_.looked(look, *miss);
  return look;
}

Result<Miss> LocalStore::claim_in(Site& site, const Id& id, const Ask& ask,
                                  std::uint64_t counted, Miss miss, Look& look,
                                  Deadline deadline) {
  if (look.fresh || !ask.claim) return miss;
  const auto& counter = site.table().counter(slot_of(id.digest));
  look.outcome = site.table().outcome(id.digest, look.now);
  if (look.outcome == Outcome::not_storable) return miss;
  const std::uint32_t generation = site.table().claim_generation(*id.function).load();
  const auto claim = site.claims().take(id.digest, generation);
  auto& owner = site.table().owner(slot_of(id.digest));
  if (claim.serial == 0) {
    look.claim = Look::Claim::busy;
    look.owner_process = claim.here ? static_cast<std::uint32_t>(::getpid())
                                    : owner.load(std::memory_order_relaxed);
    return miss;
  }

  // A put may have been finished between the look and the claim: not if the slot's
  // counter was at rest and still is what it was.
  const std::uint64_t recounted = counter.load();
  const bool changed =
      !site.table().is_shared() || (counted & 1) != 0 || recounted != counted;
  const auto give_back = [&] {
    site.claims().end(id.digest, claim.serial);
    site.table().wake(slot_of(id.digest));
  };
  if (changed) {
    auto again = read_and_judge(site, id, ask, recounted, look, deadline);
    if (!again || look.fresh) {
      give_back();
      look.outcome = Outcome::none;
      return again;
    }
    miss = *again;
  }
  owner.store(static_cast<std::uint32_t>(::getpid()), std::memory_order_relaxed);
  look.claim = Look::Claim::granted;
  look.token.serial = claim.serial;
  return miss;
}

}  // namespace cachier::local
