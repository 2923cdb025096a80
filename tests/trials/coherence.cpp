/// Readers with near caches beside writers that are killed: no read is older than a
/// finished store or clear, or than any earlier read of any process.
///
///   coherence DIRECTORY READS SECONDS
///
/// Ends after READS reads, after SECONDS or at the first violation. Prints one JSON
/// object; exit: 0 nothing was violated, 1 something was, 2 it could not be done.

#include <cachier/entry.hpp>
#include <cachier/store.hpp>

#include "backends/local/local.hpp"
#include "backends/local/protocol.hpp"

#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <span>
#include <string>
#include <thread>
#include <vector>

namespace cachier {
namespace {

using std::chrono::steady_clock;

constexpr std::size_t kWriters = 2;
constexpr std::size_t kReaders = 4;   // the first without a near cache
constexpr std::size_t kKeysEach = 3;  // of a writer; the first of both share a slot
constexpr std::size_t kKeys = kWriters * kKeysEach;

/// Numbers of a key grow: each store and each clear takes one.
struct alignas(64) Floor {
  std::atomic<std::uint64_t> begun;
  std::atomic<std::uint64_t> finished;       ///< store or clear
  std::atomic<std::uint64_t> cleared_begun;  ///< a later read may miss
  std::atomic<std::uint64_t> seen;           ///< by any reader
};

/// In memory that survives its processes.
struct Shared {
  std::array<Floor, kKeys> floors;
  std::atomic<std::uint64_t> reads, hits, stores, clears;
  std::atomic<std::uint64_t> older, missing, restless, errors;
  std::atomic<bool> stop;

  void wrong(std::atomic<std::uint64_t>& what) {
    ++what;
    stop = true;
  }
};

Shared* shared = nullptr;
bool mortal = false;  // a writer, which may end at any moment
thread_local std::minstd_rand dice{std::random_device{}()};

Deadline soon() { return steady_clock::now() + std::chrono::seconds(20); }

struct Call {
  const Function* function;
  Digest digest;
  std::string key;
  [[nodiscard]] Id id() const noexcept {
    return {function, digest, std::as_bytes(std::span(key)), false};
  }
};

std::vector<Call> calls() {
  std::vector<Call> made;
  for (std::size_t key = 0; key < kKeys; ++key) {
    const auto& function = Function::intern("writer" + std::to_string(key / kKeysEach));
    Digest digest;
    digest.high = key + 1;
    digest.low = key % kKeysEach == 0 ? 7 : 100 + key;  // the slot
    made.push_back({&function, digest, std::to_string(key)});
  }
  return made;
}

bool store_one(Store& store, const Call& call, Floor& floor) {
  const std::uint64_t number = ++floor.begun;
  Change put;
  put.value = Value::of_bytes(
      Codec::cbor, std::string(reinterpret_cast<const char*>(&number), sizeof number));
  if (!store.commit(call.id(), put, soon())) return false;
  floor.finished = number;
  ++shared->stores;
  return true;
}

void write(Store& store, std::size_t writer) {
  const auto all = calls();
  const std::size_t first = writer * kKeysEach;
  while (!shared->stop) {
    if (dice() % 256 != 0) {
      const std::size_t key = first + dice() % kKeysEach;
      if (!store_one(store, all[key], shared->floors[key]))
        shared->wrong(shared->errors);
      if (dice() % 4 == 0) std::this_thread::sleep_for(std::chrono::microseconds(300));
      continue;
    }
    std::array<std::uint64_t, kKeysEach> numbers{};
    for (std::size_t n = 0; n < kKeysEach; ++n) {
      Floor& floor = shared->floors[first + n];
      numbers[n] = ++floor.begun;
      floor.cleared_begun = numbers[n];
    }
    if (!store.clear({all[first].function, {}}, Clear::entries, soon()))
      shared->wrong(shared->errors);
    for (std::size_t n = 0; n < kKeysEach; ++n)
      shared->floors[first + n].finished = numbers[n];
    ++shared->clears;
  }
}

std::uint64_t number_in(const Entry& entry) {
  std::uint64_t number = 0;
  const auto bytes = entry.value.bytes();
  if (bytes.size() == sizeof number) std::memcpy(&number, bytes.data(), sizeof number);
  return number;
}

/// True: it was a hit of the near cache.
bool read_one(Store& store, const Call& call, Floor& floor) {
  Ask ask;
  ask.claim = false;
  const std::uint64_t finished = floor.finished;
  const std::uint64_t least = std::max(finished, floor.seen.load());
  auto entry = store.recall(call.id(), ask);
  const bool hit = entry.has_value();
  if (!hit) {
    auto look = store.look(call.id(), ask, soon());
    if (!look) {
      shared->wrong(shared->errors);
      return false;
    }
    entry = std::move(look->entry);
  }
  if (!entry) {
    // Nothing may be missing but what a clear has taken.
    if (finished > floor.cleared_begun) shared->wrong(shared->missing);
    return hit;
  }
  const std::uint64_t number = number_in(*entry);
  if (number < least) shared->wrong(shared->older);
  std::uint64_t seen = floor.seen;
  while (seen < number && !floor.seen.compare_exchange_weak(seen, number)) {
  }
  return hit;
}

void read(Store& store, std::uint64_t target) {
  const auto all = calls();
  while (!shared->stop) {
    std::uint64_t hits = 0;
    constexpr std::uint64_t kBatch = 256;
    for (std::uint64_t n = 0; n < kBatch; ++n) {
      const std::size_t key = dice() % kKeys;
      if (read_one(store, all[key], shared->floors[key])) ++hits;
    }
    shared->hits += hits;
    if ((shared->reads += kBatch) >= target) shared->stop = true;
  }
}

/// Once another writer has come after a dead one, every slot is at rest: what is read
/// is remembered.
void expect_rest(Store& store) {
  const auto all = calls();
  if (!store_one(store, all.back(), shared->floors[kKeys - 1]))
    shared->wrong(shared->errors);
  for (std::size_t key = 0; key < kKeys; ++key) {
    Ask ask;
    ask.claim = false;
    const auto look = store.look(all[key].id(), ask, soon());
    if (look && look->entry && !store.recall(all[key].id(), ask))
      shared->wrong(shared->restless);
  }
}

template <class Do>
pid_t start(const std::string& directory, std::size_t near_cache, const Do& what) {
  const pid_t child = ::fork();
  if (child != 0) return child;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  dice.seed(std::random_device{}());
  const auto store = open_local_store(directory, near_cache);
  if (!store) ::_exit(2);
  what(**store);
  ::_exit(0);
}

int run(const std::string& directory, std::uint64_t target, std::int64_t seconds) {
  void* const memory = ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE,
                              MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return 2;
  shared = static_cast<Shared*>(memory);  // all zero is what a new one is
  constexpr std::size_t kNear = std::size_t{1} << 20;
  std::vector<pid_t> readers;
  std::array<pid_t, kWriters> writers{};
  const auto start_writer = [&](std::size_t n) {
    writers[n] = start(directory, kNear, [n](Store& store) {
      mortal = true;
      write(store, n);
    });
  };
  for (std::size_t n = 0; n < kWriters; ++n) start_writer(n);
  for (std::size_t n = 0; n < kReaders; ++n)
    readers.push_back(
        start(directory, n == 0 ? 0 : kNear, [=](Store& s) { read(s, target); }));

  std::uint64_t kills = 0;
  const auto end = steady_clock::now() + std::chrono::seconds(seconds);
  while (!shared->stop && steady_clock::now() < end) {
    std::this_thread::sleep_for(std::chrono::microseconds(dice() % 20'000));
    const std::size_t n = dice() % kWriters;
    ::kill(writers[n], SIGKILL);
    ::waitpid(writers[n], nullptr, 0);
    ++kills;
    if (kills % 16 == 0) {  // now and then all of them, to see what they left
      ::kill(writers[1 - n], SIGKILL);
      ::waitpid(writers[1 - n], nullptr, 0);
      const pid_t last = start(directory, kNear, expect_rest);
      ::waitpid(last, nullptr, 0);
      start_writer(1 - n);
    }
    start_writer(n);
  }
  shared->stop = true;
  for (const pid_t writer : writers) ::kill(writer, SIGKILL);
  for (const pid_t writer : writers) ::waitpid(writer, nullptr, 0);
  bool ended = true;
  for (const pid_t reader : readers) {
    int status = 0;
    ::waitpid(reader, &status, 0);
    ended = ended && status == 0;
  }
  std::printf(
      "{\"reads\": %lu, \"hits\": %lu, \"stores\": %lu, \"clears\": %lu, "
      "\"kills\": %lu, \"older\": %lu, \"missing\": %lu, \"restless\": %lu, "
      "\"errors\": %lu}\n",
      shared->reads.load(), shared->hits.load(), shared->stores.load(),
      shared->clears.load(), kills, shared->older.load(), shared->missing.load(),
      shared->restless.load(), shared->errors.load());
  if (!ended || shared->errors != 0) return 2;
  return shared->older + shared->missing + shared->restless == 0 ? 0 : 1;
}

}  // namespace

#ifdef SEEDED_FAULT
void local::Protocol::at(Point point) noexcept {
  if (mortal && dice() % (point == Point::pending_cleared ? 4 : 64) == 0)
    ::raise(SIGKILL);
  if (dice() % 8 == 0) std::this_thread::sleep_for(std::chrono::microseconds(300));
}
#endif

}  // namespace cachier

int main(int count, char** words) {
  if (count != 4) return 2;
  return cachier::run(words[1], std::strtoull(words[2], nullptr, 10),
                      std::strtoll(words[3], nullptr, 10));
}
