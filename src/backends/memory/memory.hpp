#pragma once

/// The store in the memory of this process.

#include <cachier/store.hpp>

#include <functional>
#include <memory>

namespace cachier {

/// UTC, for stores that tests are to age.
using Clock = std::function<Time()>;

/// A new, empty store whose entries end with it: values of any kind, live objects
/// included. Without a `clock` it goes by the machine's.
///
/// In the child of a fork it holds what it held; claims stay behind with the threads
/// that own them, and tokens from before are refused.
[[nodiscard]] std::shared_ptr<Store> make_memory_store(Clock clock = {});

}  // namespace cachier
