#include <cachier/envelope.hpp>

#include "backends/local/store.hpp"
#include "platform/clock.hpp"
#include "platform/random.hpp"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <new>

namespace cachier::local {
namespace {

/// How long a put waits for its turn after one that has waited in vain, and how long
/// that one waited at least.
constexpr auto kPatienceIfStalled = std::chrono::milliseconds(50);
constexpr auto kInVain = std::chrono::milliseconds(500);

constexpr char kCannotStore[] = "cannot store in the cache's database";

Version version_of(std::uint64_t word) noexcept { return Version{{word, 0, 0}}; }

}  // namespace

/// What a change finds, inside its transaction.
struct LocalStore::State {
  FunctionRow function;
  Version version;
  // Of the row that will be replaced.
  std::optional<ValueFile> file;
  Counts counts;
};

Result<Version> LocalStore::commit(const Id& id, const Change& change,
                                   Deadline deadline) noexcept {
  auto answer = apply(id, change, deadline);
  tally_.answered(answer);
  return answer;
}

Result<Version> LocalStore::apply(const Id& id, const Change& change,
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
      case Change::Kind::erase:
        return erase(id, change, deadline);
    }
  } catch (const std::bad_alloc&) {
    return out_of_memory();
  }
  return Error(ErrorCode::invalid_argument, "cannot change the entry",
               "there is no such kind of change");
}

Result<Version> LocalStore::put(const Id& id, const Change& change, Deadline deadline) {
  if (change.value.codec() == Codec::live)
    return Error(ErrorCode::unsupported, "cannot store this value",
                 "it is an object of this process, not bytes",
                 "use the memory backend for it");
  // Of a claim that is not held in this process, a parent's for one, nothing may come.
  if (change.token && !sites_.holder_of(id.digest, change.token->serial))
    return ErrorCode::claim_lost;
  // Where the last one waited in vain for its turn, somebody may have been stopped in
  // mid-write, and each call would wait as long.
  const auto begun = std::chrono::steady_clock::now();
  if (stalled_.load(std::memory_order_relaxed))
    deadline = std::min(deadline, begun + kPatienceIfStalled);
  auto answer =
      in_site(Check::now, deadline, [&](const Sites::Pointer& site) -> Result<Version> {
        auto version = write(*site, id, change, deadline);
        if (version) {
          stalled_.store(false, std::memory_order_relaxed);
        } else if (version.error() == ErrorCode::deadline_exceeded &&
                   std::chrono::steady_clock::now() - begun >= kInVain) {
          stalled_.store(true, std::memory_order_relaxed);
        }
        if (version && end_claim(id, change) != site)
          site->table().wake(slot_of(id.digest));
        const bool first_file = version &&
                                change.value.bytes().size() > kLargestInDatabase &&
                                site->note_value_file();
        const bool last_before_index = version && counts_to_index();
        if (last_before_index) index_is_due_.store(true);
        if (first_file || last_before_index || (version && site->wants_checkpoint()))
          platform::request_chore(*this);
        return version;
      });
  if (!answer && answer.error() == ErrorCode::claim_lost) end_claim(id, change);
  return answer;
}

Result<Version> LocalStore::erase(const Id& id, const Change& change,
                                  Deadline deadline) {
  return in_site(Check::now, deadline, [&](const Sites::Pointer& site) {
    auto version = write(*site, id, change, deadline);
    if (version) site->table().wake(slot_of(id.digest));
    return version;
  });
}

Result<Version> LocalStore::write(Site& site, const Id& id, const Change& change,
                                  Deadline deadline) {
  const bool puts = change.kind == Change::Kind::put;
  // Hashed and copied, or written, before others have to wait.
  std::optional<envelope::Draft> draft;
  std::optional<ValueFiles::Made> file;
  std::string envelope;
  if (puts) {
    draft.emplace(id, change.value);
    if (change.value.bytes().size() > kLargestInDatabase) {
      auto made = site.value_files().make(draft->head(), draft->content());
      if (!made) return made.error();
      file.emplace(std::move(*made));
    } else {
      envelope = draft->whole();
    }
  }
  const std::string digest = digest_bytes(id.digest);

  auto transaction = Transaction::begin(site, deadline);
  if (!transaction) return transaction.error();
  Connection& connection = transaction->connection();

  State state;
  state.function.number = site.functions().find(*id.function);
  if (state.function.number == 0) {
    const auto function = find_function(connection, *id.function);
    if (!function) return function.error();
    state.function = *function;
  }
  if (state.function.number != 0) {
    Run run(connection, Sql::read_state);
    run.bind(1, state.function.number)
        .bind(2, row_of(state.function.number, id.digest));
    const int result = run.step();
    if (result != SQLITE_ROW)
      return transaction->fail(result == SQLITE_DONE ? SQLITE_CORRUPT : result,
                               kCannotStore);
    state.function.epoch = static_cast<std::uint64_t>(run.number(0));
    if (!run.is_null(1)) {
      const auto version = static_cast<std::uint64_t>(run.number(1));
      if (run.number(2) != 0) state.version = version_of(version);
      if ((run.number(3) & kFlagApart) != 0)
        state.file = {row_of(state.function.number, id.digest), version};
      if (run.number(2) != 0 && run.number(4) != 0)
        state.counts = Counts::of_entry(run.number(5));
    }
  }

  const Basis now{state.function.epoch, state.version};
  if (puts && change.token && change.token->basis != now) return ErrorCode::claim_lost;
  if (change.basis && *change.basis != now) return ErrorCode::claim_lost;
  if (change.epoch && *change.epoch != now.epoch) return ErrorCode::claim_lost;

  if (state.function.number == 0) {
    const auto number = add_function(*transaction, *id.function, now.epoch);
    if (!number) return number.error();
    state.function.number = *number;
  }
  const Version version = version_of(platform::random_bits());
  // 0 is for tombstones: a clock may stand before 1970.
  const Time stored_at = std::max(platform::wall_now(), Time(Duration(1)));
  const std::int64_t row = row_of(state.function.number, id.digest);
  if (puts) draft->stamp(stored_at, version);
  if (file) {
    if (auto error = file->publish(draft->head(), {row, version.words[0]}))
      return *error;
  }
  {
    const std::int64_t flags =
        (puts && change.value.is_none() ? kFlagNone : 0) | (file ? kFlagApart : 0);
    Run run(connection, Sql::write_entry);
    run.bind(1, row)
        .bind(2, static_cast<std::int64_t>(now.epoch))
        .bind(3, static_cast<std::int64_t>(version.words[0]))
        .bind(4, puts ? stored_at.time_since_epoch().count() : 0)
        .bind(5, flags)
        .bind(6, puts ? static_cast<std::int64_t>(change.value.bytes().size()) : 0)
        .bind(7, std::as_bytes(std::span(digest)));
    if (puts && !file) {
      const auto head = as_text(draft->head());
      envelope.replace(0, head.size(), head);  // stamped now
      run.bind(8, as_bytes(envelope));
    } else {
      run.bind_null(8);
    }
    if (run.step() != SQLITE_DONE) return transaction->fail(run.result(), kCannotStore);
  }
  Counts change_of_counts;
  if (puts)
    change_of_counts =
        Counts::of_entry(static_cast<std::int64_t>(change.value.bytes().size()));
  change_of_counts -= state.counts;
  if (auto error = account(*transaction, state.function.number, change_of_counts))
    return *error;
  const auto excess = puts ? excess_of(connection, *id.function, state.function.number)
                           : Result<Excess>(Excess::none);
  if (!excess) return excess.error();
  if (auto error = transaction->commit(slot_of(id.digest))) return *error;
  if (file) file->keep();
  if (state.file) site.value_files().remove(*state.file);
  site.functions().remember(*id.function, state.function.number);
  site.table().forget_outcome(id.digest);
  if (puts) site.table().mark(id.digest);
  if (*excess != Excess::none) make_room(site, *excess, deadline);
  return version;
}

Result<Version> LocalStore::release(const Id& id, const Change& change,
                                    Deadline deadline) {
  if (!change.token)
    return Error(ErrorCode::invalid_argument, "cannot release a claim",
                 "a release needs a token");
  const auto holder = sites_.holder_of(id.digest, change.token->serial);
  if (holder == nullptr) return ErrorCode::claim_lost;
  if (change.outcome == Outcome::none ||
      !publish_outcome(*holder, id, change, deadline))
    holder->table().forget_outcome(id.digest);
  end_claim(id, change);
  return change.token->basis.version;
}

bool LocalStore::publish_outcome(Site& site, const Id& id, const Change& change,
                                 Deadline deadline) noexcept {
  constexpr int kTries = 4;
  const auto& counter = site.table().counter(slot_of(id.digest));
  for (int tried = 0; tried < kTries; ++tried) {
    const std::uint64_t counted = counter.load();
    try {
      const auto now = basis_now(site, id, deadline);
      if (!now || *now != change.token->basis) return false;
    } catch (const std::bad_alloc&) {
      return false;
    }
    site.table().set_outcome(id.digest, change.outcome, platform::wall_now());
    // Whoever changes the entry raises the counter and forgets the outcome after that.
    if (counter.load() == counted) return true;
  }
  return false;
}

Sites::Pointer LocalStore::end_claim(const Id& id, const Change& change) noexcept {
  if (!change.token) return nullptr;
  auto holder = sites_.holder_of(id.digest, change.token->serial);
  if (holder == nullptr) return nullptr;
  auto& owner = holder->table().owner(slot_of(id.digest));
  auto mine = static_cast<std::uint32_t>(::getpid());
  owner.compare_exchange_strong(mine, 0);
  holder->claims().end(id.digest, change.token->serial);
  holder->table().wake(slot_of(id.digest));
  return holder;
}

}  // namespace cachier::local
