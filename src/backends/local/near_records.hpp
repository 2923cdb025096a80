#pragma once

/// What the near cache keeps of an entry, and the table it is found in: as small as it
/// can be, since there are millions.

#include <cachier/entry.hpp>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <typeinfo>

namespace cachier::local {

/// An entry as it was read: key, value and, where there is one, the object that the
/// value decodes to. They lie behind it in memory; values that are long, or not plain
/// bytes, are elsewhere. Never changed but for `asked_for`.
class Record {
 public:
  using Pointer = std::shared_ptr<Record>;

  /// An object that is copied as its bytes are.
  struct Copy {
    const std::type_info* type = nullptr;  ///< null: there is none
    Bytes bytes;
  };
  static constexpr std::size_t kMaxCopy = 256;

  /// Throws `std::bad_alloc`. Precondition: `is_short_enough`.
  static Pointer make(const Id& id, std::uint64_t counter, std::uint64_t epoch,
                      const Entry& entry, const Copy& copy);
  /// Whether a key can be told apart here.
  [[nodiscard]] static bool is_short_enough(Bytes key) noexcept {
    return key.size() <= std::size_t{std::numeric_limits<std::int32_t>::max()};
  }

  [[nodiscard]] bool is_of(const Id& id) const noexcept;
  [[nodiscard]] std::uint64_t counter() const noexcept { return counter_; }
  [[nodiscard]] std::uint64_t epoch() const noexcept { return epoch_; }
  [[nodiscard]] Version version() const noexcept { return Version{{version_, 0, 0}}; }
  [[nodiscard]] Time stored_at() const noexcept { return stored_at_; }
  [[nodiscard]] bool is_none() const noexcept { return (flags_ & kNone) != 0; }
  [[nodiscard]] bool is_signed() const noexcept { return (flags_ & kSigned) != 0; }
  /// The value, which shares `self`.
  [[nodiscard]] static Value value_of(const Pointer& self) noexcept;
  [[nodiscard]] Copy copy() const noexcept;
  /// Of a value that is mapped.
  [[nodiscard]] bool in_file() const noexcept;
  /// Whether a copy can lie behind it.
  [[nodiscard]] bool takes_copy() const noexcept { return (flags_ & kApart) == 0; }
  /// Memory that it takes, in bytes; what is mapped is the system's.
  [[nodiscard]] std::size_t cost() const noexcept;

  /// Asked for since the clock's hand came by last. Guarded by whoever has the records.
  [[nodiscard]] bool asked_for() const noexcept { return (flags_ & kAskedFor) != 0; }
  void ask_for() noexcept { flags_ |= kAskedFor; }
  void forgive() noexcept { flags_ &= static_cast<std::uint8_t>(~kAskedFor); }

 protected:
  Record(const Id& id, std::uint64_t counter, std::uint64_t epoch, const Entry& entry,
         std::uint8_t flags) noexcept;

 private:
  struct Apart;
  template <std::size_t kSize>
  struct WithTail;
  enum : std::uint8_t { kNone = 1, kAskedFor = 2, kApart = 4, kSigned = 8 };

  [[nodiscard]] const Apart& apart() const noexcept;
  [[nodiscard]] const std::byte* tail() const noexcept {
    return reinterpret_cast<const std::byte*>(this) + sizeof(Record);
  }
  [[nodiscard]] const std::byte* key() const noexcept;
  [[nodiscard]] static std::uint32_t shape_of(const Id& id) noexcept {
    return static_cast<std::uint32_t>(id.key.size()) << 1 | (id.hashed ? 1U : 0U);
  }

  std::uint64_t counter_;
  std::uint64_t epoch_;
  std::uint64_t version_;
  Time stored_at_;
  std::uint32_t function_;    ///< its serial number
  std::uint32_t shape_;       ///< length of the key and whether it is hashed
  std::uint32_t size_ = 0;    ///< of the value behind the key
  std::uint16_t copied_ = 0;  ///< size of the object behind the value
  Codec codec_;
  std::uint8_t flags_;
};

/// Records by call: linear probing, from where the digest's lower half is of all it
/// could be. Grows by half, so that little of it is empty.
class Records {
 public:
  using Pointer = Record::Pointer;

  /// The record of this call; null: none.
  [[nodiscard]] Pointer* find(const Id& id) const noexcept;
  /// Precondition: there is none of the call. Throws `std::bad_alloc`, nothing changed.
  Pointer& add(const Digest& digest, Pointer record);

  /// Places for records, each with one or not.
  [[nodiscard]] std::size_t room() const noexcept { return room_; }
  [[nodiscard]] std::size_t used() const noexcept { return used_; }
  /// Null: nothing is at this place.
  [[nodiscard]] Pointer& at(std::size_t place) const noexcept {
    return records_[place];
  }
  /// Takes out what is there; others may move to it.
  Pointer remove(std::size_t place) noexcept;

  /// Memory that a table of so many places takes, in bytes.
  [[nodiscard]] static constexpr std::size_t cost_of(std::size_t room) noexcept {
    return room * (sizeof(std::uint32_t) + sizeof(Pointer));
  }

 private:
  /// 0 is for nobody.
  [[nodiscard]] static std::uint32_t tag_of(const Digest& digest) noexcept {
    const auto tag = static_cast<std::uint32_t>(digest.low);
    return tag == 0 ? 1 : tag;
  }
  /// Where to begin looking.
  [[nodiscard]] std::size_t home_of(std::uint32_t tag) const noexcept {
    return static_cast<std::size_t>(std::uint64_t{tag} * room_ >> 32);
  }
  [[nodiscard]] std::size_t after(std::size_t place) const noexcept {
    return ++place == room_ ? 0 : place;
  }
  [[nodiscard]] std::size_t free_place(std::uint32_t tag) const noexcept;
  void grow();

  std::unique_ptr<std::uint32_t[]> tags_;
  std::unique_ptr<Pointer[]> records_;
  std::size_t room_ = 0;
  std::size_t used_ = 0;
};

}  // namespace cachier::local
