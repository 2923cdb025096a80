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
                Work& work, Counters& counters, Call<> machine, bool refresh)
      : kept_{store, OwnedId(id), policy},
        course_(kept_.store, kept_.id, kept_.policy, work, counters, machine, refresh),
        next_(course_.start()) {}

  [[nodiscard]] Next next() const noexcept override {
    if (answered_ || Course::is_end(next_)) return Next::done;
    if (next_ == Do::wait) return Next::wait;
    return next_ == Do::compute ? Next::compute : Next::store;
  }
  bool recall(std::uint64_t most_bytes) override {
    const bool may = next_ == Do::look || next_ == Do::attend;
    if (may && course_.recall(most_bytes)) answered_ = true;
    return answered_;
  }
  void act() override {
    while (next() == Next::store) {
      if (const auto after = course_.act(next_)) {
        next_ = *after;
      } else {
        answered_ = true;
      }
    }
  }
  std::optional<Duration> before_wait() override {
    const auto slice = course_.before_wait();
    if (!slice) next_ = course_.give_up_waiting();
    return slice;
  }
  [[nodiscard]] std::shared_ptr<Watch> watch() const noexcept override {
    return course_.watch();
  }
  void after_wait() override { next_ = course_.after_wait(); }
  std::shared_ptr<const Frame> before_compute() override {
    return course_.before_compute();
  }
  void after_compute(Work::Ran how) override { next_ = course_.after_compute(how); }
  Ended end() override { return answered_ ? Ended{} : course_.end(next_); }

  [[nodiscard]] bool holds_claim() const noexcept override {
    return next_ == Do::compute && course_.holds_claim();
  }
  void give_back() override { course_.give_back(); }

 private:
  Kept kept_;
  Course course_;
  Do next_;
  bool answered_ = false;
};

}  // namespace

std::unique_ptr<Steps> Steps::of_call(const std::shared_ptr<Store>& store, const Id& id,
                                      const Policy& policy, Work& work,
                                      Counters& counters) {
  return std::make_unique<StepsOfCourse>(store, id, policy, work, counters,
                                         Call<>(wants_of(policy)), false);
}

std::unique_ptr<Steps> Steps::of_refresh(std::unique_ptr<Refresh> ticket, Work& work) {
  auto& granted = static_cast<GrantedRefresh&>(*ticket);
  auto steps = std::make_unique<StepsOfCourse>(
      granted.store(), granted.id(), granted.policy(), work, granted.counters(),
      Call<>::of_refresh(granted.token()), true);
  granted.use();
  return steps;
}

}  // namespace cachier::engine
