#include "client_store.hpp"

#include <cachier/envelope.hpp>

#include <algorithm>
#include <cstring>
#include <new>
#include <thread>
#include <utility>

#include "live_store.hpp"
#include "platform/fork.hpp"
#include "platform/random.hpp"

namespace cachier::python {
namespace {

using SteadyClock = std::chrono::steady_clock;
using shared::Miss;

constexpr char kCannotLook[] = "cannot look into the cache";
constexpr char kCannotStore[] = "cannot store in the cache";
constexpr char kCannotList[] = "cannot list the cache";
constexpr char kCannotClear[] = "cannot clear the cache";

/// How long a claim holds that nobody renews.
constexpr std::chrono::milliseconds kLease = std::chrono::seconds(10);
/// A server that did not answer is left alone for this long, then for twice as long.
constexpr std::chrono::milliseconds kFirstPause(100);
constexpr std::chrono::milliseconds kLongestPause(5000);

/// The longest sleep before another look.
constexpr std::chrono::milliseconds kSlice(50);

/// What became of a change, as the adapter says it.
enum Became { kDone, kLost, kEarly };

/// Holds the GIL, whether or not the thread had it.
class WithGil {
 public:
  WithGil() noexcept : state_(interruptibly([] { return PyGILState_Ensure(); })) {}
  ~WithGil() { PyGILState_Release(state_); }
  WithGil(const WithGil&) = delete;
  WithGil& operator=(const WithGil&) = delete;

 private:
  PyGILState_STATE state_;
};

std::int64_t microseconds(SteadyClock::time_point at) noexcept {
  return std::chrono::duration_cast<std::chrono::microseconds>(at.time_since_epoch())
      .count();
}

Time time_of(std::int64_t us) noexcept {
  return Time(std::chrono::duration_cast<Duration>(std::chrono::microseconds(us)));
}

std::uint64_t read_word(const char* from) noexcept {
  std::uint64_t word = 0;
  for (int n = 0; n < 8; ++n) word = word << 8 | static_cast<unsigned char>(from[n]);
  return word;
}

void write_word(std::uint64_t word, char* to) noexcept {
  for (int n = 7; n >= 0; --n, word >>= 8) to[n] = static_cast<char>(word);
}

std::string text_of(std::uint64_t high, std::uint64_t low) {
  std::string bytes(16, '\0');
  write_word(high, bytes.data());
  write_word(low, bytes.data() + 8);
  return bytes;
}

std::string text_of(const Digest& digest) { return text_of(digest.high, digest.low); }
std::string text_of(const Version& version) {
  return text_of(version.words[0], version.words[1]);
}
Version version_of(const char* bytes) noexcept {
  return {{read_word(bytes), read_word(bytes + 8), 0}};
}

Py_ssize_t length(const std::string& text) noexcept {
  return static_cast<Py_ssize_t>(text.size());
}

Error out_of_memory(const char* what) {
  return {ErrorCode::unavailable, what, "out of memory"};
}

/// Sleeps a slice: whoever releases tells nobody.
class Slice final : public Watch {
 public:
  void wait(Deadline deadline) noexcept override {
    const Deadline until = std::min(deadline, SteadyClock::now() + kSlice);
    if (PyGILState_Check() == 0) {
      std::this_thread::sleep_until(until);
      return;
    }
    const WithGilReleased released;
    std::this_thread::sleep_until(until);
  }
};

}  // namespace

/// What the adapter's look gives.
struct ClientStore::Seen {
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

ClientStore::ClientStore(PyObject* adapter, std::string name)
    : adapter_(share_object(adapter)), name_(std::move(name)) {}

Capabilities ClientStore::capabilities() const noexcept {
  return {.name = name_,
          .live_objects = false,
          .persistent = true,
          .shared = true,
          .many_hosts = true,
          .fenced = true,
          .leases = true,
          .sees_death = false,
          .wakes = false};
}

template <class... Arguments>
Result<Ref> ClientStore::ask(const char* what, const char* verb, Deadline deadline,
                             const char* format, Arguments... arguments) {
  const auto now = SteadyClock::now();
  if (now < closed_until_) return *outage_;
  // One finds out for all whether it answers again.
  if (pause_.count() != 0) closed_until_ = std::min(deadline, now + kLongestPause);
  const double seconds =
      std::max(0.001, std::chrono::duration<double>(deadline - now).count());
  Ref answer = Ref::steal(interruptibly([&] {
    return PyObject_CallMethod(object_of(adapter_), "ask", format, verb, seconds,
                               arguments...);
  }));
  if (!answer) return failure(what);
  pause_ = std::chrono::milliseconds(0);
  closed_until_ = {};
  return answer;
}

Error ClientStore::failure(const char* what) {
  Raised raised = Raised::take();
  int kind = 0;
  std::string words;
  if (raised.is(PyExc_KeyboardInterrupt)) {
    // It is of whoever calls: raised as soon as Python runs on.
    PyErr_SetInterrupt();
    words = "interrupted";
    kind = 1;
  } else {
    const Ref judged = Ref::steal(interruptibly([&] {
      return PyObject_CallMethod(object_of(adapter_), "judge", "O", raised.get());
    }));
    const char* text = nullptr;
    if (judged && PyArg_ParseTuple(judged.get(), "is", &kind, &text)) words = text;
    PyErr_Clear();
  }
  // Its traceback holds frames, and what these hold.
  PyException_SetTraceback(raised.get(), Py_None);
  constexpr int kLasts = 2;
  Error error = Error(kind == kLasts ? ErrorCode::refused : ErrorCode::unavailable,
                      std::string(what) + " at " + location(), words)
                    .caused_by(share_object(raised.get()));
  if (kind == 0) {
    pause_ = std::clamp(2 * pause_, kFirstPause, kLongestPause);
    closed_until_ = SteadyClock::now() + pause_;
    outage_ = error;
  } else {
    // It answers.
    pause_ = std::chrono::milliseconds(0);
    closed_until_ = {};
  }
  return error;
}

void ClientStore::learn(std::int64_t now, SteadyTime asked_at) noexcept {
  if (now == 0) return;
  const std::int64_t latest = now - microseconds(asked_at);
  const std::int64_t earliest = now - microseconds(SteadyClock::now());
  // The truth is between the two. The largest of the earlier ones is the nearest to it,
  // unless the server's clock was set back.
  if (!offset_ || earliest > *offset_ || latest < *offset_) offset_ = earliest;
}

Result<std::int64_t> ClientStore::server_time(Deadline deadline) {
  if (!offset_) {
    const auto asked_at = SteadyClock::now();
    const auto answer = ask(kCannotStore, "clock", deadline, "sd");
    if (!answer) return answer.error();
    const long long now = PyLong_AsLongLong(answer->get());
    if (PyErr_Occurred() != nullptr) return failure(kCannotStore);
    learn(now, asked_at);
  }
  return microseconds(SteadyClock::now()) + offset_.value_or(0);
}

std::string ClientStore::claim_of(std::uint64_t serial) noexcept {
  // A child of a fork has another key: its parent's claims are not its own.
  if (claims_key_ == 0 || forks_ != platform::fork_count()) {
    forks_ = platform::fork_count();
    claims_key_ = platform::random_bits();
  }
  return text_of(serial, claims_key_);
}

Result<Look> ClientStore::look(const Id& id, const Ask& ask,
                               Deadline deadline) noexcept {
  const WithGil gil;
  const ErrorsAside aside;
  try {
    Miss miss = Miss::absent;
    Result<Look> answer = look_and_claim(id, ask, deadline, miss);
    tally_.answered(answer);
    if (answer) tally_.looked(*answer, miss);
    return answer;
  } catch (const std::bad_alloc&) {
    return out_of_memory(kCannotLook);
  }
}

Result<Look> ClientStore::look_and_claim(const Id& id, const Ask& ask,
                                         Deadline deadline, Miss& miss) {
  Result<Look> answer = look_once(id, ask, deadline, miss);
  if (!answer || answer->claim != Look::Claim::none || !ask.claim ||
      answer->outcome == Outcome::not_storable || answer->fresh) {
    return answer;
  }
  // Fresh to the server, which knows marks only: damaged, not signed, another key's.
  Ask again = ask;
  again.unreadable = answer->token.basis.version;
  const bool damaged = answer->damaged;
  const bool untrusted = answer->untrusted;
  Miss ignored = miss;
  answer = look_once(id, again, deadline, ignored);
  if (answer) {
    answer->damaged = damaged;
    answer->untrusted = untrusted;
  }
  return answer;
}

Result<Look> ClientStore::look_once(const Id& id, const Ask& ask, Deadline deadline,
                                    Miss& miss) {
  const std::string& function = id.function->id();
  const std::string digest = text_of(id.digest);
  const std::string unreadable =
      ask.unreadable ? text_of(*ask.unreadable) : std::string();
  const std::int64_t lease =
      ask.lease == kNoLimit
          ? kLease.count()
          : std::chrono::duration_cast<std::chrono::milliseconds>(ask.lease).count();
  std::string claim;
  std::uint64_t serial = 0;
  if (ask.claim) {
    serial = platform::random_bits();
    claim = claim_of(serial);
  }
  Ref max_age = Ref::borrow(Py_None);
  if (ask.max_age != kNoLimit) {
    max_age = Ref::steal(PyLong_FromLongLong(std::max(Duration::zero(), ask.max_age) /
                                             std::chrono::microseconds(1)));
    if (!max_age) return failure(kCannotLook);
  }
  const auto asked_at = SteadyClock::now();
  auto answer = this->ask(
      kCannotLook, "look", deadline, "sds#y#OOy#y#L", function.data(), length(function),
      digest.data(), length(digest), max_age.get(), ask.allow_none ? Py_True : Py_False,
      ask.unreadable ? unreadable.data() : nullptr, length(unreadable),
      ask.claim ? claim.data() : nullptr, length(claim),
      static_cast<long long>(std::max<std::int64_t>(1, lease)));
  if (!answer) return answer.error();
  Seen seen;
  if (!PyArg_ParseTuple(answer->get(), "OnLy#KpiiLp", &seen.bytes, &seen.offset,
                        &seen.stored_at, &seen.version, &seen.version_size, &seen.epoch,
                        &seen.fresh, &seen.claim, &seen.outcome, &seen.now,
                        &seen.damaged)) {
    return failure(kCannotLook);
  }
  learn(seen.now, asked_at);
  Look look;
  look.now = time_of(seen.now);
  look.outcome = static_cast<Outcome>(seen.outcome);
  look.damaged = seen.damaged != 0;
  look.token.basis.epoch = seen.epoch;
  if (seen.version_size == 16) look.token.basis.version = version_of(seen.version);
  if (seen.claim == 1) {
    look.claim = Look::Claim::granted;
    look.token.serial = serial;
    held_.insert(serial);
  } else if (seen.claim == 2) {
    look.claim = Look::Claim::busy;
  }
  miss = look.damaged ? Miss::damaged : Miss::absent;
  if (seen.bytes == Py_None) return look;
  if (ask.unreadable == look.token.basis.version) {
    miss = Miss::unreadable;
    return look;
  }
  char* data = nullptr;
  Py_ssize_t size = 0;
  if (PyBytes_AsStringAndSize(seen.bytes, &data, &size) < 0 || size < seen.offset) {
    return failure(kCannotLook);
  }
  Entry entry{{}, time_of(seen.stored_at), look.token.basis.version};
  auto value = envelope::open(
      as_bytes({data + seen.offset, static_cast<std::size_t>(size - seen.offset)}),
      share_object(seen.bytes), id, entry.stored_at, entry.version);
  if (!value) {
    miss = shared::refuse(value.error(), look);
    return look;
  }
  miss = Miss::collision;
  if (!*value) return look;
  miss = Miss::empty;
  if ((*value)->is_none() && !ask.allow_none) return look;
  miss = Miss::stale;
  entry.value = std::move(**value);
  look.entry = std::move(entry);
  look.fresh = seen.fresh != 0;
  return look;
}

Result<Version> ClientStore::commit(const Id& id, const Change& change,
                                    Deadline deadline) noexcept {
  const WithGil gil;
  const ErrorsAside aside;
  try {
    auto answer = change_once(id, change, deadline);
    tally_.answered(answer);
    return answer;
  } catch (const std::bad_alloc&) {
    return out_of_memory(kCannotStore);
  }
}

Result<Version> ClientStore::change_once(const Id& id, const Change& change,
                                         Deadline deadline) {
  switch (change.kind) {
    case Change::Kind::put:
      return put(id, change, deadline);
    case Change::Kind::release:
      return release(id, change, deadline);
    case Change::Kind::renew:
      return renew(id, change, deadline);
    case Change::Kind::erase:
      return erase(id, deadline);
  }
  return Error(ErrorCode::invalid_argument, "cannot change the entry",
               "there is no such kind of change");
}

Result<Version> ClientStore::put(const Id& id, const Change& change,
                                 Deadline deadline) {
  if (change.value.codec() == Codec::live) {
    return Error(ErrorCode::unsupported, "cannot store this value",
                 "it is an object of this process, not bytes",
                 "use the memory backend for it");
  }
  const Version version{{platform::random_bits(), platform::random_bits(), 0}};
  const std::string mark = text_of(version);
  const std::string digest = text_of(id.digest);
  const std::string& function = id.function->id();
  const std::string claim =
      change.token ? claim_of(change.token->serial) : std::string();
  if (change.token) held_.erase(change.token->serial);
  const Basis basis =
      change.token ? change.token->basis : change.basis.value_or(Basis());
  const std::string base = text_of(basis.version);
  Ref epoch = Ref::borrow(Py_None);
  if (change.token || change.basis || change.epoch) {
    epoch = Ref::steal(PyLong_FromUnsignedLongLong(
        change.token || change.basis ? basis.epoch : *change.epoch));
    if (!epoch) return failure(kCannotStore);
  }
  envelope::Draft draft(id, change.value);
  for (int attempt = 0;; ++attempt) {
    const auto now = server_time(deadline);
    if (!now) return now.error();
    draft.stamp(time_of(*now), version);
    const Bytes head = draft.head();
    const Bytes content = draft.content();
    const Ref envelope = Ref::steal(PyBytes_FromStringAndSize(
        nullptr, static_cast<Py_ssize_t>(head.size() + content.size())));
    if (!envelope) return failure(kCannotStore);
    char* const to = PyBytes_AS_STRING(envelope.get());
    std::memcpy(to, head.data(), head.size());
    if (!content.empty()) {
      std::memcpy(to + head.size(), content.data(), content.size());
    }
    const auto asked_at = SteadyClock::now();
    auto answer =
        ask(kCannotStore, "put", deadline, "sds#y#OLy#Oy#Oy#", function.data(),
            length(function), digest.data(), length(digest), envelope.get(),
            static_cast<long long>(*now), mark.data(), length(mark),
            change.value.is_none() ? Py_True : Py_False,
            change.token ? claim.data() : nullptr, length(claim), epoch.get(),
            change.basis && !change.token ? base.data() : nullptr, length(base));
    if (!answer) return answer.error();
    int became = 0;
    long long server_now = 0;
    if (!PyArg_ParseTuple(answer->get(), "iL", &became, &server_now)) {
      return failure(kCannotStore);
    }
    if (became == kEarly && attempt < 3) {
      offset_.reset();
      learn(server_now, asked_at);
      continue;
    }
    learn(server_now, asked_at);
    if (became != kDone) return ErrorCode::claim_lost;
    return version;
  }
}

Result<Version> ClientStore::erase(const Id& id, Deadline deadline) {
  const Version version{{platform::random_bits(), platform::random_bits(), 0}};
  const std::string mark = text_of(version);
  const std::string digest = text_of(id.digest);
  const std::string& function = id.function->id();
  auto answer =
      ask(kCannotStore, "erase", deadline, "sds#y#y#", function.data(),
          length(function), digest.data(), length(digest), mark.data(), length(mark));
  if (!answer) return answer.error();
  return version;
}

Result<Version> ClientStore::release(const Id& id, const Change& change,
                                     Deadline deadline) {
  if (!change.token) {
    return Error(ErrorCode::invalid_argument, "cannot release a claim",
                 "a release needs a token");
  }
  const std::string claim = claim_of(change.token->serial);
  held_.erase(change.token->serial);
  const std::string digest = text_of(id.digest);
  const std::string base = text_of(change.token->basis.version);
  const std::string& function = id.function->id();
  auto answer =
      ask(kCannotStore, "release", deadline, "sds#y#y#Ky#i", function.data(),
          length(function), digest.data(), length(digest), claim.data(), length(claim),
          static_cast<unsigned long long>(change.token->basis.epoch), base.data(),
          length(base), static_cast<int>(change.outcome));
  if (!answer) return answer.error();
  if (PyObject_IsTrue(answer->get()) != 1) return ErrorCode::claim_lost;
  return change.token->basis.version;
}

Result<Version> ClientStore::renew(const Id& id, const Change& change,
                                   Deadline deadline) {
  if (!change.token) {
    return Error(ErrorCode::invalid_argument, "cannot renew a claim",
                 "a renewal needs a token");
  }
  // A claim that was given back would be taken anew, as one whose lease is over is.
  if (!held_.contains(change.token->serial)) return ErrorCode::claim_lost;
  const std::string claim = claim_of(change.token->serial);
  const std::string digest = text_of(id.digest);
  const std::string base = text_of(change.token->basis.version);
  const std::string& function = id.function->id();
  const auto lease = change.lease == kNoLimit
                         ? kLease
                         : std::chrono::ceil<std::chrono::milliseconds>(change.lease);
  auto answer =
      ask(kCannotStore, "renew", deadline, "sds#y#y#Ky#L", function.data(),
          length(function), digest.data(), length(digest), claim.data(), length(claim),
          static_cast<unsigned long long>(change.token->basis.epoch), base.data(),
          length(base), static_cast<long long>(lease.count()));
  if (!answer) return answer.error();
  if (PyObject_IsTrue(answer->get()) != 1) {
    held_.erase(change.token->serial);
    return ErrorCode::claim_lost;
  }
  if (!held_.contains(change.token->serial)) {
    // It was given back meanwhile, perhaps before the server did this.
    Change again;
    again.kind = Change::Kind::release;
    again.token = change.token;
    (void)release(id, again, deadline);
    return ErrorCode::claim_lost;
  }
  return change.token->basis.version;
}

Result<Page> ClientStore::scan(const Filter& filter, const Cursor& from,
                               Deadline deadline) noexcept {
  const WithGil gil;
  const ErrorsAside aside;
  try {
    const std::string function =
        filter.function != nullptr ? filter.function->id() : std::string();
    Ref before = Ref::borrow(Py_None);
    if (filter.stored_before) {
      before =
          Ref::steal(PyLong_FromLongLong(std::chrono::ceil<std::chrono::microseconds>(
                                             filter.stored_before->time_since_epoch())
                                             .count()));
      if (!before) return failure(kCannotList);
    }
    auto answer = ask(kCannotList, "scan", deadline, "sdz#Oy#",
                      filter.function != nullptr ? function.data() : nullptr,
                      length(function), before.get(), from.data(), length(from));
    if (!answer) return answer.error();
    PyObject* listed = nullptr;
    const char* next = nullptr;
    Py_ssize_t next_size = 0;
    if (!PyArg_ParseTuple(answer->get(), "O!y#", &PyList_Type, &listed, &next,
                          &next_size)) {
      return failure(kCannotList);
    }
    Page page;
    page.next.assign(next, static_cast<std::size_t>(next_size));
    for (Py_ssize_t n = 0; n < PyList_GET_SIZE(listed); ++n) {
      const char* of = nullptr;
      const char* digest = nullptr;
      const char* head = nullptr;
      Py_ssize_t of_size = 0;
      Py_ssize_t digest_size = 0;
      Py_ssize_t head_size = 0;
      long long stored_at = 0;
      unsigned long long size = 0;
      if (!PyArg_ParseTuple(PyList_GET_ITEM(listed, n), "s#y#Ly#K", &of, &of_size,
                            &digest, &digest_size, &stored_at, &head, &head_size,
                            &size)) {
        return failure(kCannotList);
      }
      const auto parts = envelope::inspect(
          as_bytes({head, static_cast<std::size_t>(head_size)}), size);
      if (!parts || digest_size != 16) continue;  // damaged: no entry
      Header& header = page.entries.emplace_back();
      header.function.assign(of, static_cast<std::size_t>(of_size));
      header.digest = {read_word(digest), read_word(digest + 8)};
      header.key = std::string(as_text(parts->key));
      header.hashed = parts->hashed;
      header.stored_at = time_of(stored_at);
      header.size = parts->value_size;
      header.codec = parts->codec;
    }
    return page;
  } catch (const std::bad_alloc&) {
    return out_of_memory(kCannotList);
  }
}

Result<std::uint64_t> ClientStore::clear(const Filter& filter, Clear what,
                                         Deadline deadline) noexcept {
  const WithGil gil;
  const ErrorsAside aside;
  try {
    const std::string function =
        filter.function != nullptr ? filter.function->id() : std::string();
    const char* const of = filter.function != nullptr ? function.data() : nullptr;
    if (what == Clear::claims) {
      auto answer =
          ask(kCannotClear, "free_claims", deadline, "sdz#", of, length(function));
      if (!answer) return answer.error();
      return std::uint64_t{0};
    }
    if (what == Clear::stale && !filter.stored_before) return std::uint64_t{0};
    Ref before = Ref::borrow(Py_None);
    if (what == Clear::stale) {
      before =
          Ref::steal(PyLong_FromLongLong(std::chrono::ceil<std::chrono::microseconds>(
                                             filter.stored_before->time_since_epoch())
                                             .count()));
      if (!before) return failure(kCannotClear);
    }
    auto answer = ask(kCannotClear, "clear", deadline, "sdz#O", of, length(function),
                      before.get());
    if (!answer) return answer.error();
    const unsigned long long count = PyLong_AsUnsignedLongLong(answer->get());
    if (PyErr_Occurred() != nullptr) return failure(kCannotClear);
    return std::uint64_t{count};
  } catch (const std::bad_alloc&) {
    return out_of_memory(kCannotClear);
  }
}

std::unique_ptr<Watch> ClientStore::watch(const Id&) noexcept {
  return std::unique_ptr<Watch>(new (std::nothrow) Slice);
}

std::string ClientStore::location() const {
  const WithGil gil;
  const ErrorsAside aside;
  const Ref text = Ref::steal(interruptibly(
      [&] { return PyObject_CallMethod(object_of(adapter_), "location", nullptr); }));
  std::string where(text ? utf8_of(text.get()) : std::string_view());
  PyErr_Clear();
  return where.empty() ? name_ : where;
}

}  // namespace cachier::python
