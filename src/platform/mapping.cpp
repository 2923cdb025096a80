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
  return Mapping(::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED,
                        file.descriptor(), 0),
                 size)
      .guarded();
}

Mapping Mapping::to_read(const File& file, std::size_t size) noexcept {
  return Mapping(::mmap(nullptr, size, PROT_READ, MAP_SHARED, file.descriptor(), 0),
                 size)
      .guarded();
}

Mapping Mapping::private_copy(const File& file, std::size_t size) noexcept {
  return {
      ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, file.descriptor(), 0),
      size};
}

Mapping&& Mapping::guarded() && noexcept {
  if (start_ != nullptr) {
    guard_range(start_, size_);
    guarded_ = true;
  }
  return std::move(*this);
}

Mapping Mapping::anonymous(std::size_t size) noexcept {
  return {
      ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0),
      size};
}

}  // namespace cachier::platform
