#pragma once

/// A store in front of another one: for those that differ from it in a verb or two.

#include <cachier/store.hpp>

#include <memory>
#include <string>
#include <utility>

namespace cachier::test {

/// Short cuts are not forwarded: every entry is looked up.
class ForwardingStore : public Store {
 public:
  explicit ForwardingStore(std::shared_ptr<Store> store) : store_(std::move(store)) {}

  [[nodiscard]] Capabilities capabilities() const noexcept override {
    return store_->capabilities();
  }
  Result<Look> look(const Id& id, const Ask& ask, Deadline deadline) noexcept override {
    return store_->look(id, ask, deadline);
  }
  Result<Version> commit(const Id& id, const Change& change,
                         Deadline deadline) noexcept override {
    return store_->commit(id, change, deadline);
  }
  Result<Page> scan(const Filter& filter, const Cursor& from,
                    Deadline deadline) noexcept override {
    return store_->scan(filter, from, deadline);
  }
  Result<std::uint64_t> clear(const Filter& filter, Clear what,
                              Deadline deadline) noexcept override {
    return store_->clear(filter, what, deadline);
  }
  [[nodiscard]] std::unique_ptr<Watch> watch(const Id& id) noexcept override {
    return store_->watch(id);
  }
  [[nodiscard]] std::string location() const override { return store_->location(); }

 protected:
  [[nodiscard]] Store& behind() const noexcept { return *store_; }

 private:
  std::shared_ptr<Store> store_;
};

}  // namespace cachier::test
