#include "backends/files/records.hpp"

#include <algorithm>

namespace cachier::files {
namespace {

/// `cachier` and a number.
constexpr std::uint64_t magic(std::uint64_t number) noexcept {
  return number << 56 | 0x72'6569'6863'6163;
}
constexpr std::uint64_t kEntry = magic(1);
constexpr std::uint64_t kState = magic(2);

void put(std::string& to, std::uint64_t number, int bytes = 8) {
  for (int at = 0; at < bytes; ++at) to += static_cast<char>(number >> 8 * at & 0xff);
}

std::uint64_t get(Bytes from, std::size_t at, int bytes = 8) noexcept {
  std::uint64_t number = 0;
  for (int one = bytes; one-- > 0;)
    number = number << 8 |
             std::to_integer<std::uint64_t>(from[at + static_cast<std::size_t>(one)]);
  return number;
}

Time time_of(std::uint64_t number) noexcept {
  return Time(Duration(static_cast<std::int64_t>(number)));
}
std::uint64_t number_of(Time time) noexcept {
  return static_cast<std::uint64_t>(time.time_since_epoch().count());
}

}  // namespace

std::string write_head(const Head& head) {
  std::string bytes;
  bytes.reserve(head_size(head.function.size()));
  put(bytes, kEntry);
  put(bytes, number_of(head.stored_at));
  put(bytes, head.version);
  put(bytes, head.digest.high);
  put(bytes, head.digest.low);
  put(bytes, head.envelope_size);
  put(bytes, head.function.size(), 4);
  put(bytes, 0, 4);
  bytes += head.function;
  bytes.resize(head_size(head.function.size()), '\0');
  return bytes;
}

std::optional<Head> read_head(Bytes beginning, std::uint64_t file_size) noexcept {
  if (beginning.size() < head_size(0) || get(beginning, 0) != kEntry)
    return std::nullopt;
  Head head;
  head.stored_at = time_of(get(beginning, 8));
  head.version = get(beginning, 16);
  head.digest = {get(beginning, 24), get(beginning, 32)};
  head.envelope_size = get(beginning, 40);
  const auto id = static_cast<std::size_t>(get(beginning, 48, 4));
  head.size = head_size(id);
  const bool sound = get(beginning, 52, 4) == 0 && head.version != 0 && id != 0 &&
                     beginning.size() >= head.size && file_size >= head.size &&
                     file_size - head.size == head.envelope_size &&
                     head.is_tombstone() == (head.envelope_size == 0);
  if (!sound) return std::nullopt;
  const Bytes rest = beginning.subspan(56 + id, head.size - 56 - id);
  if (std::any_of(rest.begin(), rest.end(),
                  [](std::byte one) { return one != std::byte{0}; }))
    return std::nullopt;
  head.function = as_text(beginning.subspan(56, id));
  return head;
}

bool begins_like_an_entry(Bytes beginning) noexcept {
  return beginning.size() >= head_size(0) && get(beginning, 0) == kEntry &&
         get(beginning, 8) != 0;
}

std::string write_state(const State& state) {
  std::string bytes;
  put(bytes, kState);
  put(bytes, state.epoch);
  put(bytes, state.claims);
  put(bytes, kState ^ state.epoch ^ state.claims);
  return bytes;
}

std::optional<State> read_state(Bytes bytes) noexcept {
  if (bytes.size() != kStateSize || get(bytes, 0) != kState) return std::nullopt;
  const State state{get(bytes, 8), get(bytes, 16)};
  if (get(bytes, 24) != (kState ^ state.epoch ^ state.claims)) return std::nullopt;
  return state;
}

}  // namespace cachier::files
