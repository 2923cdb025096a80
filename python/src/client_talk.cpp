#include "client_talk.hpp"

#include <cachier/envelope.hpp>

#include <algorithm>
#include <cstring>
#include <utility>
#include <variant>

#include "backends/shared/wakes.hpp"
#include "client_store.hpp"
#include "client_words.hpp"
#include "platform/random.hpp"

namespace cachier::python {
namespace {

using SteadyClock = std::chrono::steady_clock;
using shared::Miss;

/// How long a claim holds that nobody renews.
constexpr std::chrono::milliseconds kLease = std::chrono::seconds(10);

/// What became of a change, as the adapter says it.
enum Became { kDone, kLost, kEarly };

std::chrono::milliseconds lease_of(Duration asked) noexcept {
  using std::chrono::milliseconds;
  return asked == kNoLimit
             ? kLease
             : std::max(milliseconds(1), std::chrono::ceil<milliseconds>(asked));
}

Version new_version() noexcept {
  return {{platform::random_bits(), platform::random_bits(), 0}};
}

/// What the adapter's look gives.
struct Seen {
  PyObject* bytes = nullptr;
  Py_ssize_t offset = 0;
  long long stored_at = 0;
  const char* version = nullptr;
  Py_ssize_t version_size = 0;
  unsigned long long epoch = 0;
  int fresh = 0;
  int claim = 0;
  int outcome = 0;
  long long now = 0;
  int damaged = 0;
};

}  // namespace

ClientTalk::ClientTalk(ClientStore& store, const Id& id, Deadline deadline,
                       const char* what)
    : store_(store),
      id_(id),
      digest_(text_of(id.digest)),
      deadline_(deadline),
      what_(what) {}

const std::string& ClientTalk::function() const noexcept { return id_.function->id(); }

Ref ClientTalk::next() {
  if (ended()) return {};
  if (auto outage = store_.closed(deadline_)) {
    end(*std::move(outage));
    return {};
  }
  asked_at_ = SteadyClock::now();
  Ref asked = request(seconds_until(deadline_));
  if (!asked) end(store_.failure(what_));
  return asked;
}

void ClientTalk::answered(PyObject* answer) {
  store_.open();
  if (!read(answer)) end(store_.failure(what_));
  // Those of other processes are told by the server.
  if (version_) shared::wake(id_.digest);
}

void ClientTalk::failed() { end(store_.failure(what_)); }

std::optional<Token> ClientTalk::cut_off() {
  if (!ended()) end(Error(ErrorCode::unavailable, what_, "cut off by its caller"));
  return std::nullopt;
}

// Looks
// ---------------------------------------------------------------------------

class ClientLook final : public ClientTalk {
 public:
  ClientLook(ClientStore& store, const Id& id, const Ask& ask, Deadline deadline)
      : ClientTalk(store, id, deadline, kCannotLook), ask_(ask) {}

  std::optional<Token> cut_off() override {
    (void)ClientTalk::cut_off();
    if (!ask_.claim || serial_ == 0) return std::nullopt;
    return Token{{}, serial_};
  }

 protected:
  using ClientTalk::end;

  Ref request(double seconds) override {
    const std::string unreadable =
        ask_.unreadable ? text_of(*ask_.unreadable) : std::string();
    std::string claim;
    if (ask_.claim) {
      serial_ = platform::random_bits();
      claim = store_.claim_of(serial_);
    }
    Ref max_age = Ref::borrow(Py_None);
    if (ask_.max_age != kNoLimit) {
      max_age = Ref::steal(PyLong_FromLongLong(
          std::max(Duration::zero(), ask_.max_age) / std::chrono::microseconds(1)));
      if (!max_age) return {};
    }
    return Ref::steal(
        Py_BuildValue("sds#y#OOy#y#L", "look", seconds, function().data(),
                      length(function()), digest_.data(), length(digest_),
                      max_age.get(), ask_.allow_none ? Py_True : Py_False,
                      ask_.unreadable ? unreadable.data() : nullptr, length(unreadable),
                      ask_.claim ? claim.data() : nullptr, length(claim),
                      static_cast<long long>(lease_of(ask_.lease).count())));
  }

  bool read(PyObject* answer) override {
    Seen seen;
    if (!PyArg_ParseTuple(answer, "OnLy#KpiiLp", &seen.bytes, &seen.offset,
                          &seen.stored_at, &seen.version, &seen.version_size,
                          &seen.epoch, &seen.fresh, &seen.claim, &seen.outcome,
                          &seen.now, &seen.damaged)) {
      return false;
    }
    store_.learn(seen.now, asked_at_);
    Look look;
    look.now = time_of(seen.now);
    look.outcome = static_cast<Outcome>(seen.outcome);
    look.damaged = seen.damaged != 0;
    look.token.basis.epoch = seen.epoch;
    if (seen.version_size == 16) look.token.basis.version = version_of(seen.version);
    if (seen.claim == 1) {
      look.claim = Look::Claim::granted;
      look.token.serial = serial_;
      store_.held_.insert(serial_);
    } else if (seen.claim == 2) {
      look.claim = Look::Claim::busy;
    }
    const Miss first = miss_;
    miss_ = look.damaged ? Miss::damaged : Miss::absent;
    if (seen.bytes != Py_None && !open_entry(seen, look)) return false;
    if (!again_ && ask_.claim && !look.fresh && look.claim == Look::Claim::none &&
        look.outcome != Outcome::not_storable) {
      // Fresh to the server, which knows marks only: damaged, not signed, another
      // key's.
      again_ = true;
      damaged_ = look.damaged;
      untrusted_ = look.untrusted;
      ask_.unreadable = look.token.basis.version;
      return true;
    }
    if (again_) {
      miss_ = first;
      look.damaged = damaged_;
      look.untrusted = untrusted_;
    }
    store_.tally_.looked(look, miss_);
    end(Result<Look>(std::move(look)));
    return true;
  }

  void end(Error error) override {
    Result<Look> answer(std::move(error));
    store_.tally_.answered(answer);
    end(std::move(answer));
  }

 private:
  [[nodiscard]] bool open_entry(const Seen& seen, Look& look) {
    if (ask_.unreadable == look.token.basis.version) {
      miss_ = Miss::unreadable;
      return true;
    }
    char* data = nullptr;
    Py_ssize_t size = 0;
    if (PyBytes_AsStringAndSize(seen.bytes, &data, &size) < 0) return false;
    if (size < seen.offset) {
      PyErr_SetString(PyExc_ValueError, "an entry is shorter than its marks");
      return false;
    }
    Entry entry{{}, time_of(seen.stored_at), look.token.basis.version};
    auto value = envelope::open(
        as_bytes({data + seen.offset, static_cast<std::size_t>(size - seen.offset)}),
        share_object(seen.bytes), id_, entry.stored_at, entry.version);
    if (!value) {
      miss_ = shared::refuse(value.error(), look);
      return true;
    }
    miss_ = Miss::collision;
    if (!*value) return true;
    miss_ = Miss::empty;
    if ((*value)->is_none() && !ask_.allow_none) return true;
    miss_ = Miss::stale;
    entry.value = std::move(**value);
    look.entry = std::move(entry);
    look.fresh = seen.fresh != 0;
    return true;
  }

  Ask ask_;
  std::uint64_t serial_ = 0;
  Miss miss_ = Miss::absent;  ///< why no fresh entry was found
  // Of a second look, what the first one saw.
  bool again_ = false;
  bool damaged_ = false;
  bool untrusted_ = false;
};

// Commits
// ---------------------------------------------------------------------------

class ClientCommit : public ClientTalk {
 public:
  ClientCommit(ClientStore& store, const Id& id, Change change, Deadline deadline)
      : ClientTalk(store, id, deadline, kCannotStore), change_(std::move(change)) {
    if (change_.token) claim_ = store_.claim_of(change_.token->serial);
  }

 protected:
  using ClientTalk::end;
  void end(Error error) override {
    Result<Version> answer(std::move(error));
    store_.tally_.answered(answer);
    end(std::move(answer));
  }

  /// Nothing is asked.
  void refuse(const char* why) {
    end(Error(ErrorCode::invalid_argument, "cannot change the entry", why));
  }
  void give_up_claim() noexcept {
    if (change_.token) store_.held_.erase(change_.token->serial);
  }
  [[nodiscard]] bool is_held() const noexcept {
    return store_.held_.contains(change_.token->serial);
  }

  Change change_;
  std::string claim_;
};

class ClientPut final : public ClientCommit {
 public:
  ClientPut(ClientStore& store, const Id& id, const Change& change, Deadline deadline)
      : ClientCommit(store, id, change, deadline), version_(new_version()) {
    give_up_claim();
    if (change_.value.codec() == Codec::live) {
      end(Error(ErrorCode::unsupported, "cannot store this value",
                "it is an object of this process, not bytes",
                "use the memory backend for it"));
      return;
    }
    draft_.emplace(id, change_.value);
  }

 protected:
  using ClientCommit::end;

  Ref request(double seconds) override {
    if (!store_.offset_) return Ref::steal(Py_BuildValue("sd", "clock", seconds));
    const std::int64_t now = microseconds(SteadyClock::now()) + *store_.offset_;
    const Basis basis =
        change_.token ? change_.token->basis : change_.basis.value_or(Basis());
    const std::string base = text_of(basis.version);
    Ref epoch = Ref::borrow(Py_None);
    if (change_.token || change_.basis || change_.epoch) {
      epoch = Ref::steal(PyLong_FromUnsignedLongLong(
          change_.token || change_.basis ? basis.epoch : *change_.epoch));
    }
    const std::string mark = text_of(version_);
    const Ref envelope = epoch ? stamped(time_of(now)) : Ref();
    if (!envelope) return {};
    asks_clock_ = false;
    return Ref::steal(Py_BuildValue(
        "sds#y#OLy#Oy#Oy#", "put", seconds, function().data(), length(function()),
        digest_.data(), length(digest_), envelope.get(), static_cast<long long>(now),
        mark.data(), length(mark), change_.value.is_none() ? Py_True : Py_False,
        change_.token ? claim_.data() : nullptr, length(claim_), epoch.get(),
        change_.basis && !change_.token ? base.data() : nullptr, length(base)));
  }

  bool read(PyObject* answer) override {
    if (asks_clock_) {
      const long long now = PyLong_AsLongLong(answer);
      if (PyErr_Occurred() != nullptr) return false;
      store_.learn(now, asked_at_);
      if (store_.offset_) return true;
      PyErr_SetString(PyExc_ValueError, "the server has no clock");
      return false;
    }
    int became = 0;
    long long now = 0;
    if (!PyArg_ParseTuple(answer, "iL", &became, &now)) return false;
    if (became == kEarly && attempts_++ < 3) {
      store_.offset_.reset();
      store_.learn(now, asked_at_);
      asks_clock_ = true;
      return true;
    }
    store_.learn(now, asked_at_);
    if (became == kDone) {
      end(Result<Version>(version_));
    } else {
      end(Error(ErrorCode::claim_lost));
    }
    return true;
  }

 private:
  [[nodiscard]] Ref stamped(Time at) {
    draft_->stamp(at, version_);
    const Bytes head = draft_->head();
    const Bytes content = draft_->content();
    Ref envelope = Ref::steal(PyBytes_FromStringAndSize(
        nullptr, static_cast<Py_ssize_t>(head.size() + content.size())));
    if (!envelope) return {};
    char* const to = PyBytes_AS_STRING(envelope.get());
    std::memcpy(to, head.data(), head.size());
    if (!content.empty()) {
      std::memcpy(to + head.size(), content.data(), content.size());
    }
    return envelope;
  }

  Version version_;
  std::optional<envelope::Draft> draft_;
  bool asks_clock_ = true;
  int attempts_ = 0;
};

class ClientErase final : public ClientCommit {
 public:
  using ClientCommit::ClientCommit;

 protected:
  using ClientCommit::end;

  Ref request(double seconds) override {
    const std::string mark = text_of(version_);
    return Ref::steal(Py_BuildValue("sds#y#y#", "erase", seconds, function().data(),
                                    length(function()), digest_.data(), length(digest_),
                                    mark.data(), length(mark)));
  }
  bool read(PyObject*) override {
    end(Result<Version>(version_));
    return true;
  }

 private:
  Version version_ = new_version();
};

/// A release, or a renewal, after which there may be something to release.
class ClientKeep final : public ClientCommit {
 public:
  ClientKeep(ClientStore& store, const Id& id, const Change& change, Deadline deadline)
      : ClientCommit(store, id, change, deadline),
        renews_(change.kind == Change::Kind::renew) {
    if (!change_.token) {
      refuse("a release or a renewal needs a token");
    } else if (!renews_) {
      give_up_claim();
    } else if (!is_held()) {
      // It was given back, and would be taken anew, as one whose lease is over is.
      end(Error(ErrorCode::claim_lost));
    }
  }

 protected:
  using ClientCommit::end;

  Ref request(double seconds) override {
    const Basis& basis = change_.token->basis;
    const std::string base = text_of(basis.version);
    const auto epoch = static_cast<unsigned long long>(basis.epoch);
    const long long last = renews_
                               ? static_cast<long long>(lease_of(change_.lease).count())
                               : static_cast<long long>(change_.outcome);
    return Ref::steal(Py_BuildValue(
        "sds#y#y#Ky#L", renews_ ? "renew" : "release", seconds, function().data(),
        length(function()), digest_.data(), length(digest_), claim_.data(),
        length(claim_), epoch, base.data(), length(base), last));
  }

  bool read(PyObject* answer) override {
    const int held = PyObject_IsTrue(answer);
    if (held < 0) return false;
    if (late_ || held == 0) {
      if (renews_) give_up_claim();
      end(Error(ErrorCode::claim_lost));
    } else if (renews_ && !is_held()) {
      // It was given back meanwhile, perhaps before the server did this.
      late_ = true;
      renews_ = false;
      change_.outcome = Outcome::none;
    } else {
      end(Result<Version>(change_.token->basis.version));
    }
    return true;
  }

 private:
  bool renews_;
  bool late_ = false;
};

std::unique_ptr<ClientTalk> ClientTalk::of(ClientStore& store, const Id& id,
                                           engine::Operation operation) {
  const Deadline deadline = operation.deadline;
  if (const auto* const ask = std::get_if<Ask>(&operation.what)) {
    return std::make_unique<ClientLook>(store, id, *ask, deadline);
  }
  const Change& change = std::get<Change>(operation.what);
  switch (change.kind) {
    case Change::Kind::put:
      return std::make_unique<ClientPut>(store, id, change, deadline);
    case Change::Kind::erase:
      return std::make_unique<ClientErase>(store, id, change, deadline);
    default:
      return std::make_unique<ClientKeep>(store, id, change, deadline);
  }
}

}  // namespace cachier::python
