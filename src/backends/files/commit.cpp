#include <cachier/envelope.hpp>

#include "backends/files/store.hpp"
#include "backends/shared/wakes.hpp"
#include "platform/clock.hpp"
#include "platform/random.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <new>
#include <string>

namespace cachier::files {
namespace {

constexpr char kCannotStore[] = "cannot store in the cache's files";
constexpr std::int64_t kTidyEvery = 3'600'000'000'000;

}  // namespace

Result<Version> FilesStore::commit(const Id& id, const Change& change,
                                   Deadline deadline) noexcept {
  auto answer = apply(id, change, deadline);
  tally_.answered(answer);
  return answer;
}

Result<Version> FilesStore::apply(const Id& id, const Change& change,
                                  Deadline deadline) noexcept {
  try {
    switch (change.kind) {
      case Change::Kind::put:
        return put(id, change, deadline);
      case Change::Kind::release:
        return release(id, change, deadline);
      case Change::Kind::renew:
        return Error(ErrorCode::unsupported, "cannot renew a claim of the local store",
                     "its claims have no lease: they last as long as their process");
      case Change::Kind::erase: {
        auto version = write(id, change, deadline);
        if (version) shared::wake(id.digest);
        return version;
      }
    }
  } catch (const std::bad_alloc&) {
    return out_of_memory();
  }
  return Error(ErrorCode::invalid_argument, "cannot change the entry",
               "there is no such kind of change");
}

Result<Version> FilesStore::put(const Id& id, const Change& change, Deadline deadline) {
  if (change.value.codec() == Codec::live)
    return Error(ErrorCode::unsupported, "cannot store this value",
                 "it is an object of this process, not bytes",
                 "use the memory backend for it");
  // Of a claim that is not held in this process, a parent's for one, nothing may come.
  if (change.token && !claims_.holds(id.digest, change.token->serial))
    return ErrorCode::claim_lost;
  auto version = write(id, change, deadline);
  if (version || version.error() == ErrorCode::claim_lost) end_claim(id, change);
  if (version) shared::wake(id.digest);
  return version;
}

Result<Version> FilesStore::write(const Id& id, const Change& change,
                                  Deadline deadline) {
  const Version version{{platform::random_bits(), 0, 0}};
  Head head;
  head.version = version.words[0];
  head.digest = id.digest;
  head.function = id.function->id();
  std::optional<envelope::Draft> draft;
  if (change.kind == Change::Kind::put) {
    // 0 is for tombstones: a clock may stand before 1970.
    head.stored_at = std::max(platform::wall_now(), Time(Duration(1)));
    draft.emplace(id, change.value);
    draft->stamp(head.stored_at, version);
    head.envelope_size = draft->head().size() + draft->content().size();
  }
  // Before others have to wait.
  std::string beginning = write_head(head);
  if (draft) beginning += as_text(draft->head());
  auto aside =
      disk_.write_aside(as_bytes(beginning), draft ? draft->content() : Bytes());
  if (!aside) return aside.error();
  const std::string name = Disk::name_of(id.digest);
  for (;;) {
    auto answer = replace(id, change, name, version, *aside, deadline);
    if (!answer) return answer.error();
    if (*answer) {
      tidy_now_and_then(aside->now(), deadline);
      return **answer;
    }
    if (std::chrono::steady_clock::now() >= deadline) return too_late(kCannotStore);
  }
}

Result<Directory> FilesStore::open_entries(const Function& function) {
  const std::string path = disk_.entries(function);
  int error_number = ENOENT;
  // Whoever clears everything may take away what has just been made.
  for (int attempt = 0; attempt < 100 && error_number == ENOENT; ++attempt) {
    if (auto directory = Directory::open(path)) return directory;
    error_number = errno;
    if (error_number != ENOENT) break;
    error_number = disk_.make_function(function);
    if (error_number == 0) error_number = ENOENT;
  }
  return cannot("use", path, error_number);
}

Result<std::optional<Version>> FilesStore::replace(const Id& id, const Change& change,
                                                   const std::string& name,
                                                   Version version, Disk::Aside& aside,
                                                   Deadline deadline) {
  using Answer = std::optional<Version>;
  const auto held = locks_.of_entry(id.digest, deadline);
  if (!held) return too_late(kCannotStore);
  // First the directory, then the epoch: see "Epochs and clearing" in the page.
  const auto directory = open_entries(*id.function);
  if (!directory) return directory.error();
  const auto states = states_of(*id.function, deadline);
  if (!states) return states.error();
  const Basis now{states->epoch, directory->find(name, id).version};
  const bool puts = change.kind == Change::Kind::put;
  if (puts && change.token && change.token->basis != now) return ErrorCode::claim_lost;
  if (change.basis && *change.basis != now) return ErrorCode::claim_lost;
  if (change.epoch && *change.epoch != now.epoch) return ErrorCode::claim_lost;

  if (const int error_number = aside.move_to(*directory, name); error_number != 0) {
    // A clear has thrown the directory away, and it is gone by now.
    if (error_number == ENOENT && !Disk::is_at(*directory, disk_.entries(*id.function)))
      return Answer();
    return cannot("store in", disk_.entries(*id.function), error_number);
  }
  // Thrown away meanwhile, it was there before the clear, which counts it.
  directory->remove(name + ".o");
  return Answer(version);
}

Result<Version> FilesStore::release(const Id& id, const Change& change,
                                    Deadline deadline) {
  if (!change.token)
    return Error(ErrorCode::invalid_argument, "cannot release a claim",
                 "a release needs a token");
  if (!claims_.holds(id.digest, change.token->serial)) return ErrorCode::claim_lost;
  leave_outcome(id, change, deadline);
  end_claim(id, change);
  return change.token->basis.version;
}

void FilesStore::leave_outcome(const Id& id, const Change& change, Deadline deadline) {
  const std::string name = Disk::name_of(id.digest);
  const std::string mark = name + ".o";
  if (change.outcome == Outcome::none) {
    if (const auto directory = Directory::open(disk_.entries(*id.function)))
      directory.remove(mark);
    return;
  }
  // For want of one, those who wait compute one after the other.
  auto aside = disk_.make_mark(static_cast<std::uint64_t>(change.outcome),
                               platform::wall_now() + kOutcomeLife);
  if (!aside) return;
  const auto held = locks_.of_entry(id.digest, deadline);
  if (!held) return;
  const auto directory = open_entries(*id.function);
  if (!directory) return;
  const auto states = states_of(*id.function, deadline);
  if (!states) return;
  // Of what has changed since the claim was given it says nothing.
  const Basis now{states->epoch, directory->find(name, id).version};
  if (now == change.token->basis) (void)aside->move_to(*directory, mark);
}

void FilesStore::end_claim(const Id& id, const Change& change) noexcept {
  if (change.token && claims_.end(id.digest, change.token->serial))
    shared::wake(id.digest);
}

void FilesStore::tidy_now_and_then(std::int64_t now, Deadline deadline) {
  std::int64_t due = next_tidying_.load(std::memory_order_relaxed);
  const std::int64_t time = platform::coarse_now();
  if (time < due || !next_tidying_.compare_exchange_strong(due, time + kTidyEvery))
    return;
  disk_.tidy(now, std::min(deadline, std::chrono::steady_clock::now() +
                                         std::chrono::milliseconds(100)));
}

}  // namespace cachier::files
