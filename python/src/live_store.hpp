#pragma once

/// The memory backend of Python: the very objects, kept in this process.

#include "python.hpp"

#include <cachier/store.hpp>

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "backends/memory/table.hpp"
#include "backends/shared/tally.hpp"
#include "recency.hpp"

namespace cachier::python {

/// A value that keeps `object` alive, for `Codec::live`. Needs the GIL; may be dropped
/// without it.
[[nodiscard]] std::shared_ptr<const void> share_object(PyObject* object);
[[nodiscard]] inline PyObject* object_of(
    const std::shared_ptr<const void>& shared) noexcept {
  return static_cast<PyObject*>(const_cast<void*>(shared.get()));
}

/// Gives up references that were dropped where no Python code may run. Needs the GIL.
void drop_what_is_dead() noexcept;

/// `Store` of live Python objects. The GIL serializes it: every verb needs it, and a
/// wait gives it up meanwhile. No object is given up within a table operation, as that
/// could run code that comes back here.
class LiveStore final : public Store {
 public:
  using Table = memory::Table<std::shared_ptr<const void>>;
  using Slot = Table::Slot;

  LiveStore();
  ~LiveStore() override;

  /// The whole of a hit: the object, borrowed until the store is next entered, or null.
  [[nodiscard]] PyObject* find(const Function& function, const Digest& digest,
                               Bytes key, bool hashed, Duration max_age,
                               bool allow_none) const noexcept {
    const Slot* const slot = table_.find(function, digest, key, hashed);
    if (slot == nullptr) return nullptr;
    if (max_age != kNoLimit && !is_young(*slot, max_age)) return nullptr;
    if (slot->none() && !allow_none) return nullptr;
    ++hits_;
    return object_of(slot->payload);
  }

  bool keep_within(const Function* function, const Bounds& bounds) noexcept override;
  /// An entry was handed out, of a function that has bounds.
  void touch(const Id& id) noexcept;

  /// Stores an object as of `stored_at`, whatever is there.
  void keep(const Id& id, PyObject* object, Time stored_at) noexcept;

  [[nodiscard]] Capabilities capabilities() const noexcept override;
  Result<Look> look(const Id& id, const Ask& ask, Deadline deadline) noexcept override;
  Result<Version> commit(const Id& id, const Change& change,
                         Deadline deadline) noexcept override;
  Result<Page> scan(const Filter& filter, const Cursor& from,
                    Deadline deadline) noexcept override;
  Result<std::uint64_t> clear(const Filter& filter, Clear what,
                              Deadline deadline) noexcept override;
  [[nodiscard]] std::unique_ptr<Watch> watch(const Id& id) noexcept override;
  [[nodiscard]] StoreMetrics metrics() const noexcept override {
    return tally_.metrics(hits_);
  }
  [[nodiscard]] std::string location() const override { return "memory"; }

  /// What is stored of a function.
  [[nodiscard]] std::vector<std::shared_ptr<const void>> objects_of(
      const Function& function) const;

  /// In the child of a fork: nobody is left who could finish what was being computed,
  /// nor to wake or unlock anything.
  void after_fork_in_child() noexcept;

  /// For the garbage collector: visits every object; drops them all.
  int traverse(visitproc visit, void* arg) const noexcept;
  void drop_all() noexcept;

 private:
  class Attention;

  /// What waiters sleep on; one place for many entries.
  struct Bell {
    std::mutex mutex;
    std::condition_variable rung;
    std::uint64_t count = 0;
    std::uint32_t listeners = 0;  ///< under the GIL
  };
  static constexpr std::size_t kBells = 16;
  using Bells = std::array<Bell, kBells>;

  [[nodiscard]] static bool is_young(const Slot& slot, Duration max_age) noexcept;
  [[nodiscard]] Bell& bell_of(const Digest& digest) const noexcept {
    return (*bells_)[digest.low % kBells];
  }
  static void ring(Bell& bell) noexcept;
  [[nodiscard]] Recency* recency_of(const Function* function) noexcept;
  void evict(const Function* function, Recency& recency,
             std::vector<std::shared_ptr<const void>>& removed);

  Table table_;
  std::unordered_map<const Function*, Recency> recencies_;
  std::unique_ptr<Bells> bells_;
  shared::Tally tally_;
  mutable std::uint64_t hits_ = 0;
};

}  // namespace cachier::python
