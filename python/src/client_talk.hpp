#pragma once

/// What one operation of the engine asks of an adapter, request by request.

#include "python.hpp"

#include <cachier/engine.hpp>
#include <cachier/store.hpp>

#include <chrono>
#include <memory>
#include <optional>
#include <string>

namespace cachier::python {

class ClientStore;

/// One operation on its way. It never waits: whoever drives it asks the adapter for
/// what `next` says, by a call that blocks or one that is awaited, and tells what came
/// of that. Under the GIL.
class ClientTalk {
 public:
  /// `store` and what `id` refers to outlive it.
  [[nodiscard]] static std::unique_ptr<ClientTalk> of(ClientStore& store, const Id& id,
                                                      engine::Operation operation);
  virtual ~ClientTalk() = default;
  ClientTalk(const ClientTalk&) = delete;
  ClientTalk& operator=(const ClientTalk&) = delete;

  /// What to ask now: verb, seconds, arguments, as a tuple. Null: there is nothing
  /// more to ask. Then `answered` or `failed`, and again.
  [[nodiscard]] Ref next();
  void answered(PyObject* answer);
  /// The pending exception is what came of it.
  void failed();
  /// Nobody will say what came of it: that ends it. Gives the claim that it may have
  /// been granted.
  [[nodiscard]] virtual std::optional<Token> cut_off();

  /// Whether it was a look, else a commit; and what came of it.
  [[nodiscard]] bool is_look() const noexcept { return look_.has_value(); }
  [[nodiscard]] Result<Look>&& look() noexcept { return *std::move(look_); }
  [[nodiscard]] Result<Version>&& version() noexcept { return *std::move(version_); }

 protected:
  using SteadyTime = std::chrono::steady_clock::time_point;

  ClientTalk(ClientStore& store, const Id& id, Deadline deadline, const char* what);

  /// Null: an exception is set.
  [[nodiscard]] virtual Ref request(double seconds) = 0;
  /// False: an exception is set.
  [[nodiscard]] virtual bool read(PyObject* answer) = 0;
  virtual void end(Error error) = 0;

  void end(Result<Look> look) noexcept { look_ = std::move(look); }
  void end(Result<Version> version) noexcept { version_ = std::move(version); }
  [[nodiscard]] bool ended() const noexcept { return look_ || version_; }

  [[nodiscard]] const std::string& function() const noexcept;

  ClientStore& store_;
  Id id_;
  std::string digest_;
  Deadline deadline_;
  const char* what_;
  SteadyTime asked_at_;

 private:
  std::optional<Result<Look>> look_;
  std::optional<Result<Version>> version_;
};

}  // namespace cachier::python
