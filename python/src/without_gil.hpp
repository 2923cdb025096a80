#pragma once

/// Lets other Python threads run while a store works.

#include "python.hpp"

#include <cachier/store.hpp>

#include <memory>
#include <utility>

namespace cachier::python {

/// The same store, without the GIL in each of its verbs and in each wait. For stores
/// that keep bytes; called with the GIL held, which is taken again before a verb
/// returns, but for renewals: they come from threads of the engine, which have no GIL.
class WithoutGil final : public Store {
 public:
  explicit WithoutGil(std::shared_ptr<Store> store) noexcept
      : store_(std::move(store)) {}

  [[nodiscard]] Capabilities capabilities() const noexcept override {
    return store_->capabilities();
  }
  Result<Look> look(const Id& id, const Ask& ask, Deadline deadline) noexcept override {
    const WithGilReleased released;
    return store_->look(id, ask, deadline);
  }
  Result<Version> commit(const Id& id, const Change& change,
                         Deadline deadline) noexcept override {
    if (change.kind == Change::Kind::renew) return store_->commit(id, change, deadline);
    const WithGilReleased released;
    return store_->commit(id, change, deadline);
  }
  Result<Page> scan(const Filter& filter, const Cursor& from,
                    Deadline deadline) noexcept override {
    const WithGilReleased released;
    return store_->scan(filter, from, deadline);
  }
  Result<std::uint64_t> clear(const Filter& filter, Clear what,
                              Deadline deadline) noexcept override {
    const WithGilReleased released;
    return store_->clear(filter, what, deadline);
  }
  [[nodiscard]] std::unique_ptr<Watch> watch(const Id& id) noexcept override;
  // Nothing that waits: as quick with the GIL.
  [[nodiscard]] std::optional<Entry> recall(const Id& id,
                                            const Ask& ask) noexcept override {
    return store_->recall(id, ask);
  }
  bool keep_within(const Function* function, const Bounds& bounds) noexcept override {
    return store_->keep_within(function, bounds);
  }
  [[nodiscard]] StoreMetrics metrics() const noexcept override {
    return store_->metrics();
  }
  [[nodiscard]] std::string location() const override { return store_->location(); }

 private:
  std::shared_ptr<Store> store_;
};

/// The one `WithoutGil` of a store, so that equal stores are one object to the engine.
/// Needs the GIL.
[[nodiscard]] std::shared_ptr<Store> without_gil(const std::shared_ptr<Store>& store);

}  // namespace cachier::python
