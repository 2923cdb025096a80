#include "backends/local/near_records.hpp"

#include <cstring>
#include <new>
#include <type_traits>
#include <utility>

namespace cachier::local {
namespace {

/// Longer values stay where they were read to, and are shared.
constexpr std::size_t kLongest = 1024;
/// What `std::make_shared` and the allocator add to a piece of memory.
constexpr std::size_t kOverhead = 32;

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

Record::Record(const Id& id, std::uint64_t counter, std::uint64_t epoch,
               const Entry& entry, std::uint8_t flags) noexcept
    : counter_(counter),
      epoch_(epoch),
      version_(entry.version.words[0]),
      stored_at_(entry.stored_at),
      function_(id.function->serial()),
      shape_(shape_of(id)),
      codec_(entry.value.codec()),
      flags_(static_cast<std::uint8_t>(flags | (entry.value.is_none() ? kNone : 0))) {}

Record::Pointer Record::make(const Id& id, std::uint64_t counter, std::uint64_t epoch,
                             const Entry& entry, const Copy& copy) {
  const Value& value = entry.value;
  if (value.file() != nullptr || value.bytes().size() > kLongest ||
      value.fingerprint() != 0)
    return std::make_shared<Apart>(id, counter, epoch, entry);

  static_assert(std::is_trivially_destructible_v<Record>);
  const std::size_t of_copy =
      copy.type == nullptr ? 0 : sizeof copy.type + copy.bytes.size();
  const std::size_t size =
      sizeof(Record) + id.key.size() + value.bytes().size() + of_copy;
  using Word = std::uint64_t;
  auto memory =
      std::make_shared_for_overwrite<Word[]>((size + sizeof(Word) - 1) / sizeof(Word));
  auto* const record =
      ::new (static_cast<void*>(memory.get())) Record(id, counter, epoch, entry, 0);
  record->size_ = static_cast<std::uint32_t>(value.bytes().size());
  auto* to = reinterpret_cast<std::byte*>(record + 1);
  to = append(to, id.key.data(), id.key.size());
  to = append(to, value.bytes().data(), value.bytes().size());
  if (copy.type != nullptr) {
    record->copied_ = static_cast<std::uint16_t>(copy.bytes.size());
    to = append(to, &copy.type, sizeof copy.type);
    append(to, copy.bytes.data(), copy.bytes.size());
  }
  return {std::move(memory), record};
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
  return value;
}

Record::Copy Record::copy() const noexcept {
  Copy copy;
  if (copied_ == 0) return copy;
  const std::byte* const at = tail() + (shape_ >> 1) + size_;
  std::memcpy(&copy.type, at, sizeof copy.type);
  copy.bytes = {at + sizeof copy.type, copied_};
  return copy;
}

bool Record::in_file() const noexcept {
  return (flags_ & kApart) != 0 && apart().value.file() != nullptr;
}

std::size_t Record::cost() const noexcept {
  const std::size_t key = shape_ >> 1;
  if ((flags_ & kApart) == 0)
    return kOverhead + sizeof(Record) + key + size_ +
           (copied_ == 0 ? 0 : sizeof(const std::type_info*) + copied_);
  // The envelope around the value holds the key once more, and some words.
  constexpr std::size_t kEnvelope = 64 + kOverhead;
  const Value& value = apart().value;
  return kOverhead + sizeof(Apart) + 2 * key + kEnvelope +
         (value.file() != nullptr ? 0 : value.bytes().size());
}

Records::Pointer* Records::find(const Id& id) const noexcept {
  if (room_ == 0) return nullptr;
  const std::uint32_t tag = tag_of(id.digest);
  const std::size_t mask = room_ - 1;
  for (std::size_t place = tag & mask; tags_[place] != 0; place = (place + 1) & mask) {
    if (tags_[place] == tag && records_[place]->is_of(id)) return &records_[place];
  }
  return nullptr;
}

Records::Pointer& Records::add(const Digest& digest, Pointer record) {
  if ((used_ + 1) * 4 > room_ * 3) grow();
  const std::uint32_t tag = tag_of(digest);
  const std::size_t place = free_place(tag);
  tags_[place] = tag;
  records_[place] = std::move(record);
  ++used_;
  return records_[place];
}

Records::Pointer Records::remove(std::size_t gap) noexcept {
  Pointer removed = std::move(records_[gap]);
  const std::size_t mask = room_ - 1;
  // What was pushed past the gap moves up, so that probes never meet a hole.
  for (std::size_t place = (gap + 1) & mask; tags_[place] != 0;
       place = (place + 1) & mask) {
    const std::size_t home = tags_[place] & mask;
    if (((place - home) & mask) >= ((place - gap) & mask)) {
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
  const std::size_t mask = room_ - 1;
  std::size_t place = tag & mask;
  while (tags_[place] != 0) place = (place + 1) & mask;
  return place;
}

void Records::grow() {
  constexpr std::size_t kFirstRoom = 8;
  const std::size_t room = room_ == 0 ? kFirstRoom : room_ * 2;
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
