#include "plugins/later_store.hpp"

#include "platform/clock.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <new>
#include <utility>

namespace cachier::plugins {
namespace {

using SteadyClock = std::chrono::steady_clock;

constexpr auto kPause = std::chrono::seconds(1);

/// Looks again when its slice is over: there is nobody who could wake it.
class Slice final : public Watch {
 public:
  void wait(Deadline deadline) noexcept override {
    const Duration left = deadline - SteadyClock::now();
    platform::pause_for(std::chrono::duration_cast<std::chrono::microseconds>(
        std::clamp(left, Duration::zero(), kLongest)));
  }

 private:
  static constexpr Duration kLongest = std::chrono::milliseconds(50);
};

class LaterStore final : public Store {
 public:
  LaterStore(StoreSpec spec, Error error)
      : spec_(std::move(spec)), error_(std::move(error)) {}
  ~LaterStore() override {
    delete store_.load();
    const Kept* next = nullptr;
    for (const Kept* kept = kept_.load(); kept != nullptr; kept = next) {
      next = kept->before;
      delete kept;
    }
  }
  LaterStore(const LaterStore&) = delete;
  LaterStore& operator=(const LaterStore&) = delete;

  [[nodiscard]] Capabilities capabilities() const noexcept override {
    if (const Store* const store = opened()) return store->capabilities();
    return {.name = "local", .persistent = true, .shared = true};
  }
  Result<Look> look(const Id& id, const Ask& ask, Deadline deadline) noexcept override {
    Store* const store = open_if_due();
    return store != nullptr ? store->look(id, ask, deadline) : error_;
  }
  Result<Version> commit(const Id& id, const Change& change,
                         Deadline deadline) noexcept override {
    Store* const store = open_if_due();
    return store != nullptr ? store->commit(id, change, deadline) : error_;
  }
  Result<Page> scan(const Filter& filter, const Cursor& from,
                    Deadline deadline) noexcept override {
    Store* const store = open_if_due();
    return store != nullptr ? store->scan(filter, from, deadline) : error_;
  }
  Result<std::uint64_t> clear(const Filter& filter, Clear what,
                              Deadline deadline) noexcept override {
    Store* const store = open_if_due();
    return store != nullptr ? store->clear(filter, what, deadline) : error_;
  }
  [[nodiscard]] std::unique_ptr<Watch> watch(const Id& id) noexcept override {
    if (Store* const store = opened()) return store->watch(id);
    return std::unique_ptr<Watch>(new (std::nothrow) Slice);
  }
  [[nodiscard]] std::optional<Entry> recall(const Id& id,
                                            const Ask& ask) noexcept override {
    Store* const store = opened();
    return store != nullptr ? store->recall(id, ask) : std::nullopt;
  }
  bool copy_fresh(const Id& id, const Ask& ask, const std::type_info& type, void* to,
                  std::size_t size) noexcept override {
    Store* const store = opened();
    return store != nullptr && store->copy_fresh(id, ask, type, to, size);
  }
  void keep_copy(const Id& id, const Version& version, const std::type_info& type,
                 const void* from, std::size_t size) noexcept override {
    if (Store* const store = opened()) store->keep_copy(id, version, type, from, size);
  }
  bool keep_within(const Function* function, const Bounds& bounds) noexcept override {
    if (Store* const store = opened()) return store->keep_within(function, bounds);
    Kept* const kept = new (std::nothrow) Kept{function, bounds, kept_.load()};
    if (kept == nullptr) return false;
    while (!kept_.compare_exchange_weak(kept->before, kept)) {
    }
    return true;
  }
  [[nodiscard]] StoreMetrics metrics() const noexcept override {
    const Store* const store = opened();
    return store != nullptr ? store->metrics() : StoreMetrics{};
  }
  [[nodiscard]] std::string location() const override {
    if (const Store* const store = opened()) return store->location();
    return spec_.cache_dir.empty() ? default_cache_dir() : spec_.cache_dir;
  }

 private:
  /// Bounds to be set when it is open.
  struct Kept {
    const Function* function;
    Bounds bounds;
    const Kept* before;
  };

  [[nodiscard]] Store* opened() const noexcept {
    const std::shared_ptr<Store>* const store = store_.load(std::memory_order_acquire);
    return store != nullptr ? store->get() : nullptr;
  }

  Store* open_if_due() noexcept {
    if (Store* const store = opened()) return store;
    const auto now = SteadyClock::now().time_since_epoch().count();
    auto due = due_.load(std::memory_order_relaxed);
    const auto next = now + std::chrono::nanoseconds(kPause).count();
    if (now < due || !due_.compare_exchange_strong(due, next)) return nullptr;
    try {
      auto found = open_store(spec_);
      if (!found) return nullptr;
      // Oldest first: the last word counts.
      apply(**found, kept_.load());
      auto made = std::make_unique<const std::shared_ptr<Store>>(std::move(*found));
      const std::shared_ptr<Store>* none = nullptr;
      if (store_.compare_exchange_strong(none, made.get())) (void)made.release();
      return opened();
    } catch (const std::bad_alloc&) {
      return nullptr;
    }
  }

  static void apply(Store& store, const Kept* kept) noexcept {
    if (kept == nullptr) return;
    apply(store, kept->before);
    store.keep_within(kept->function, kept->bounds);
  }

  const StoreSpec spec_;
  const Error error_;
  std::atomic<const std::shared_ptr<Store>*> store_{nullptr};
  std::atomic<const Kept*> kept_{nullptr};
  std::atomic<SteadyClock::rep> due_{0};
};

}  // namespace

std::shared_ptr<Store> open_later(StoreSpec spec, Error error) {
  return std::make_shared<LaterStore>(std::move(spec), std::move(error));
}

}  // namespace cachier::plugins
