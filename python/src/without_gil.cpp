#include "without_gil.hpp"

#include <new>
#include <unordered_map>

namespace cachier::python {
namespace {

class WaitWithoutGil final : public Watch {
 public:
  explicit WaitWithoutGil(std::unique_ptr<Watch> watch) noexcept
      : watch_(std::move(watch)) {}
  void wait(Deadline deadline) noexcept override {
    const WithGilReleased released;
    watch_->wait(deadline);
  }

 private:
  std::unique_ptr<Watch> watch_;
};

}  // namespace

std::unique_ptr<Watch> WithoutGil::watch(const Id& id) noexcept {
  auto watch = store_->watch(id);
  if (watch == nullptr) return nullptr;
  return std::unique_ptr<Watch>(new (std::nothrow) WaitWithoutGil(std::move(watch)));
}

std::shared_ptr<Store> without_gil(const std::shared_ptr<Store>& store) {
  static auto* const wrapped =
      new std::unordered_map<const Store*, std::weak_ptr<Store>>;
  std::weak_ptr<Store>& known = (*wrapped)[store.get()];
  if (std::shared_ptr<Store> living = known.lock()) return living;
  auto made = std::make_shared<WithoutGil>(store);
  known = made;
  return made;
}

}  // namespace cachier::python
