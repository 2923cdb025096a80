#pragma once

/// A small world in which several real call machines meet one model store, for the
/// search over all that can happen (`search.hpp`).
///
/// Machines 0 and 1 live in one process, machine 2 in another; slot 3 is empty until a
/// fork puts the child's copy of a machine there. Each step is one operation of a
/// machine on the store, or one fault.

#include <array>
#include <cstdint>
#include <string_view>

#include "engine/call.hpp"

namespace cachier::model {

using engine::Call;
using engine::Do;
using engine::Put;
using engine::Rules;

inline constexpr std::size_t kMachines = 3;
inline constexpr std::size_t kSlots = kMachines + 1;
inline constexpr std::size_t kChild = kMachines;
inline constexpr std::uint8_t kNobody = 0xff;

/// What can go wrong, each as often as the search allows.
enum class Fault : std::uint8_t {
  crash,         ///< a process dies; its machines and, where seen, its claims with it
  lease_ends,    ///< the owner is slow: its claim ends while it goes on
  reply_lost,    ///< the store did it, the caller hears of a failure
  put_fails,     ///< the store cannot store
  unstorable,    ///< the result has no stored form
  empty,         ///< the result is an empty answer, which does not count
  throws,        ///< the function throws
  times_out,     ///< a waiter has waited long enough
  clear,         ///< all entries of the function are cleared
  clear_claims,  ///< all claims of the function are freed
  erase,         ///< the entry is invalidated
  ages,          ///< the entry becomes stale
  forks,         ///< the function forks, and both sides return
  unreadable,    ///< a caller cannot read the entry that it is to give
};
inline constexpr std::size_t kFaults = 14;

/// What holds for every reachable state: the promises of `docs/engine.md`, by number.
enum class Broken : std::uint8_t {
  none,
  cleared_value_stored,  ///< 1: computed before a clear, stored after it
  newer_value_replaced,  ///< 2: an owner's or waiter's put replaced a later one
  late_owner_stored,     ///< 3: its claim had been given to somebody else
  two_owners,            ///< 4: two held the claim, nobody having freed it
  ran_twice,             ///< 5: nothing went wrong, and yet it ran more than once
  waits_for_ever,        ///< 6: nobody can take a step, and somebody is not done
  child_used_claim,      ///< 7: the child of a fork used its parent's claim
  old_result_handed,     ///< 8: handed over a result from before a clear or an erase
};

[[nodiscard]] constexpr std::string_view name_of(Broken broken) noexcept {
  switch (broken) {
    case Broken::none:
      return "nothing";
    case Broken::cleared_value_stored:
      return "a cleared value came back";
    case Broken::newer_value_replaced:
      return "an older value replaced a newer one";
    case Broken::late_owner_stored:
      return "a late owner's commit was accepted";
    case Broken::two_owners:
      return "two owners at a time";
    case Broken::ran_twice:
      return "ran more than once without a fault";
    case Broken::waits_for_ever:
      return "somebody waits for ever";
    case Broken::child_used_claim:
      return "a forked child used its parent's claim";
    case Broken::old_result_handed:
      return "an outdated result was handed over";
  }
  return "?";
}

/// What kind of store the world has.
struct StoreKind {
  bool leases = false;  ///< claims end by time, and are fenced; else owners' deaths are
                        ///< seen and lease_ends, reply_lost do not happen
};

struct Options {
  StoreKind store;
  engine::Wants wants;                         ///< of machines 1 and 2
  engine::Wants wants_of_first;                ///< of machine 0
  std::array<std::uint8_t, kFaults> faults{};  ///< how often each may happen
};

template <Rules kRules>
struct Machine {
  Call<kRules> call{engine::Wants{}};
  Do next = Do::look;
  std::uint8_t process = 0;
  bool present = false;
  bool done = false;
  bool attends = false;  ///< has attention in its process
  bool waits = false;    ///< is in `wait`, with `word` captured
  bool threw = false;
  bool frees_later = false;  ///< store_wakes_early: woke the others, is to free now
  bool handed = false;       ///< there is something for it
  std::uint8_t word = 0;     ///< the wake word as captured
  Basis handed_basis{};
  std::uint8_t clears_seen = 0;    ///< clears when its computation began
  std::uint8_t erases_seen = 0;    ///< erases, likewise
  std::uint8_t puts_seen = 0;      ///< puts, likewise
  std::uint8_t handed_clears = 0;  ///< of the result handed over
  std::uint8_t handed_erases = 0;
  std::uint8_t looked_clears = 0;  ///< clears when it last looked
  std::uint8_t looked_erases = 0;
  std::uint8_t looked_puts = 0;
  std::uint8_t unreadable = 0;  ///< version of the entry that it cannot read; 0: none
};

template <Rules kRules>
class World {
 public:
  explicit World(const Options& options) : kind_(options.store), left_(options.faults) {
    for (std::size_t i = 0; i < kMachines; ++i) {
      Machine<kRules>& machine = machines_[i];
      machine.call = Call<kRules>(i == 0 ? options.wants_of_first : options.wants);
      machine.next = machine.call.start();
      machine.present = true;
      machine.process = i < 2 ? 0 : 1;
    }
    // Who overwrites runs whatever the others do.
    faulty_ = options.wants.overwrite || options.wants_of_first.overwrite;
  }

  [[nodiscard]] Broken broken() const noexcept { return broken_; }

  /// Calls `visit(world)` with each world that is one step away.
  template <class Visit>
  void for_each_step(Visit&& visit) const {
    bool any = false;
    const auto step = [&](World world) {
      any = true;
      visit(world);
    };
    for (std::size_t i = 0; i < kSlots; ++i) {
      const Machine<kRules>& machine = machines_[i];
      if (machine.present && (!machine.done || machine.frees_later)) {
        step_machine(i, step);
      }
    }
    step_faults(step);
    if (!any && !all_done()) {
      World stuck = *this;
      stuck.broken_ = Broken::waits_for_ever;
      visit(stuck);
    }
  }

  /// Everything that tells this world from others, to `sink(integer)`.
  template <class Sink>
  void describe(Sink&& sink) const {
    for (const Machine<kRules>& m : machines_) {
      sink(m.present | m.done << 1 | m.attends << 2 | m.waits << 3 | m.threw << 4 |
           m.frees_later << 5 | m.handed << 6 | m.call.attending() << 7);
      if (!m.present || m.done) continue;
      const Change change = m.call.change();
      sink(static_cast<int>(m.next) | m.word << 8);
      sink(m.call.keeps_claim());
      sink(change.token.has_value() | change.basis.has_value() << 1 |
           change.epoch.has_value() << 2 | static_cast<int>(m.call.outcome()) << 3 |
           m.process << 5);
      sink(static_cast<int>(m.call.token().basis.epoch) |
           static_cast<int>(m.call.token().basis.version.words[0]) << 8 |
           static_cast<int>(m.call.token().serial) << 16);
      sink(static_cast<int>(m.handed_basis.epoch) |
           static_cast<int>(m.handed_basis.version.words[0]) << 8);
      sink(m.clears_seen | m.erases_seen << 8 | m.puts_seen << 16);
      sink(m.handed_clears | m.handed_erases << 8 | m.looked_clears << 16 |
           m.looked_erases << 24);
      sink(m.looked_puts | m.unreadable << 8);
    }
    sink(stored_ | stale_ << 1 | word_ << 8 | owner_ << 16);
    sink(epoch_ | version_ << 8 | serial_ << 16);
    sink(clears_ | erases_ << 8 | puts_ << 16 | runs_ << 24);
    sink(someone_died_ | faulty_ << 1 | freed_ << 2 | static_cast<int>(outcome_) << 3);
    for (const std::uint8_t left : left_) sink(left);
  }

 private:
  [[nodiscard]] bool all_done() const noexcept {
    for (const Machine<kRules>& machine : machines_) {
      if (machine.present && !machine.done) return false;
    }
    return true;
  }

  [[nodiscard]] bool may(Fault fault) const noexcept {
    return left_[static_cast<std::size_t>(fault)] > 0;
  }
  [[nodiscard]] std::uint8_t& left(Fault fault) noexcept {
    return left_[static_cast<std::size_t>(fault)];
  }
  void spend(Fault fault) noexcept {
    --left(fault);
    faulty_ = true;
  }
  void note(Broken broken) noexcept {
    if (broken_ == Broken::none) broken_ = broken;
  }

  // The store -------------------------------------------------------------------------

  Look look(std::size_t i) {
    Look look;
    look.token.basis = {epoch_, {{version_, 0, 0}}};
    if (stored_ && machines_[i].unreadable != version_) {
      look.entry.emplace();
      look.fresh = !stale_;
    }
    machines_[i].looked_clears = clears_;
    machines_[i].looked_erases = erases_;
    machines_[i].looked_puts = puts_;
    if (look.fresh || !machines_[i].call.wants_claim()) return look;
    if (outcome_ == Outcome::not_storable) {
      look.outcome = outcome_;
      return look;
    }
    if (owner_ != kNobody) {
      look.claim = Look::Claim::busy;
      return look;
    }
    for (const Machine<kRules>& other : machines_) {
      const bool owns_one = other.present && other.call.claimed() &&
                            (other.next == Do::compute || other.next == Do::put);
      if (owns_one && !freed_) note(Broken::two_owners);
    }
    owner_ = static_cast<std::uint8_t>(i);
    look.claim = Look::Claim::granted;
    look.token.serial = ++serial_;
    return look;
  }

  [[nodiscard]] bool owns(std::size_t i) const noexcept {
    return owner_ == i && machines_[i].call.token().serial == serial_;
  }

  /// Ends the claim of machine `i`, if it is still its own, and wakes those who wait.
  void end_claim(std::size_t i) {
    if (kRules.store_wakes_early) {
      ++word_;
      machines_[i].frees_later = true;
      return;
    }
    free_claim(i);
    ++word_;
  }
  void free_claim(std::size_t i) noexcept {
    if (owns(i)) owner_ = kNobody;
  }

  bool put(std::size_t i, bool empty = false) {
    const Machine<kRules>& machine = machines_[i];
    const Change change = machine.call.change();
    const Basis now{epoch_, {{version_, 0, 0}}};
    bool holds = true;
    bool only_later = false;
    if (change.token) {
      only_later = true;
      holds = kRules.store_ignores_epoch ? change.token->basis.version == now.version
                                         : change.token->basis == now;
      const bool given_on = serial_ != change.token->serial;
      if (kind_.leases && given_on && !kRules.store_ignores_owner) holds = false;
      if (holds && given_on && kind_.leases) note(Broken::late_owner_stored);
    } else if (change.basis) {
      only_later = true;
      holds = kRules.store_ignores_epoch ? change.basis->version == now.version
                                         : *change.basis == now;
    } else if (change.epoch) {
      holds = kRules.store_ignores_epoch || *change.epoch == epoch_;
    }
    if (holds) {
      const bool erased = only_later && machine.erases_seen != erases_;
      if (machine.clears_seen != clears_ || erased) {
        note(Broken::cleared_value_stored);
      }
      if (only_later && machine.puts_seen != puts_) note(Broken::newer_value_replaced);
      stored_ = !empty;
      stale_ = false;
      outcome_ = Outcome::none;
      ++version_;
      ++puts_;
    }
    if (change.token) {
      end_claim(i);
    } else if (holds) {
      ++word_;
    }
    return holds;
  }

  // The machines ----------------------------------------------------------------------

  void hand_over(std::size_t i) {
    const Machine<kRules>& owner = machines_[i];
    for (std::size_t j = 0; j < kMachines; ++j) {
      Machine<kRules>& other = machines_[j];
      if (j == i || !other.attends || other.process != owner.process) continue;
      other.handed = true;
      other.handed_basis = owner.call.token().basis;
      other.handed_clears = owner.clears_seen;
      other.handed_erases = owner.erases_seen;
    }
  }

  void go(Machine<kRules>& machine, Do next) {
    machine.next = next;
    machine.waits = false;
    switch (next) {
      case Do::compute:
        machine.attends = machine.handed = false;
        // What it may replace is what its last look saw.
        machine.clears_seen = machine.looked_clears;
        machine.erases_seen = machine.looked_erases;
        machine.puts_seen = machine.looked_puts;
        break;
      case Do::give_entry:
      case Do::give_stale:
      case Do::give_own:
      case Do::give_up:
      case Do::raise:
        machine.done = true;
        break;
      case Do::give_handed:
        if (machine.handed_clears != machine.looked_clears ||
            machine.handed_erases != machine.looked_erases) {
          note(Broken::old_result_handed);
        }
        machine.done = true;
        break;
      case Do::give_refresh: {
        // The caller is answered; what goes on is its refresh, with the claim.
        const Token token = machine.call.token();
        machine.call = Call<kRules>::of_refresh(token);
        go(machine, machine.call.start());
        break;
      }
      case Do::look:
      case Do::attend:
      case Do::wait:
      case Do::put:
      case Do::release:
        break;
    }
    if (machine.done) machine.attends = false;
  }

  void computed(std::size_t i, engine::Work::Ran how, bool in_child) {
    machines_[i].threw = how == engine::Work::Ran::threw;
    go(machines_[i], machines_[i].call.ran(how, in_child));
  }

  template <class Step>
  void step_machine(std::size_t i, Step&& step) const {
    const Machine<kRules>& machine = machines_[i];
    World world = *this;
    Machine<kRules>& mine = world.machines_[i];
    if (machine.frees_later) {
      world.free_claim(i);
      mine.frees_later = false;
      step(world);
      return;
    }
    if (i == kChild && (machine.next == Do::put || machine.next == Do::release)) {
      world.note(Broken::child_used_claim);
      step(world);
      return;
    }
    switch (machine.next) {
      case Do::look:
        step_look(i, step);
        return;
      case Do::attend:
        if (mine.handed) {
          mine.attends = mine.handed = false;
          world.go(mine, mine.call.handed(mine.handed_basis));
        } else {
          mine.attends = true;
          mine.word = word_;
          world.go(mine, mine.call.attended());
        }
        step(world);
        return;
      case Do::wait:
        step_wait(i, step);
        return;
      case Do::compute:
        step_compute(i, step);
        return;
      case Do::put:
        step_put(i, step);
        return;
      case Do::release:
        step_release(i, step);
        return;
      default:
        return;
    }
  }

  template <class Step>
  void step_look(std::size_t i, Step&& step) const {
    World world = *this;
    const Look look = world.look(i);
    if (kind_.leases && may(Fault::reply_lost)) {
      World lost = world;
      lost.spend(Fault::reply_lost);
      // A claim that was granted unheard stands until its lease ends.
      if (look.claim == Look::Claim::granted) ++lost.left(Fault::lease_ends);
      lost.go(lost.machines_[i], lost.machines_[i].call.look_failed(false));
      step(lost);
    }
    Machine<kRules>& mine = world.machines_[i];
    const Do next = mine.call.looked(look);
    const bool gives =
        next == Do::give_entry || next == Do::give_stale || next == Do::give_refresh;
    if (gives && may(Fault::unreadable)) {
      World blind = world;
      blind.spend(Fault::unreadable);
      Machine<kRules>& reader = blind.machines_[i];
      // The wait is over with the entry, whatever comes of it.
      reader.attends = reader.handed = false;
      reader.unreadable = version_;
      blind.go(reader, reader.call.unreadable());
      step(blind);
    }
    world.go(mine, next);
    step(world);
  }

  template <class Step>
  void step_wait(std::size_t i, Step&& step) const {
    const Machine<kRules>& machine = machines_[i];
    World world = *this;
    Machine<kRules>& mine = world.machines_[i];
    if (!machine.waits) {
      // Begins to sleep. Attending, the word was captured before the look.
      if (!machine.attends) mine.word = word_;
      mine.waits = true;
      step(world);
      return;
    }
    if (may(Fault::times_out)) {
      World late = *this;
      late.spend(Fault::times_out);
      late.go(late.machines_[i], late.machines_[i].call.timed_out());
      step(late);
    }
    if (mine.handed) {
      mine.attends = mine.handed = false;
      world.go(mine, mine.call.handed(mine.handed_basis));
      step(world);
      return;
    }
    // The slice ends the sleep of those whose owner died without a word.
    if (word_ != machine.word || someone_died_) {
      world.go(mine, mine.call.woke());
      step(world);
    }
  }

  template <class Step>
  void step_compute(std::size_t i, Step&& step) const {
    World world = *this;
    ++world.runs_;
    if (!faulty_ && !stale_ && world.runs_ > 1) world.note(Broken::ran_twice);
    if (may(Fault::throws)) {
      World thrown = world;
      thrown.spend(Fault::throws);
      thrown.computed(i, engine::Work::Ran::threw, false);
      step(thrown);
    }
    if (may(Fault::forks) && i != kChild) {
      World forked = world;
      forked.spend(Fault::forks);
      forked.machines_[kChild] = machines_[i];
      forked.machines_[kChild].process = 2;
      forked.computed(kChild, engine::Work::Ran::returned, true);
      forked.computed(i, engine::Work::Ran::returned, false);
      step(forked);
    }
    world.computed(i, engine::Work::Ran::returned, false);
    step(world);
  }

  template <class Step>
  void step_put(std::size_t i, Step&& step) const {
    const auto ended = [&](World world, Put how) {
      world.go(world.machines_[i], world.machines_[i].call.put_ended(how));
      step(world);
    };
    if (may(Fault::unstorable)) {
      World world = *this;
      world.spend(Fault::unstorable);
      ended(world, Put::unstorable);
    }
    if (may(Fault::put_fails)) {
      World world = *this;
      world.spend(Fault::put_fails);
      ended(world, Put::failed);
    }
    if (may(Fault::empty) && machines_[i].call.claimed()) {
      World world = *this;
      world.spend(Fault::empty);
      world.machines_[i].call.is_empty();
      world.hand_over(i);
      const bool stored = world.put(i, true);
      const Version version{{world.version_, 0, 0}};
      Machine<kRules>& mine = world.machines_[i];
      world.go(mine, mine.call.put_ended(stored ? Put::stored : Put::lost, version));
      step(world);
    }
    World world = *this;
    const bool stored = world.put(i);
    if (kind_.leases && may(Fault::reply_lost)) {
      World lost = world;
      lost.spend(Fault::reply_lost);
      ended(lost, Put::failed);
    }
    ended(world, stored ? Put::stored : Put::lost);
  }

  template <class Step>
  void step_release(std::size_t i, Step&& step) const {
    World world = *this;
    Machine<kRules>& mine = world.machines_[i];
    const Outcome outcome = mine.call.outcome();
    // An empty answer has been handed over before.
    if (outcome != Outcome::none && !mine.call.keeps_claim()) world.hand_over(i);
    if (outcome == Outcome::not_storable && world.owns(i)) world.outcome_ = outcome;
    world.end_claim(i);
    world.go(mine, mine.call.released());
    step(world);
  }

  // Faults from outside ---------------------------------------------------------------

  template <class Step>
  void step_faults(Step&& step) const {
    if (may(Fault::crash)) {
      for (std::uint8_t process = 0; process < 2; ++process) crash(process, step);
    }
    if (kind_.leases && owner_ != kNobody && may(Fault::lease_ends)) {
      World world = *this;
      world.spend(Fault::lease_ends);
      world.owner_ = kNobody;
      world.someone_died_ = world.freed_ = true;
      step(world);
    }
    if (may(Fault::clear)) {
      World world = *this;
      world.spend(Fault::clear);
      world.stored_ = false;
      world.outcome_ = Outcome::none;
      ++world.epoch_;
      ++world.clears_;
      step(world);
    }
    if (may(Fault::clear_claims)) {
      World world = *this;
      world.spend(Fault::clear_claims);
      world.owner_ = kNobody;
      world.freed_ = true;
      ++world.word_;
      step(world);
    }
    if (may(Fault::erase)) {
      World world = *this;
      world.spend(Fault::erase);
      world.stored_ = false;
      ++world.version_;
      ++world.erases_;
      step(world);
    }
    if (stored_ && !stale_ && may(Fault::ages)) {
      World world = *this;
      world.spend(Fault::ages);
      world.stale_ = true;
      step(world);
    }
  }

  template <class Step>
  void crash(std::uint8_t process, Step&& step) const {
    World world = *this;
    bool any = false;
    for (std::size_t i = 0; i < kMachines; ++i) {
      Machine<kRules>& machine = world.machines_[i];
      if (machine.process != process || !machine.present || machine.done) continue;
      any = true;
      machine.present = false;
      // Where deaths are not seen, the lease ends the claim, and no sooner.
      if (owner_ == i && !kind_.leases) world.owner_ = kNobody;
    }
    if (!any) return;
    if (kind_.leases && owner_ != kNobody && !world.machines_[owner_].present) {
      ++world.left(Fault::lease_ends);
    }
    world.spend(Fault::crash);
    world.someone_died_ = true;
    step(world);
  }

  std::array<Machine<kRules>, kSlots> machines_{};
  StoreKind kind_;
  std::array<std::uint8_t, kFaults> left_;

  bool stored_ = false;
  bool stale_ = false;
  std::uint8_t owner_ = kNobody;
  std::uint8_t epoch_ = 0;
  std::uint8_t version_ = 0;
  std::uint8_t serial_ = 0;
  std::uint8_t word_ = 0;
  Outcome outcome_ = Outcome::none;

  std::uint8_t clears_ = 0;
  std::uint8_t erases_ = 0;
  std::uint8_t puts_ = 0;
  std::uint8_t runs_ = 0;
  bool someone_died_ = false;
  bool faulty_ = false;
  bool freed_ = false;
  Broken broken_ = Broken::none;
};

}  // namespace cachier::model
