/// Any bytes as the beginning of an entry's file, and as a state: damaged, or what is
/// written again as it was.

#include "backends/files/records.hpp"

#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cachier;
  const Bytes bytes = std::as_bytes(std::span(data, size));
  if (const auto state = files::read_state(bytes)) {
    if (as_text(bytes) != files::write_state(*state)) std::abort();
  }
  // Read as all of a file, and as the beginning of one whose length is what it says.
  std::uint64_t announced = 0;
  for (std::size_t at = 48; at-- > 40 && size >= 48;)
    announced = announced << 8 | data[at];
  for (const std::uint64_t file_size : {std::uint64_t{size}, announced + size}) {
    const auto head = files::read_head(bytes, file_size);
    if (!head) continue;
    if (head->size > size || head->size + head->envelope_size != file_size)
      std::abort();
    if (as_text(bytes.first(head->size)) != files::write_head(*head)) std::abort();
    if (files::begins_like_an_entry(bytes) == head->is_tombstone()) std::abort();
  }
  return 0;
}
