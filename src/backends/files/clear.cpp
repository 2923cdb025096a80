#include "backends/files/store.hpp"
#include "backends/shared/wakes.hpp"
#include "platform/random.hpp"

#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <new>
#include <vector>

namespace cachier::files {
namespace {

constexpr char kCannotClear[] = "cannot clear the cache";

bool is_late(Deadline deadline) noexcept {
  return std::chrono::steady_clock::now() >= deadline;
}

Error too_much() {
  return {ErrorCode::deadline_exceeded, kCannotClear,
          "there was too much to do before the deadline", "clear again"};
}

}  // namespace

Result<std::uint64_t> FilesStore::clear(const Filter& filter, Clear what,
                                        Deadline deadline) noexcept {
  try {
    // With what must be there.
    if (const auto state = store_state(deadline); !state) return state.error();
    switch (what) {
      case Clear::entries: {
        auto removed = clear_entries(filter, deadline);
        shared::wake_all();
        return removed;
      }
      case Clear::stale:
        return remove_old(filter, false, deadline);
      case Clear::claims:
        return free_claims(filter, deadline);
    }
  } catch (const std::bad_alloc&) {
    return out_of_memory();
  }
  return Error(ErrorCode::invalid_argument, kCannotClear,
               "there is no such kind of clearing");
}

Result<std::int64_t> FilesStore::change_state(const Function* function,
                                              void (*change)(State& state)) {
  std::string path = disk_.path("state");
  if (function != nullptr) {
    if (const int error_number = disk_.make_function(*function); error_number != 0)
      return cannot("make", disk_.function(*function), error_number);
    path = disk_.function(*function) + "/state";
  }
  auto state = state_at(path);
  if (!state) return state.error();
  change(*state);
  auto aside = disk_.write_aside(as_bytes(write_state(*state)));
  if (!aside) return aside.error();
  if (const int error_number = aside->move_to(path); error_number != 0)
    return cannot("change", path, error_number);
  return aside->now();
}

Result<std::uint64_t> FilesStore::clear_entries(const Filter& filter,
                                                Deadline deadline) {
  std::string trash;
  {
    const auto held = locks_.of_states(deadline);
    if (!held) return too_late(kCannotClear);
    const auto now = change_state(
        filter.function, [](State& state) { state.epoch = platform::random_bits(); });
    if (!now) return now.error();
    if (!filter.stored_before) {
      const auto thrown =
          disk_.throw_away(filter.function != nullptr ? disk_.entries(*filter.function)
                                                      : disk_.functions(),
                           *now);
      if (!thrown) return thrown.error();
      trash = *thrown;
    }
  }
  if (filter.stored_before) return remove_old(filter, true, deadline);
  if (trash.empty()) return std::uint64_t{0};
  const auto removed = disk_.delete_tree(trash, deadline);
  if (!removed) return too_much();
  return *removed;
}

Result<std::uint64_t> FilesStore::free_claims(const Filter& filter, Deadline deadline) {
  {
    const auto held = locks_.of_states(deadline);
    if (!held) return too_late(kCannotClear);
    const auto now = change_state(filter.function, [](State& state) {
      // Of which the lower half counts: another one.
      state.claims ^= platform::random_bits() | 1;
    });
    if (!now) return now.error();
  }
  shared::wake_all();
  return std::uint64_t{0};
}

Result<std::uint64_t> FilesStore::remove_old(const Filter& filter, bool disturb,
                                             Deadline deadline) {
  const Time before = filter.stored_before.value_or(Time::max());
  std::vector<std::string> folders;
  if (filter.function != nullptr) {
    folders.push_back(disk_.entries(*filter.function));
  } else if (const auto functions = Directory::open(disk_.functions())) {
    for (const std::string& name : functions.names())
      folders.push_back(disk_.functions() + "/" + name + "/e");
  }
  std::uint64_t removed = 0;
  for (const std::string& folder : folders) {
    const auto directory = Directory::open(folder);
    if (!directory) continue;
    for (const std::string& name : directory.names()) {
      if (is_late(deadline)) return too_much();
      if (!Disk::digest_of(name)) continue;
      const auto gone = remove_one(folder, name, before, disturb, deadline);
      if (!gone) return gone.error();
      if (*gone) ++removed;
    }
  }
  return removed;
}

Result<bool> FilesStore::remove_one(const std::string& folder, const std::string& name,
                                    Time stored_before, bool disturb,
                                    Deadline deadline) {
  const std::string path = folder + "/" + name;
  const Digest digest = *Disk::digest_of(name);
  auto loaded = disk_.load(path, kLongestHead);
  auto head = read_head(loaded.bytes, loaded.stamp.size);
  if (!head || head->digest != digest || head->stored_at >= stored_before) return false;
  // What it is computed for has its claim: that of its function.
  const Function& function = Function::intern(head->function);
  if (disk_.entries(function) != folder) return false;

  Change claim;
  if (!disturb) {
    const auto states = states_of(function, deadline);
    if (!states) return states.error();
    claim.token = Token{{}, claims_.take(digest, states->claims).serial};
  }
  const bool keep_version = !disturb && claim.token->serial == 0;
  const auto end = [&] {
    if (claim.token && claims_.end(digest, claim.token->serial)) shared::wake(digest);
  };
  const auto held = locks_.of_entry(digest, deadline);
  if (!held) {
    end();
    return too_late(kCannotClear);
  }
  // As it was before the claim and the lock?
  const std::uint64_t version = head->version;
  loaded = disk_.load(path, kLongestHead);
  head = read_head(loaded.bytes, loaded.stamp.size);
  bool removed = false;
  if (head && head->version == version) {
    const bool is_entry = !head->is_tombstone();
    int error_number = 0;
    if (!keep_version) {
      error_number = ::unlink(path.c_str()) == 0 ? 0 : errno;
      removed = is_entry && error_number == 0;
    } else if (is_entry) {
      Head tombstone = *head;
      tombstone.stored_at = {};
      tombstone.envelope_size = 0;
      if (auto aside = disk_.write_aside(as_bytes(write_head(tombstone)))) {
        error_number = aside->move_to(path);
        removed = error_number == 0;
      } else {
        end();
        return aside.error();
      }
    }
    if (error_number != 0 && error_number != ENOENT) {
      end();
      return cannot("remove", path, error_number);
    }
  }
  end();
  return removed;
}

}  // namespace cachier::files
