#include <cachier/entry.hpp>
#include <cachier/key.hpp>

#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "keys/hash.hpp"
#include "platform/fork.hpp"
#include "platform/lock.hpp"

namespace cachier {
namespace {

struct Registry {
  platform::Lock lock;
  std::map<std::string_view, const Function*> functions;  // keys are views of the ids
  std::vector<std::shared_ptr<const Keyring>> keyrings;   // of functions, now or once
};

Registry& registry() {
  static auto* const kept = [] {
    auto* const made = new Registry;
    platform::hold_over_forks(made->lock);
    return made;
  }();
  return *kept;
}

[[maybe_unused]] const Registry& made_at_load = registry();

std::uint64_t seed_of(std::string_view id) {
  std::string salted;
  salted.reserve(id.size() + 1);
  salted.push_back(static_cast<char>(kKeyEncodingVersion));
  salted.append(id);
  return keys::hash64(as_bytes(salted));
}

}  // namespace

const Function& Function::intern(std::string_view id) {
  Registry& known = registry();
  const std::lock_guard hold(known.lock);
  if (const auto found = known.functions.find(id); found != known.functions.end()) {
    return *found->second;
  }
  const auto serial = static_cast<std::uint32_t>(known.functions.size());
  std::unique_ptr<const Function> made(
      new Function(std::string(id), seed_of(id), serial));
  known.functions.emplace(made->id(), made.get());
  return *made.release();
}

void Function::sign_with(std::shared_ptr<const Keyring> keyring) const {
  Registry& known = registry();
  const std::lock_guard hold(known.lock);
  const Keyring* const given = keyring.get();
  known.keyrings.push_back(std::move(keyring));
  keyring_.store(given, std::memory_order_release);
}

}  // namespace cachier
