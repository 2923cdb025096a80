/// Any bytes as the beginning of the local store's table: an error or a table, and what
/// passes is one of this format.

#include "backends/local/layout.hpp"
#include "backends/local/table.hpp"

#include <cstdlib>
#include <cstring>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cachier;
  std::uint64_t file_size = local::kTableSize;
  if (size > 0 && data[0] == 'x') file_size = size;
  const Bytes bytes = std::as_bytes(std::span(data, size));
  if (local::Table::check(bytes, file_size)) return 0;

  std::uint64_t magic = 0;
  std::memcpy(&magic, data, sizeof magic);
  if (magic != local::kTableMagic || file_size != local::kTableSize) std::abort();
  return 0;
}
