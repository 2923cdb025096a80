#include "backends/memory/memory.hpp"

#include "backends/memory/store.hpp"

namespace cachier {

std::shared_ptr<Store> make_memory_store(Clock clock) {
  return std::make_shared<memory::MemoryStore>(std::move(clock));
}

}  // namespace cachier
