/// The driver for event loops: the door asks what is next, and chooses where it is
/// done.

#include <cachier/engine.hpp>

#include <memory>
#include <utility>

#include "engine/course.hpp"

namespace cachier::engine {
namespace {

/// What `Course` refers to.
struct Kept {
  std::shared_ptr<Store> store;
  OwnedId owned;
  Policy policy;
  Id id = owned.view();
};

class StepsOfCourse final : public Steps {
 public:
  StepsOfCourse(const std::shared_ptr<Store>& store, const Id& id, const Policy& policy,
                Work& work, Counters& counters)
      : kept_{store, OwnedId(id), policy},
        course_(kept_.store, kept_.id, kept_.policy, work, counters) {}
  StepsOfCourse(GrantedRefresh& granted, Work& work)
      : kept_{granted.store(), OwnedId(granted.id()), granted.policy()},
        course_(kept_.store, kept_.id, kept_.policy, work, granted.counters(),
                granted.token(), granted.use()) {}

  [[nodiscard]] Next next() const noexcept override { return course_.next(); }
  bool recall(std::uint64_t most_bytes) override { return course_.recall(most_bytes); }
  void act() override { course_.act(); }
  std::optional<Operation> begin() override { return course_.begin(); }
  void looked(Result<Look> answer) override { course_.looked(std::move(answer)); }
  void committed(Result<Version> answer) override { course_.committed(answer); }
  std::optional<Duration> before_wait() override { return course_.before_wait(); }
  [[nodiscard]] std::shared_ptr<Watch> watch() const noexcept override {
    return course_.watch();
  }
  void after_wait() override { course_.after_wait(); }
  std::shared_ptr<const Frame> before_compute() override {
    return course_.before_compute();
  }
  void after_compute(Work::Ran how) override { course_.after_compute(how); }
  Ended end() override { return course_.end(); }

  [[nodiscard]] bool holds_claim() const noexcept override {
    return course_.holds_claim();
  }
  void give_back() override { course_.give_back(); }
  std::optional<Operation> begin_give_back() override {
    return course_.operation_to_give_back();
  }

 private:
  Kept kept_;
  Course course_;
};

}  // namespace

std::unique_ptr<Steps> Steps::of_call(const std::shared_ptr<Store>& store, const Id& id,
                                      const Policy& policy, Work& work,
                                      Counters& counters) {
  return std::make_unique<StepsOfCourse>(store, id, policy, work, counters);
}

std::unique_ptr<Steps> Steps::of_refresh(std::unique_ptr<Refresh> ticket, Work& work) {
  return std::make_unique<StepsOfCourse>(static_cast<GrantedRefresh&>(*ticket), work);
}

}  // namespace cachier::engine
