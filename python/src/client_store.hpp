#pragma once

/// Stores that are reached through a client which the program brings.

#include "python.hpp"

#include <cachier/engine.hpp>
#include <cachier/store.hpp>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <unordered_set>

#include "backends/shared/tally.hpp"
#include "live_store.hpp"

namespace cachier::python {

class ClientTalk;

/// `Store` on a Python adapter (`cachier/adapters/_base.py`), which moves bytes.
///
/// It makes and opens envelopes, chooses versions and what claims are known by, keeps
/// the server's clock, and leaves a server alone that does not answer. Verbs take the
/// GIL where the caller does not hold it; the client gives it up while it waits.
class ClientStore final : public Store {
 public:
  /// Needs the GIL. `adapter`: a `Blocking` or an `Awaiting`.
  ClientStore(PyObject* adapter, std::string name);

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
    return tally_.metrics(0);
  }
  [[nodiscard]] std::string location() const override;

  /// Its adapter, a new reference, if that is one whose answers are awaited; else null.
  [[nodiscard]] Ref awaited() const noexcept {
    return is_awaited_ ? Ref::borrow(object_of(adapter_)) : Ref();
  }

 private:
  friend class ClientTalk;
  friend class ClientLook;
  friend class ClientCommit;
  friend class ClientPut;
  using SteadyTime = std::chrono::steady_clock::time_point;

  /// Says all of it, and waits for the answers.
  void hold(ClientTalk& talk);
  /// Does a verb of the adapter. `format`, `arguments`: as of `Py_BuildValue`, a tuple.
  template <class... Arguments>
  Result<Ref> ask(const char* what, const char* verb, Deadline deadline,
                  const char* format, Arguments... arguments);

  /// Why nobody is to ask now, if so.
  [[nodiscard]] std::optional<Error> closed(Deadline deadline);
  /// It has answered.
  void open() noexcept;
  /// The pending exception as an error; counts for or against the server.
  [[nodiscard]] Error failure(const char* what);

  /// What an answer tells of the server's clock: it was sent after `asked_at`.
  void learn(std::int64_t now, SteadyTime asked_at) noexcept;

  /// What a claim of this process is known by.
  [[nodiscard]] std::string claim_of(std::uint64_t serial) noexcept;

  shared::Tally tally_;
  std::shared_ptr<const void> adapter_;
  std::string name_;
  bool is_awaited_ = false;
  bool listens_ = false;  ///< it is told of what to listen for

  // All under the GIL.
  std::optional<std::int64_t> offset_;  ///< the server's clock less our steady one, us
  /// The second half of what its claims are known by; 0: not chosen yet.
  std::uint64_t claims_key_ = 0;
  std::uint64_t forks_ = 0;  ///< at that time
  /// Serials of claims that were given, and neither put with nor given back.
  std::unordered_set<std::uint64_t> held_;
  /// After an outage: nobody asks before this but for one, and what they are told.
  SteadyTime closed_until_;
  std::chrono::milliseconds pause_{0};
  std::optional<Error> outage_;
};

}  // namespace cachier::python
