#include "platform/mapping.hpp"

#include "platform/sigbus.hpp"

#include <sys/mman.h>

namespace cachier::platform {

Mapping::Mapping(void* start, std::size_t size) noexcept {
  if (start == MAP_FAILED) return;
  start_ = static_cast<std::byte*>(start);
  size_ = size;
}

Mapping::~Mapping() {
  if (start_ == nullptr) return;
  if (guarded_) unguard_range(start_);
  ::munmap(start_, size_);
}

Mapping Mapping::of_file(const File& file, std::size_t size) noexcept {
  Mapping mapping(
      ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, file.descriptor(), 0),
      size);
  if (mapping) {
    guard_range(mapping.start_, size);
    mapping.guarded_ = true;
  }
  return mapping;
}

Mapping Mapping::anonymous(std::size_t size) noexcept {
  return {
      ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0),
      size};
}

}  // namespace cachier::platform
