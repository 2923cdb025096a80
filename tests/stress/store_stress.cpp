/// Stores under everything at once, for as long as wanted: `CACHIER_STRESS_SECONDS`
/// (2). Many writers and readers, in processes that are killed at random moments where
/// the store is shared; every read must be explained by the writes.

#include "backends/local/local.hpp"
#include "backends/memory/memory.hpp"
#include "conformance/conformance.hpp"
#include "conformance/history.hpp"
#include "support/child_process.hpp"
#include "support/temp_directory.hpp"

#include <sys/mman.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <limits>
#include <memory>
#include <new>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace cachier::conformance {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kKeys = 8;

std::chrono::seconds duration() {
  const char* const wanted = std::getenv("CACHIER_STRESS_SECONDS");
  return std::chrono::seconds(wanted == nullptr ? 2 : std::atoi(wanted));
}

/// One operation. A write that was killed has no end: nobody knows whether it happened.
struct Note {
  enum class Kind : std::uint8_t { read, write, void_ };
  std::atomic<std::uint64_t> began;
  std::atomic<std::uint64_t> ended;
  std::atomic<Written> value;
  std::atomic<std::uint32_t> key;
  std::atomic<Kind> kind;
};

/// What all processes of a trial note, in memory that survives them.
struct Log {
  static constexpr std::size_t kNotes = 400'000;

  std::atomic<std::uint64_t> clock;
  std::atomic<std::size_t> used;
  std::atomic<std::uint64_t> errors;
  std::atomic<bool> stop;
  std::array<Note, kNotes> notes;

  /// Null: full.
  Note* begin(Note::Kind kind, std::size_t key, Written value) {
    const std::size_t index = used.fetch_add(1);
    if (index >= kNotes) return nullptr;
    Note& note = notes[index];
    note.kind = kind;
    note.key = static_cast<std::uint32_t>(key);
    note.value = value;
    note.began = ++clock;
    return &note;
  }
  void end(Note& note) { note.ended = ++clock; }
};

class SharedLog {
 public:
  SharedLog()
      : log_(static_cast<Log*>(::mmap(nullptr, sizeof(Log), PROT_READ | PROT_WRITE,
                                      MAP_SHARED | MAP_ANONYMOUS, -1, 0))) {
    if (log_ == MAP_FAILED) std::abort();
  }
  SharedLog(const SharedLog&) = delete;
  SharedLog& operator=(const SharedLog&) = delete;
  ~SharedLog() { ::munmap(log_, sizeof(Log)); }

  Log* operator->() const { return log_; }
  Log& operator*() const { return *log_; }

 private:
  Log* log_;  // all zero is what a new one is
};

/// The value is its number, and filler whose length is the number's, so that no two
/// values could be mixed unseen. Some are big enough to be kept in files of their own.
std::string text_of(Written number) {
  const std::size_t filler = number % 97 == 0 ? 100'000 : number % 500;
  return std::to_string(number) +
         std::string(filler, static_cast<char>('a' + number % 26));
}

/// Does random things to the store until it is told to stop.
void work(Store& store, Log& log, std::uint64_t seed) {
  const Function& function = Function::intern("stress");
  std::mt19937_64 random(seed);
  std::vector<Call> calls;
  for (std::size_t key = 0; key < kKeys; ++key) {
    calls.emplace_back(function, std::to_string(key));
  }
  // Whatever an operation answers but for a lost claim is a fault.
  const auto failed = [&](const auto& answer) {
    if (answer) return false;
    if (answer.error() == ErrorCode::claim_lost) return true;
    ++log.errors;
    ADD_FAILURE() << answer.error().message();
    return true;
  };
  while (!log.stop) {
    const std::size_t key = random() % kKeys;
    const Call& call = calls[key];
    const auto look = [&](const Ask& ask) {
      Note* const note = log.begin(Note::Kind::read, key, 0);
      Result<Look> answer = store.look(call.id(), ask, soon());
      if (failed(answer) || note == nullptr) {
        log.stop = true;
        return Look{};
      }
      if (answer->entry) {
        const std::string_view text = as_text(answer->entry->value.bytes());
        const Written number = std::stoull(std::string(text.substr(0, 20)));
        if (text != text_of(number)) {
          ++log.errors;
          ADD_FAILURE() << "half of a value: " << number;
        }
        note->value = number;
      }
      log.end(*note);
      return *std::move(answer);
    };
    const auto change = [&](Change::Kind kind, const std::optional<Token>& token,
                            const std::optional<Basis>& basis) {
      Change wanted;
      wanted.kind = kind;
      wanted.token = token;
      wanted.basis = basis;
      Note* const note = log.begin(Note::Kind::write, key, 0);
      if (note == nullptr) {
        log.stop = true;
        return;
      }
      if (kind == Change::Kind::put) {
        const auto number = static_cast<Written>(note - log.notes.data()) + 1;
        note->value = number;
        wanted.value = Value::of_bytes(Codec::cbor, text_of(number));
      }
      if (failed(store.commit(call.id(), wanted, soon()))) {
        note->kind = Note::Kind::void_;
      }
      log.end(*note);
    };
    switch (random() % 12) {
      case 0:
      case 1:
      case 2:
      case 3:
        look(without_claim());
        break;
      case 4:
        change(Change::Kind::put, {}, {});
        break;
      case 5:
        change(Change::Kind::erase, {}, {});
        break;
      case 6:
        change(Change::Kind::put, {}, look(without_claim()).token.basis);
        break;
      case 7: {
        if (random() % 16 != 0) break;
        std::vector<Note*> notes;
        for (std::size_t each = 0; each < kKeys; ++each) {
          notes.push_back(log.begin(Note::Kind::write, each, 0));
          if (notes.back() == nullptr) return;
        }
        (void)failed(store.clear({&function, {}}, Clear::entries, soon()));
        for (Note* const note : notes) log.end(*note);
        break;
      }
      case 8:
        if (random() % 16 != 0) break;
        (void)failed(store.clear({&function, {}}, Clear::claims, soon()));
        break;
      default: {
        const auto watch = store.watch(call.id());
        const Look answer = look(never_fresh());
        if (answer.claim == Look::Claim::busy) {
          watch->wait(std::chrono::steady_clock::now() + 5ms);
        } else if (answer.claim == Look::Claim::granted) {
          if (random() % 5 == 0) {
            Change release;
            release.kind = Change::Kind::release;
            release.token = answer.token;
            (void)failed(store.commit(call.id(), release, soon()));
          } else {
            change(Change::Kind::put, answer.token, {});
          }
        }
      }
    }
  }
}

void expect_explained(const Log& log) {
  EXPECT_EQ(log.errors, 0U);
  std::array<History, kKeys> histories;
  std::size_t reads = 0;
  const std::size_t used = std::min(log.used.load(), Log::kNotes);
  for (std::size_t index = 0; index < used; ++index) {
    const Note& note = log.notes[index];
    if (note.began == 0) continue;
    const std::uint64_t ended =
        note.ended == 0 ? std::numeric_limits<std::uint64_t>::max() : note.ended.load();
    if (note.kind == Note::Kind::write) {
      histories[note.key].add(History::Write{note.began, ended, note.value});
    } else if (note.kind == Note::Kind::read && note.ended != 0) {
      histories[note.key].add(History::Read{note.began, ended, note.value});
      ++reads;
    }
  }
  EXPECT_GT(reads, 100U);
  for (const History& history : histories) EXPECT_EQ(history.unexplained(), "");
  ::testing::Test::RecordProperty("operations", static_cast<int>(used));
}

TEST(StoreStress, MemoryByThreads) {
  const SharedLog log;
  const auto store = make_memory_store();
  const auto end = std::chrono::steady_clock::now() + duration();
  in_threads(9, [&](std::size_t thread) {
    if (thread > 0) return work(*store, *log, thread);
    std::this_thread::sleep_until(end);
    log->stop = true;
  });
  expect_explained(*log);
}

TEST(StoreStress, LocalByProcessesThatAreKilled) {
  const SharedLog log;
  const test::TempDirectory directory;
  constexpr std::size_t kProcesses = 4;
  std::uint64_t seed = 0;
  // The parent itself opens nothing: it only kills.
  const auto start = [&] {
    const std::uint64_t first = seed += 2;
    return std::make_unique<test::ChildProcess>([&, first](test::Channel&) {
      const auto store = open_local_store(directory.string());
      if (!store) {
        ADD_FAILURE() << store.error().message();
        return 1;
      }
      in_threads(2, [&](std::size_t n) { work(**store, *log, first + n); });
      return 0;
    });
  };
  std::vector<std::unique_ptr<test::ChildProcess>> children;
  for (std::size_t n = 0; n < kProcesses; ++n) children.push_back(start());
  std::mt19937_64 random(1);
  int kills = 0;
  const auto end = std::chrono::steady_clock::now() + duration();
  while (std::chrono::steady_clock::now() < end && !log->stop) {
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 40'000));
    const auto child = children.begin() + static_cast<int>(random() % kProcesses);
    (*child)->kill();
    const int status = (*child)->wait();
    if (log->stop) {  // the log is full, and it ended by itself
      children.erase(child);
      break;
    }
    EXPECT_EQ(status, 128 + SIGKILL) << "it had failed by itself";
    ++kills;
    *child = start();
  }
  log->stop = true;
  for (auto& child : children) EXPECT_EQ(child->wait(), 0);
  EXPECT_GT(kills, 0);
  expect_explained(*log);
}

}  // namespace
}  // namespace cachier::conformance
