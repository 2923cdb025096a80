#pragma once

/// A flat hash table of calls: under the memory stores and the local store's near
/// cache. It knows no thread; whoever owns one serializes its use.

#include <cachier/entry.hpp>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <new>
#include <stdexcept>
#include <utility>
#include <vector>

namespace cachier::containers {

/// The rest of `equal_bytes`, out of the way of a hit.
[[nodiscard, gnu::noinline]] inline bool equal_long(const std::byte* a,
                                                    const std::byte* b,
                                                    std::size_t size) noexcept {
  return std::memcmp(a, b, size) == 0;
}

/// Whether two byte strings of the same length are equal. Keys are a few bytes long,
/// for which this beats a call of `memcmp`.
[[nodiscard]] inline bool equal_bytes(const std::byte* a, const std::byte* b,
                                      std::size_t size) noexcept {
  // The first and the last word of each, which may overlap.
  const auto same_ends = [&]<class Word>(Word first) noexcept {
    Word last = 0, other_first = 0, other_last = 0;
    std::memcpy(&first, a, sizeof first);
    std::memcpy(&other_first, b, sizeof first);
    std::memcpy(&last, a + size - sizeof last, sizeof last);
    std::memcpy(&other_last, b + size - sizeof last, sizeof last);
    return ((first ^ other_first) | (last ^ other_last)) == 0;
  };
  if (size > 2 * sizeof(std::uint64_t)) return equal_long(a, b, size);
  if (size >= sizeof(std::uint64_t)) return same_ends(std::uint64_t{});
  if (size >= sizeof(std::uint32_t)) return same_ends(std::uint32_t{});
  // The first byte, the one in the middle, the last one.
  const auto differ = [&](std::size_t at) noexcept { return a[at] ^ b[at]; };
  return size == 0 ||
         (differ(0) | differ(size >> 1) | differ(size - 1)) == std::byte{0};
}

/// One call of one function: its key and, while there is one, its entry. Stays where it
/// is for as long as it is in use. Keys of up to `kInlineKey` bytes are inside.
template <class Payload>
struct alignas(16) Slot {
  /// As many as leave no gap: with a payload of 16 bytes a slot is 80.
  static constexpr std::size_t kInlineKey = 19;
  /// Where in `small_key` the address of a longer key is: aligned in the slot, or leak
  /// checkers do not see it.
  static constexpr std::size_t kKeyAddress = 7;

  enum : std::uint8_t {
    kUsed = 1,
    kEntry = 2,
    kNone = 4,    ///< the entry is an empty answer
    kSide = 8,    ///< the table knows more of it elsewhere
    kBoxed = 16,  ///< of the entry, for who owns the payload
    kAsked = 32,  ///< somebody asked for the entry since this was last looked at
  };

  // What a hit reads comes first.
  Payload payload{};
  std::uint32_t function = 0;  ///< index in the table's list of functions
  std::uint32_t shape = 0;     ///< length of the key and whether it is hashed
  std::uint8_t flags = 0;
  std::byte small_key[kInlineKey];
  std::uint32_t born = 0;  ///< counts the slots made before it
  Digest digest;
  Time stored_at;
  std::uint64_t version = 0;  ///< not in use: the address of the next such slot

  Slot() noexcept {}  // leaves the key as it is
  Slot(const Slot&) = delete;
  Slot& operator=(const Slot&) = delete;
  ~Slot() { drop_key(); }

  /// Longest key.
  static constexpr std::size_t kMaxKey = std::numeric_limits<std::int32_t>::max();

  /// Precondition: `size <= kMaxKey`.
  [[nodiscard]] static constexpr std::uint32_t shape_of(std::size_t size,
                                                        bool hashed) noexcept {
    return static_cast<std::uint32_t>(size) << 1 | (hashed ? 1U : 0U);
  }

  [[nodiscard]] bool has_entry() const noexcept { return (flags & kEntry) != 0; }
  /// The entry is an empty answer.
  [[nodiscard]] bool none() const noexcept { return (flags & kNone) != 0; }
  [[nodiscard]] bool hashed() const noexcept { return (shape & 1) != 0; }
  [[nodiscard]] Bytes key() const noexcept { return {key_data(), shape >> 1}; }

  /// Precondition: `other` has the length of this key.
  [[nodiscard]] bool holds(Bytes other) const noexcept {
    return equal_bytes(key_data(), other.data(), other.size());
  }

  /// Precondition: it has no key yet. Throws `std::bad_alloc`, or `std::length_error`
  /// for a key over `kMaxKey`.
  void take_key(Bytes key, bool hashed) {
    if (key.size() > kMaxKey) throw std::length_error("key");
    std::byte* to = small_key;
    if (key.size() > kInlineKey) {
      to = new std::byte[key.size()];
      std::memcpy(small_key + kKeyAddress, &to, sizeof to);
    }
    if (!key.empty()) std::memcpy(to, key.data(), key.size());
    shape = shape_of(key.size(), hashed);
  }
  void drop_key() noexcept {
    if ((shape >> 1) > kInlineKey) delete[] heap_key();
    shape = 0;
  }

 private:
  [[nodiscard]] std::byte* heap_key() const noexcept {
    std::byte* at;
    std::memcpy(&at, small_key + kKeyAddress, sizeof at);
    return at;
  }
  [[nodiscard]] const std::byte* key_data() const noexcept {
    return (shape >> 1) > kInlineKey ? heap_key() : small_key;
  }
};

/// Slots by digest: a small array of marks, probed linearly, that point to slots in
/// blocks that never move.
template <class Payload>
class Slots {
 public:
  using Slot = containers::Slot<Payload>;

  Slots() noexcept = default;
  Slots(const Slots&) = delete;
  Slots& operator=(const Slots&) = delete;
  ~Slots() { release_all(); }

  /// The first slot of this digest that `matches`, or null.
  template <class Matches>
  [[nodiscard, gnu::always_inline]] Slot* find(const Digest& digest,
                                               const Matches& matches) const noexcept {
    const std::uint64_t tag = Mark::tag_of(digest);
    for (std::size_t at = place_of(digest);; at = (at + 1) & mask_) {
      const Mark mark = marks_[at];
      if (mark.is_empty()) return nullptr;
      if (mark.has(tag) && matches(*mark.slot())) return mark.slot();
    }
  }

  /// A new slot with this digest and key. Throws as `take_key`, nothing changed.
  Slot* add(const Digest& digest, Bytes key, bool hashed) {
    // Seven of eight places at most.
    if ((used_ + 1) * 8 > room_ * 7) grow();
    Slot* const slot = next_slot();
    slot->take_key(key, hashed);
    if (slot == free_) {
      free_ = reinterpret_cast<Slot*>(slot->version);
    } else {
      ++high_;
    }
    slot->digest = digest;
    slot->born = born_++;
    slot->flags = Slot::kUsed;
    place(Mark(slot, Mark::tag_of(digest)));
    ++used_;
    return slot;
  }

  /// Takes a slot out; its payload must have been moved away.
  void remove(Slot* slot) noexcept {
    std::size_t at = place_of(slot->digest);
    while (marks_[at].slot() != slot) at = (at + 1) & mask_;
    close_gap(at);
    slot->drop_key();
    slot->flags = 0;
    slot->version = reinterpret_cast<std::uintptr_t>(free_);
    free_ = slot;
    if (--used_ == 0 && high_ > kKeptSlots) release_all();
  }

  /// Slots ever handed out have indexes below this.
  [[nodiscard]] std::uint32_t end() const noexcept { return high_; }
  /// Precondition: `index < end()`.
  [[nodiscard]] Slot* slot_at(std::uint32_t index) const noexcept {
    const Position position = position_of(index);
    return blocks_[position.block] + position.place;
  }
  [[nodiscard]] std::uint32_t born() const noexcept { return born_; }
  [[nodiscard]] std::size_t used() const noexcept { return used_; }

 private:
  // Block n holds 8 << n slots, until they are large; from then on all are as large, so
  // that little is laid out before it is needed.
  static constexpr unsigned kFirstBits = 3;
  static constexpr unsigned kLastBits = 8;
  static constexpr std::uint32_t kGrowing = (2U << kLastBits) - (1U << kFirstBits);
  static constexpr std::size_t kFirstRoom = 16;
  /// An empty table of more slots than this gives its memory back.
  static constexpr std::uint32_t kKeptSlots = 56;

  /// Where a slot is to be found: its address, and in the upper bits, of which
  /// addresses of programs have none, a part of its digest. Empty: nothing is, here and
  /// further on.
  class Mark {
   public:
    Mark() noexcept = default;
    Mark(Slot* slot, std::uint64_t tag) noexcept
        : word_(reinterpret_cast<std::uintptr_t>(slot) | tag) {}

    /// Shards are told apart by the other half of the digest, places by the lower bits
    /// of this one.
    [[nodiscard]] static std::uint64_t tag_of(const Digest& digest) noexcept {
      return digest.low & kTag;
    }
    [[nodiscard]] bool is_empty() const noexcept { return word_ == 0; }
    [[nodiscard]] bool has(std::uint64_t tag) const noexcept {
      return (word_ & kTag) == tag;
    }
    [[nodiscard]] Slot* slot() const noexcept {
      return reinterpret_cast<Slot*>(word_ & ~kTag);
    }
    [[nodiscard]] static bool can_hold(const void* slot) noexcept {
      return (reinterpret_cast<std::uintptr_t>(slot) & kTag) == 0;
    }

   private:
    static_assert(sizeof(std::uintptr_t) == sizeof(std::uint64_t));
    static constexpr std::uint64_t kTag = std::uint64_t{0xffff} << 48;
    std::uint64_t word_ = 0;
  };
  /// What an empty table is probed in.
  static inline Mark no_marks_;

  struct Position {
    std::size_t block = 0;
    std::uint32_t place = 0;
  };
  [[nodiscard]] static Position position_of(std::uint32_t index) noexcept {
    if (index >= kGrowing) {
      const std::uint32_t beyond = index - kGrowing;
      return {(beyond >> kLastBits) + (kLastBits - kFirstBits + 1),
              beyond & ((1U << kLastBits) - 1)};
    }
    const std::uint32_t biased = index + (1U << kFirstBits);
    const unsigned top = static_cast<unsigned>(std::bit_width(biased)) - 1;
    return {top - kFirstBits, biased ^ (1U << top)};
  }
  [[nodiscard]] static std::size_t size_of(std::size_t block) noexcept {
    return std::size_t{1} << std::min<std::size_t>(block + kFirstBits, kLastBits);
  }

  [[nodiscard]] std::size_t place_of(const Digest& digest) const noexcept {
    return digest.low & mask_;
  }

  void place(Mark mark) noexcept {
    std::size_t at = place_of(mark.slot()->digest);
    while (!marks_[at].is_empty()) at = (at + 1) & mask_;
    marks_[at] = mark;
  }

  /// Empties a place and moves up what was pushed past it, so that probes never meet a
  /// hole.
  void close_gap(std::size_t gap) noexcept {
    for (std::size_t at = (gap + 1) & mask_; !marks_[at].is_empty();
         at = (at + 1) & mask_) {
      const std::size_t home = place_of(marks_[at].slot()->digest);
      if (((at - home) & mask_) >= ((at - gap) & mask_)) {
        marks_[gap] = marks_[at];
        gap = at;
      }
    }
    marks_[gap] = {};
  }

  void grow() {
    const std::size_t room = room_ == 0 ? kFirstRoom : room_ * 2;
    auto fewer = std::exchange(owned_marks_, std::make_unique<Mark[]>(room));
    marks_ = owned_marks_.get();
    mask_ = room - 1;
    for (std::size_t from = 0; from < room_; ++from) {
      if (!fewer[from].is_empty()) place(fewer[from]);
    }
    room_ = room;
  }

  /// A slot that is free or new, not yet taken.
  Slot* next_slot() {
    if (free_ != nullptr) return free_;
    if (high_ == std::numeric_limits<std::uint32_t>::max()) throw std::bad_alloc();
    const Position position = position_of(high_);
    if (position.block == blocks_.size()) blocks_.push_back(nullptr);
    Slot*& block = blocks_[position.block];
    if (block == nullptr) {
      const std::size_t size = size_of(position.block);
      block = std::allocator<Slot>().allocate(size);
      if (!Mark::can_hold(block + size)) {
        std::allocator<Slot>().deallocate(std::exchange(block, nullptr), size);
        throw std::bad_alloc();
      }
    }
    return ::new (static_cast<void*>(block + position.place)) Slot();
  }

  void release_all() noexcept {
    for (std::uint32_t index = 0; index < high_; ++index) slot_at(index)->~Slot();
    for (std::size_t n = 0; n < blocks_.size(); ++n) {
      if (blocks_[n] != nullptr)
        std::allocator<Slot>().deallocate(blocks_[n], size_of(n));
    }
    blocks_ = {};
    owned_marks_.reset();
    marks_ = &no_marks_;
    mask_ = 0;
    room_ = 0;
    used_ = 0;
    high_ = 0;
    free_ = nullptr;
  }

  Mark* marks_ = &no_marks_;
  std::size_t mask_ = 0;
  std::vector<Slot*> blocks_;
  std::size_t room_ = 0;
  std::size_t used_ = 0;
  std::uint32_t high_ = 0;
  std::uint32_t born_ = 0;
  Slot* free_ = nullptr;  ///< first of those that are not in use any more
  std::unique_ptr<Mark[]> owned_marks_;
};

}  // namespace cachier::containers
