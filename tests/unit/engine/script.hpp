#pragma once

/// A `Work` whose function and results are a test's own: integers, stored as text.

#include <cachier/engine.hpp>

#include <atomic>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <typeinfo>
#include <utility>

namespace cachier::test {

class Script : public engine::Work {
 public:
  explicit Script(std::function<int()> function) : function_(std::move(function)) {}

  bool accept(const Entry& entry) noexcept override {
    if (unreadable) return false;
    result = std::stoi(std::string(as_text(entry.value.bytes())));
    return true;
  }

  Ran compute(std::shared_ptr<const engine::Frame> frame) noexcept override {
    std::optional<engine::FrameScope> scope;
    if (frame) scope.emplace(std::move(frame));
    try {
      result = function_();
      return Ran::returned;
    } catch (...) {
      thrown = std::current_exception();
      return Ran::threw;
    }
  }

  Result<Value> encode(std::uint64_t size_limit) noexcept override {
    if (unstorable) return ErrorCode::unsupported;
    std::string text = std::to_string(result);
    if (text.size() > size_limit) return ErrorCode::too_large;
    Value value = Value::of_bytes(Codec::cbor, std::move(text));
    value.set_none(empty);
    return value;
  }

  std::shared_ptr<const void> share() noexcept override {
    if (!shares) return nullptr;
    return std::make_shared<const std::pair<int, std::exception_ptr>>(result, thrown);
  }

  const std::type_info& shared_type() const noexcept override { return *type; }

  Ran adopt(const std::shared_ptr<const void>& shared) noexcept override {
    adopted = true;
    std::tie(result, thrown) =
        *static_cast<const std::pair<int, std::exception_ptr>*>(shared.get());
    return thrown ? Ran::threw : Ran::returned;
  }

  std::shared_ptr<const engine::Frame> enclosing() noexcept override {
    return engine::thread_frame();
  }

  bool interrupted() noexcept override { return interrupt.load(); }

  bool start_refresh(std::unique_ptr<engine::Refresh> ticket) noexcept override {
    refresh = std::move(ticket);
    return true;
  }

  void store_failed(const Error& error) noexcept override { store_error = error; }

  int result = 0;
  std::exception_ptr thrown;
  bool adopted = false;
  bool unreadable = false;
  bool unstorable = false;
  bool empty = false;  ///< the result is an empty answer
  const std::type_info* type = &typeid(int);
  bool shares = true;
  std::atomic<bool> interrupt{false};
  std::unique_ptr<engine::Refresh> refresh;
  std::optional<Error> store_error;

 private:
  std::function<int()> function_;
};

}  // namespace cachier::test
