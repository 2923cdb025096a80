#include "backends/shared/wakes.hpp"

#include <array>
#include <atomic>
#include <new>

#include "platform/futex.hpp"

namespace cachier::shared {
namespace {

/// Counts what happened to the entries whose digests lead here.
struct Word {
  std::atomic<std::uint32_t> changes{0};
  std::atomic<std::uint32_t> waiting{0};

  void raise() noexcept {
    // Sequentially consistent, as `wait_for_change`: either the waiter sees the new
    // count before he sleeps, or he is seen here.
    changes.fetch_add(1);
    if (waiting.load() == 0) return;
    platform::futex_wake_all(changes, platform::Reach::process);
  }

  void wait_for_change(std::uint32_t seen, Deadline deadline) noexcept {
    waiting.fetch_add(1);
    platform::futex_wait(changes, seen, deadline, platform::Reach::process);
    waiting.fetch_sub(1);
  }
};

/// One set for all stores of the process: sharing a word costs a look, no more.
constexpr std::size_t kWords = 256;
std::array<Word, kWords> words;  // NOLINT: constant-initialized, trivially destroyed

Word& word_of(const Digest& digest) noexcept { return words[digest.low % kWords]; }

class WordWatch final : public Watch {
 public:
  explicit WordWatch(Word& word) noexcept : word_(word), seen_(word.changes.load()) {}

  void wait(Deadline deadline) noexcept override {
    word_.wait_for_change(seen_, deadline);
    // The look that follows is later than this: what it misses, the next wait sees.
    seen_ = word_.changes.load();
  }

 private:
  Word& word_;
  std::uint32_t seen_;
};

}  // namespace

void wake(const Digest& digest) noexcept { word_of(digest).raise(); }

void wake_all() noexcept {
  for (Word& word : words) word.raise();
}

std::unique_ptr<Watch> watch(const Digest& digest) noexcept {
  return std::unique_ptr<Watch>(new (std::nothrow) WordWatch(word_of(digest)));
}

}  // namespace cachier::shared
