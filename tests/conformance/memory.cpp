/// The memory store.

#include "backends/memory/memory.hpp"

#include "conformance/conformance.hpp"
#include "support/clock.hpp"
#include "support/leasing_store.hpp"

namespace cachier::conformance {
namespace {

class MemorySubject : public Subject {
 public:
  std::shared_ptr<Store> open() override { return make_memory_store(clock_); }
  bool advance(Duration by) override {
    clock_.advance(by);
    return true;
  }
  [[nodiscard]] bool advances_outcomes() const override { return true; }

 private:
  test::ManualClock clock_;
};

/// Values as objects of the process.
class LiveSubject final : public MemorySubject {
 public:
  [[nodiscard]] Value value_of(std::string text) override {
    return Value::of_object(std::make_shared<const std::string>(std::move(text)));
  }
  [[nodiscard]] std::string text_of(const Value& value) override {
    return *std::static_pointer_cast<const std::string>(value.object());
  }
};

/// With claims that end by time, for the part of the suite that is about them.
class LeasingSubject final : public Subject {
 public:
  std::shared_ptr<Store> open() override {
    return std::make_shared<test::LeasingStore>(make_memory_store(clock_), clock_);
  }
  bool advance(Duration by) override {
    clock_.advance(by);
    return true;
  }
  [[nodiscard]] bool advances_outcomes() const override { return true; }
  [[nodiscard]] bool advances_leases() const override { return true; }

 private:
  test::ManualClock clock_;
};

INSTANTIATE_TEST_SUITE_P(
    Memory, StoreConformance,
    ::testing::Values(
        Candidate{"bytes", [] { return std::make_unique<MemorySubject>(); }},
        Candidate{"live", [] { return std::make_unique<LiveSubject>(); }},
        Candidate{"leasing", [] { return std::make_unique<LeasingSubject>(); }}),
    name_of_candidate);

}  // namespace
}  // namespace cachier::conformance
