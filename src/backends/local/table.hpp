#pragma once

/// The words that all processes share by mapping (`docs/formats/local.md`, "Table").
///
/// Everything here is atomic, costs some ns and makes no system call but where it says
/// so.

#include <cachier/entry.hpp>
#include <cachier/error.hpp>
#include <cachier/store.hpp>

#include "backends/local/layout.hpp"
#include "platform/file.hpp"
#include "platform/mapping.hpp"

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>

namespace cachier::local {

class Table {
 public:
  Table() = default;

  /// The table at `path`. `refused` or `unavailable`: it is not there (errno ENOENT is
  /// told by `missing`) or cannot be opened; `version_mismatch`; `corrupt`.
  static Result<Table> open(const std::string& path, bool& missing);
  /// Makes the table at `path`, which is not there or to be replaced, by way of
  /// `aside`. The caller holds the lock *making*.
  static Result<Table> make(const std::string& path, const std::string& aside,
                            std::uint64_t generation);
  /// One of this process alone, where there can be no file.
  static Result<Table> in_memory();

  /// Says what is wrong with the beginning of a table of `file_size` bytes; nothing: it
  /// is one.
  static std::optional<Error> check(Bytes beginning, std::uint64_t file_size);

  /// Whether other processes see it.
  [[nodiscard]] bool is_shared() const noexcept { return shared_; }
  /// Which file it is; none in memory.
  [[nodiscard]] const platform::Identity& identity() const noexcept {
    return identity_;
  }

  [[nodiscard]] std::atomic<std::uint64_t>& generation() const noexcept {
    return at<std::atomic<std::uint64_t>>(64);
  }
  [[nodiscard]] std::atomic<std::uint64_t>& pending() const noexcept {
    return at<std::atomic<std::uint64_t>>(128);
  }
  [[nodiscard]] std::atomic<std::uint64_t>& checkpoint() const noexcept {
    return at<std::atomic<std::uint64_t>>(192);
  }
  [[nodiscard]] std::atomic<std::uint32_t>& released() const noexcept {
    return at<std::atomic<std::uint32_t>>(256);
  }
  /// Entries removed to keep within bounds, since the table was made.
  [[nodiscard]] std::atomic<std::uint64_t>& evictions() const noexcept {
    return at<std::atomic<std::uint64_t>>(kEvictionsAt);
  }
  [[nodiscard]] std::atomic<std::uint32_t>& claim_generation(
      const Function& function) const noexcept {
    return at<std::atomic<std::uint32_t>>(
        kClaimGenerationsAt,
        static_cast<std::uint32_t>(function.seed()) & (kClaimGenerations - 1));
  }
  [[nodiscard]] std::atomic<std::uint64_t>& counter(std::uint32_t slot) const noexcept {
    return at<std::atomic<std::uint64_t>>(kCountersAt, slot);
  }
  [[nodiscard]] std::atomic<std::uint32_t>& wake_word(
      std::uint32_t slot) const noexcept {
    return at<std::atomic<std::uint32_t>>(kWakeWordsAt, slot);
  }
  [[nodiscard]] std::atomic<std::uint32_t>& owner(std::uint32_t slot) const noexcept {
    return at<std::atomic<std::uint32_t>>(kOwnersAt, slot);
  }

  /// Marks the entry as asked for. Some ns: the word is written to only if that changes
  /// it.
  void mark(const Digest& digest) const noexcept {
    const std::uint32_t bit = mark_of(digest);
    auto& word = at<std::atomic<std::uint64_t>>(kMarksAt, bit / 64);
    const std::uint64_t mask = std::uint64_t{1} << bit % 64;
    if ((word.load(std::memory_order_relaxed) & mask) == 0)
      word.fetch_or(mask, std::memory_order_relaxed);
  }
  /// Takes the mark away. False: there was none.
  bool unmark(const Digest& digest) const noexcept {
    const std::uint32_t bit = mark_of(digest);
    auto& word = at<std::atomic<std::uint64_t>>(kMarksAt, bit / 64);
    const std::uint64_t mask = std::uint64_t{1} << bit % 64;
    return (word.load(std::memory_order_relaxed) & mask) != 0 &&
           (word.fetch_and(~mask, std::memory_order_relaxed) & mask) != 0;
  }

  /// Frees all claims of a function (none: of every function) at their next look.
  void raise_claim_generation(const Function* function) const noexcept;

  /// What anybody remembers of any slot counts no more. Precondition: nobody is writing
  /// to the database.
  void raise_counters() const noexcept;

  /// What the last owner of this entry left behind, if it is not too long ago.
  [[nodiscard]] Outcome outcome(const Digest& digest, Time now) const noexcept;
  void set_outcome(const Digest& digest, Outcome outcome, Time now) const noexcept;
  void forget_outcome(const Digest& digest) const noexcept;
  void forget_outcomes() const noexcept;

  /// Tells those who wait for this slot to look again. A system call where there are
  /// any.
  void wake(std::uint32_t slot) const noexcept;
  /// The same for every slot.
  void wake_all() const noexcept;
  /// For who will wait: what the slot's wake word is from now until the next `wake`.
  [[nodiscard]] std::uint32_t attend(std::uint32_t slot) const noexcept;

 private:
  Table(platform::Mapping mapping, platform::Identity identity, bool shared) noexcept
      : mapping_(std::move(mapping)), identity_(identity), shared_(shared) {}

  [[nodiscard]] std::atomic<std::uint64_t>& outcome_word(
      const Digest& digest) const noexcept {
    return at<std::atomic<std::uint64_t>>(kOutcomesAt, slot_of(digest));
  }

  template <class Word>
  [[nodiscard]] Word& at(std::size_t offset, std::size_t index = 0) const noexcept {
    static_assert(Word::is_always_lock_free);
    return *reinterpret_cast<Word*>(mapping_.start() + offset + index * sizeof(Word));
  }

  platform::Mapping mapping_;
  platform::Identity identity_;
  bool shared_ = false;
};

}  // namespace cachier::local
