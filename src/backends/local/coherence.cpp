#include "backends/local/coherence.hpp"

#include <new>

namespace cachier::local {
namespace {

std::uint64_t make_odd(std::atomic<std::uint64_t>& counter) noexcept {
  std::uint64_t now = counter.load(std::memory_order_relaxed);
  // The caller is the only writer, but a late one may still be making its odd even.
  while (!counter.compare_exchange_weak(now, now + 1 + (now & 1))) {
  }
  return now + 1 + (now & 1);
}

void make_even(std::atomic<std::uint64_t>& counter) noexcept {
  std::uint64_t now = counter.load(std::memory_order_relaxed);
  if ((now & 1) != 0) counter.compare_exchange_strong(now, now + 1);
}

}  // namespace

void settle_last_writer(const Table& table) noexcept {
  const std::uint64_t pending = table.pending().load(std::memory_order_acquire);
  if (pending == kAllSlots) {
    for (std::uint32_t slot = 0; slot < kSlots; ++slot) make_even(table.counter(slot));
  } else if (pending != 0 && pending <= kSlots) {
    make_even(table.counter(static_cast<std::uint32_t>(pending - 1)));
  }
}

Announcement::Announcement(const Table& table, std::uint64_t slot) noexcept
    : table_(table), slot_(slot) {
  // Sequentially consistent read-modify-writes stand for the fence before the commit
  // (ThreadSanitizer of g++ 12 knows no fences).
  if (slot_ == kAllSlots) {
    all_odd_.reset(new (std::nothrow) std::uint64_t[kSlots]);
    table_.pending().exchange(kAllSlots);
    for (std::uint32_t one = 0; one < kSlots; ++one) {
      const std::uint64_t odd = make_odd(table_.counter(one));
      if (all_odd_) all_odd_[one] = odd;
    }
  } else {
    table_.pending().exchange(slot_ + 1);
    odd_ = make_odd(table_.counter(static_cast<std::uint32_t>(slot_)));
  }
}

Announcement::~Announcement() {
  // Exactly the number that was made here: after the commit the next writer may have
  // made it even and odd again, and that is not ours to end. What stays odd for want of
  // memory is for the next writer to end.
  if (slot_ == kAllSlots) {
    for (std::uint32_t one = 0; all_odd_ && one < kSlots; ++one) {
      const std::uint64_t even = all_odd_[one] + 1;
      table_.counter(one).compare_exchange_strong(all_odd_[one], even);
    }
  } else {
    table_.counter(static_cast<std::uint32_t>(slot_))
        .compare_exchange_strong(odd_, odd_ + 1);
  }
}

}  // namespace cachier::local
