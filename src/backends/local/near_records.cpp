#include "backends/local/near_records.hpp"

#include <cstring>
#include <new>
#include <utility>

namespace cachier::local {
namespace {

/// Room for key, value and copy behind a record; where they take more, the value stays
/// where it was read to, and is shared.
constexpr std::size_t kFirstTail = 8;
constexpr std::size_t kTailStep = 16;
constexpr std::size_t kTails = 32;
/// Of the address of a type's description.
constexpr std::size_t kTypeSize = sizeof(void*);
/// What `std::make_shared` and the allocator add to a piece of memory.
constexpr std::size_t kOverhead = 24;

std::byte* append(std::byte* to, const void* from, std::size_t size) noexcept {
  if (size != 0) std::memcpy(to, from, size);
  return to + size;
}

}  // namespace

struct Record::Apart final : Record {
  Apart(const Id& id, std::uint64_t counter, std::uint64_t epoch,
        const Entry& entry) noexcept(false)
      : Record(id, counter, epoch, entry, kApart),
        value(entry.value),
        bytes(as_text(id.key)) {}

  Value value;
  std::string bytes;  ///< of the key
};

/// With room behind it, of one of some sizes, as far apart as those of allocators.
template <std::size_t kSize>
struct Record::WithTail final : Record {
  WithTail(const Id& id, std::uint64_t counter, std::uint64_t epoch,
           const Entry& entry) noexcept
      : Record(id, counter, epoch, entry, 0) {}

  std::byte room[kSize];
};

Record::Record(const Id& id, std::uint64_t counter, std::uint64_t epoch,
               const Entry& entry, std::uint8_t flags) noexcept
    : counter_(counter),
      epoch_(epoch),
      version_(entry.version.words[0]),
      stored_at_(entry.stored_at),
      function_(id.function->serial()),
      shape_(shape_of(id)),
      codec_(entry.value.codec()),
      flags_(static_cast<std::uint8_t>(flags | (entry.value.is_none() ? kNone : 0) |
                                       (entry.value.is_signed() ? kSigned : 0))) {}

Record::Pointer Record::make(const Id& id, std::uint64_t counter, std::uint64_t epoch,
                             const Entry& entry, const Copy& copy) {
  const Value& value = entry.value;
  // What is rarely marked has no place in a record.
  if (value.file() != nullptr || value.fingerprint() != 0 || value.is_exception() ||
      value.code() != 0)
    return std::make_shared<Apart>(id, counter, epoch, entry);

  const std::size_t of_copy = copy.type == nullptr ? 0 : kTypeSize + copy.bytes.size();
  const std::size_t tail = id.key.size() + value.bytes().size() + of_copy;
  Pointer record;
  const auto make_of = [&]<std::size_t kIndex>() {
    using Sized = WithTail<kFirstTail + kIndex * kTailStep>;
    static_assert(sizeof(Sized) == sizeof(Record) + sizeof(Sized::room));
    if (record == nullptr && tail <= sizeof(Sized::room))
      record = std::make_shared<Sized>(id, counter, epoch, entry);
  };
  [&]<std::size_t... kIndex>(std::index_sequence<kIndex...>) {
    (make_of.template operator()<kIndex>(), ...);
  }
  (std::make_index_sequence<kTails>());
  if (record == nullptr) return std::make_shared<Apart>(id, counter, epoch, entry);

  record->size_ = static_cast<std::uint32_t>(value.bytes().size());
  auto* to = const_cast<std::byte*>(record->tail());
  to = append(to, id.key.data(), id.key.size());
  to = append(to, value.bytes().data(), value.bytes().size());
  if (copy.type != nullptr) {
    record->copied_ = static_cast<std::uint16_t>(copy.bytes.size());
    to = append(to, &copy.type, kTypeSize);
    append(to, copy.bytes.data(), copy.bytes.size());
  }
  return record;
}

const Record::Apart& Record::apart() const noexcept {
  return static_cast<const Apart&>(*this);
}

const std::byte* Record::key() const noexcept {
  return (flags_ & kApart) == 0 ? tail() : as_bytes(apart().bytes).data();
}

bool Record::is_of(const Id& id) const noexcept {
  return shape_ == shape_of(id) && function_ == id.function->serial() &&
         (id.key.empty() || std::memcmp(key(), id.key.data(), id.key.size()) == 0);
}

Value Record::value_of(const Pointer& self) noexcept {
  if ((self->flags_ & kApart) != 0) return self->apart().value;
  Value value(self->codec_, {self->tail() + (self->shape_ >> 1), self->size_}, self);
  value.set_none(self->is_none());
  value.set_signed(self->is_signed());
  return value;
}

Record::Copy Record::copy() const noexcept {
  Copy copy;
  if (copied_ == 0) return copy;
  const std::byte* const at = tail() + (shape_ >> 1) + size_;
  std::memcpy(&copy.type, at, kTypeSize);
  copy.bytes = {at + kTypeSize, copied_};
  return copy;
}

bool Record::in_file() const noexcept {
  return (flags_ & kApart) != 0 && apart().value.file() != nullptr;
}

std::size_t Record::cost() const noexcept {
  const std::size_t key = shape_ >> 1;
  if ((flags_ & kApart) == 0)
    return kOverhead + sizeof(Record) + key + size_ +
           (copied_ == 0 ? 0 : kTypeSize + copied_);
  // The envelope around the value holds the key once more, and some words.
  constexpr std::size_t kEnvelope = 64 + kOverhead;
  const Value& value = apart().value;
  return kOverhead + sizeof(Apart) + 2 * key + kEnvelope +
         (value.file() != nullptr ? 0 : value.bytes().size());
}

Records::Pointer* Records::find(const Id& id) const noexcept {
  if (room_ == 0) return nullptr;
  const std::uint32_t tag = tag_of(id.digest);
  for (std::size_t place = home_of(tag); tags_[place] != 0; place = after(place)) {
    if (tags_[place] == tag && records_[place]->is_of(id)) return &records_[place];
  }
  return nullptr;
}

Records::Pointer& Records::add(const Digest& digest, Pointer record) {
  if ((used_ + 1) * 8 > room_ * 7) grow();
  const std::uint32_t tag = tag_of(digest);
  const std::size_t place = free_place(tag);
  tags_[place] = tag;
  records_[place] = std::move(record);
  ++used_;
  return records_[place];
}

Records::Pointer Records::remove(std::size_t gap) noexcept {
  Pointer removed = std::move(records_[gap]);
  // How far one place is behind another.
  const auto behind = [this](std::size_t place, std::size_t other) noexcept {
    return place >= other ? place - other : place + room_ - other;
  };
  // What was pushed past the gap moves up, so that probes never meet a hole.
  for (std::size_t place = after(gap); tags_[place] != 0; place = after(place)) {
    if (behind(place, home_of(tags_[place])) >= behind(place, gap)) {
      tags_[gap] = tags_[place];
      records_[gap] = std::move(records_[place]);
      gap = place;
    }
  }
  tags_[gap] = 0;
  --used_;
  return removed;
}

std::size_t Records::free_place(std::uint32_t tag) const noexcept {
  std::size_t place = home_of(tag);
  while (tags_[place] != 0) place = after(place);
  return place;
}

void Records::grow() {
  constexpr std::size_t kFirstRoom = 8;
  const std::size_t room = room_ == 0 ? kFirstRoom : room_ + room_ / 2;
  auto tags = std::make_unique<std::uint32_t[]>(room);
  auto records = std::make_unique<Pointer[]>(room);
  tags_.swap(tags);
  records_.swap(records);
  const std::size_t before = std::exchange(room_, room);
  for (std::size_t from = 0; from < before; ++from) {
    if (tags[from] == 0) continue;
    const std::size_t place = free_place(tags[from]);
    tags_[place] = tags[from];
    records_[place] = std::move(records[from]);
  }
}

}  // namespace cachier::local
