#pragma once

/// What the engine is lent for a call of a Python function.

#include "python.hpp"

#include <cachier/engine.hpp>

#include <chrono>
#include <memory>
#include <optional>

#include "cached.hpp"

namespace cachier::python {

/// Call once. False: an exception is set.
[[nodiscard]] bool make_frame_variable();

/// Whether an object in memory is kept for an exception that was raised.
[[nodiscard]] bool stands_for_exception(PyObject* object) noexcept;

/// What a caller gets of an object in memory: itself, a copy, or, with null, the
/// exception that it stands for.
[[nodiscard]] PyObject* hand_out(const Cached& cached, PyObject* found);

/// `object` for the memory store: `kept` is what it keeps, a copy or itself. An error
/// with an exception set: callers are to know.
[[nodiscard]] Result<Value> encode_live(const Cached& cached, PyObject* object,
                                        std::uint64_t size_limit, Ref& kept);

/// The innermost frame of the caller, null if there is none.
[[nodiscard]] std::shared_ptr<const engine::Frame> innermost_frame() noexcept;
/// Makes `frame` the innermost one of this context. Gives what `leave_frame` wants;
/// null without an exception set: nothing was done.
[[nodiscard]] Ref enter_frame(std::shared_ptr<const engine::Frame> frame);
void leave_frame(const Ref& token) noexcept;

/// One call of `self` with `arguments`, which outlive it. Needs the GIL throughout.
class PythonWork : public engine::Work {
 public:
  PythonWork(PyObject* self, const Arguments& arguments, bool verbose) noexcept
      : self_(self),
        cached_(cached_of(self)),
        arguments_(arguments),
        verbose_(verbose) {}
  PythonWork(const PythonWork&) = delete;
  PythonWork& operator=(const PythonWork&) = delete;
  ~PythonWork() override = default;

  bool accept(const Entry& entry) noexcept override;
  Ran compute(std::shared_ptr<const engine::Frame> frame) noexcept override;
  Result<Value> encode(std::uint64_t size_limit) noexcept override;
  std::shared_ptr<const void> share() noexcept override;
  Ran adopt(const std::shared_ptr<const void>& shared) noexcept override;
  std::shared_ptr<const engine::Frame> enclosing() noexcept override;
  bool interrupted() noexcept override;
  bool start_refresh(std::unique_ptr<engine::Refresh> ticket) noexcept override;
  void on(engine::Step step) noexcept override;
  void store_failed(const Error& error) noexcept override;
  void waits_for(std::uint32_t process) noexcept override;

  /// A failure now is a failure: no exception takes the place of a result.
  void refreshes() noexcept { keeps_exceptions_ = false; }

  /// When the result was stored; nothing: it was not, as far as is known.
  [[nodiscard]] const std::optional<Time>& stored_at() const noexcept {
    return stored_at_;
  }

  /// Whether it ran the function because it had waited long enough for another.
  [[nodiscard]] bool timed_out() const noexcept { return timed_out_; }

  /// What the caller gets: a new reference, or null with the exception set.
  [[nodiscard]] PyObject* finish(const engine::Ended& ended);

 protected:
  /// What the function did, where others run it. `frame`: what it ran in.
  void returned(Ref result, std::shared_ptr<const engine::Frame> frame) noexcept {
    result_ = std::move(result);
    frame_ = std::move(frame);
  }
  Ran threw(Raised raised) noexcept;
  /// Nobody takes what came of it. Exceptions lead back to whoever holds this.
  void forget() noexcept {
    result_ = Ref();
    raised_ = Raised();
    unstorable_ = Raised();
  }

 private:
  void print(engine::Step step) const;
  [[nodiscard]] bool is_usable(const Value& value) const noexcept;
  Result<Value> encode_exception(std::uint64_t size_limit);

  PyObject* self_;
  const Cached& cached_;
  Arguments arguments_;
  bool verbose_;
  /// Of what was computed, until it is encoded.
  std::shared_ptr<const engine::Frame> frame_;
  Ref result_;
  Raised raised_;
  /// Why the result cannot be stored, where callers are to know.
  Raised unstorable_;
  /// What was put aside for others, where it is not `result_` itself.
  Ref kept_;
  std::optional<Time> stored_at_;
  bool keeps_exceptions_ = true;
  bool waited_ = false;
  bool timed_out_ = false;
  std::chrono::steady_clock::time_point waits_since_;
};

}  // namespace cachier::python
