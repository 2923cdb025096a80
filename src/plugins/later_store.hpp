#pragma once

/// A store that cannot be opened now, and is when it can be.

#include <cachier/backend.hpp>
#include <cachier/store.hpp>

#include <memory>

namespace cachier::plugins {

/// Its verbs give `error`, what opening says, until it can be opened, which is tried
/// once a second at most, when it is used. Of one owner; its verbs are thread-safe.
[[nodiscard]] std::shared_ptr<Store> open_later(StoreSpec spec, Error error);

}  // namespace cachier::plugins
