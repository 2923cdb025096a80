#include "backends/local/table.hpp"

#include "platform/futex.hpp"
#include "platform/random.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>

namespace cachier::local {
namespace {

struct Header {
  std::uint64_t magic;
  std::uint32_t format;
  std::uint32_t slots;
  std::uint64_t size;
};
static_assert(sizeof(Header) == 24);

constexpr char kDeleteIt[] =
    "stop the programs that use this cache and delete the file; it is made anew, and "
    "entries stay";

Error cannot(const char* what, const std::string& path, int error_number) {
  return platform::system_error(std::string("cannot ") + what + " '" + path + "'",
                                error_number);
}

// An outcome word: end of life, what, whose.
constexpr std::uint64_t tag_of(const Digest& digest) noexcept {
  return (digest.low >> 14 & 0xffffff) << 40;
}
constexpr std::uint64_t kTagMask = std::uint64_t{0xffffff} << 40;

std::uint32_t milliseconds(Time time) noexcept {
  return static_cast<std::uint32_t>(
      std::chrono::floor<std::chrono::milliseconds>(time).time_since_epoch().count());
}

constexpr auto kLife = static_cast<std::int32_t>(
    std::chrono::duration_cast<std::chrono::milliseconds>(kOutcomeLife).count());

}  // namespace

std::optional<Error> Table::check(Bytes beginning, std::uint64_t file_size) {
  Header header{};
  if (beginning.size() < sizeof header)
    return Error(ErrorCode::corrupt, "the table of the cache is damaged",
                 "it has " + std::to_string(file_size) + " bytes", kDeleteIt);
  std::memcpy(&header, beginning.data(), sizeof header);
  if (header.magic != kTableMagic)
    return Error(ErrorCode::corrupt, "the table of the cache is damaged",
                 "it does not begin with its magic number", kDeleteIt);
  if (header.format != kTableFormat || header.slots != kSlots)
    return Error(
        ErrorCode::version_mismatch, "the table of the cache is of another version",
        "its format is " + std::to_string(header.format) + ", this library knows " +
            std::to_string(kTableFormat),
        "use the cachier that wrote it, or set cache_dir to another directory");
  if (header.size != kTableSize || file_size != kTableSize)
    return Error(ErrorCode::corrupt, "the table of the cache is damaged",
                 "it has " + std::to_string(file_size) + " bytes, not " +
                     std::to_string(kTableSize),
                 kDeleteIt);
  return std::nullopt;
}

Result<Table> Table::open(const std::string& path, bool& missing) {
  const auto file = platform::File::open(path, O_RDWR);
  missing = !file && errno == ENOENT;
  if (!file) return cannot("open", path, errno);
  struct stat status {};
  if (::fstat(file.descriptor(), &status) != 0) return cannot("open", path, errno);
  std::array<std::byte, sizeof(Header)> beginning{};
  const auto got = ::pread(file.descriptor(), beginning.data(), beginning.size(), 0);
  if (got < 0) return cannot("read", path, errno);
  if (auto wrong = check(Bytes(beginning).first(static_cast<std::size_t>(got)),
                         static_cast<std::uint64_t>(status.st_size)))
    return Error(wrong->code(), std::string(wrong->what()) + ": '" + path + "'",
                 std::string(wrong->cause()), std::string(wrong->fix()));
  auto mapping = platform::Mapping::of_file(file, kTableSize);
  if (!mapping) return cannot("map", path, errno);
  return Table(std::move(mapping), platform::identity_of(file), true);
}

Result<Table> Table::make(const std::string& path, const std::string& aside,
                          std::uint64_t generation) {
  // Whoever died here before left its file; nobody has it open.
  if (::unlink(aside.c_str()) != 0 && errno != ENOENT)
    return cannot("make", aside, errno);
  const auto file = platform::File::open(aside, O_RDWR | O_CREAT | O_EXCL);
  if (!file) return cannot("make", aside, errno);
  // All of it, now: a hole that cannot be filled later is a SIGBUS.
  if (const int error_number = ::posix_fallocate(file.descriptor(), 0, kTableSize)) {
    ::unlink(aside.c_str());
    return cannot("make", aside, error_number);
  }
  auto mapping = platform::Mapping::of_file(file, kTableSize);
  if (!mapping) return cannot("map", aside, errno);
  Table table(std::move(mapping), platform::identity_of(file), true);
  const Header header{kTableMagic, kTableFormat, kSlots, kTableSize};
  std::memcpy(table.mapping_.start(), &header, sizeof header);
  table.generation().store(generation);
  // Not where another table's were, nor where bytes that are zeroed would be: what was
  // remembered by those is not to count again.
  const std::uint64_t first = platform::random_bits() >> 2 << 1;
  for (std::uint32_t slot = 0; slot < kSlots; ++slot) table.counter(slot).store(first);
  if (::rename(aside.c_str(), path.c_str()) != 0) return cannot("make", path, errno);
  return table;
}

Result<Table> Table::in_memory() {
  auto mapping = platform::Mapping::anonymous(kTableSize);
  if (!mapping)
    return platform::system_error("cannot get memory for the cache's table", errno);
  return Table(std::move(mapping), {}, false);
}

void Table::raise_claim_generation(const Function* function) const noexcept {
  if (function != nullptr) {
    claim_generation(*function).fetch_add(1);
    return;
  }
  for (std::uint32_t index = 0; index < kClaimGenerations; ++index)
    at<std::atomic<std::uint32_t>>(kClaimGenerationsAt, index).fetch_add(1);
}

Outcome Table::outcome(const Digest& digest, Time now) const noexcept {
  const std::uint64_t word = outcome_word(digest).load(std::memory_order_acquire);
  if (word == 0 || (word & kTagMask) != tag_of(digest)) return Outcome::none;
  const auto left =
      static_cast<std::int32_t>(static_cast<std::uint32_t>(word) - milliseconds(now));
  if (left <= 0 || left > kLife) return Outcome::none;
  const auto outcome = static_cast<Outcome>(word >> 32 & 0xff);
  const bool known = outcome == Outcome::failed || outcome == Outcome::not_storable;
  return known ? outcome : Outcome::none;
}

void Table::set_outcome(const Digest& digest, Outcome outcome,
                        Time now) const noexcept {
  // Not a store: it must be seen before the counter is read that says whether it holds.
  outcome_word(digest).exchange(
      tag_of(digest) | std::uint64_t{static_cast<std::uint8_t>(outcome)} << 32 |
      (milliseconds(now) + static_cast<std::uint32_t>(kLife)));
}

void Table::forget_outcome(const Digest& digest) const noexcept {
  auto& word = outcome_word(digest);
  std::uint64_t found = word.load(std::memory_order_relaxed);
  if (found != 0 && (found & kTagMask) == tag_of(digest))
    word.compare_exchange_strong(found, 0);
}

void Table::forget_outcomes() const noexcept {
  for (std::uint32_t slot = 0; slot < kSlots; ++slot)
    at<std::atomic<std::uint64_t>>(kOutcomesAt, slot)
        .store(0, std::memory_order_relaxed);
}

namespace {

/// The next even number; whoever waits made the last one odd.
void raise(std::atomic<std::uint32_t>& word) noexcept {
  std::uint32_t now = word.load(std::memory_order_relaxed);
  while (!word.compare_exchange_weak(now, (now | 1) + 1)) {
  }
  if ((now & 1) != 0) platform::futex_wake_all(word, platform::Reach::machine);
}

}  // namespace

void Table::wake(std::uint32_t slot) const noexcept {
  raise(wake_word(slot));
  raise(released());
}

void Table::wake_all() const noexcept {
  for (std::uint32_t slot = 0; slot < kSlots; ++slot) raise(wake_word(slot));
  raise(released());
}

void Table::raise_counters() const noexcept {
  for (std::uint32_t slot = 0; slot < kSlots; ++slot) {
    auto& word = counter(slot);
    // To the next even number; an odd one is of a writer who is dead.
    std::uint64_t now = word.load(std::memory_order_relaxed);
    while (!word.compare_exchange_weak(now, (now | 1) + 1)) {
    }
  }
}

std::uint32_t Table::attend(std::uint32_t slot) const noexcept {
  return wake_word(slot).fetch_or(1) | 1;
}

}  // namespace cachier::local
