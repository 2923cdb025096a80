#include "backends/local/pool.hpp"

#include <mutex>

namespace cachier::local {

Lease::~Lease() {
  if (connection_) pool_->take_back(std::move(connection_), discarded_);
}

Pool::Pool(std::string path, bool read_only, Guard& guard)
    : path_(std::move(path)), read_only_(read_only), guard_(guard) {
  idle_.reserve(kMost);
}

Result<Lease> Pool::lend(Deadline deadline) {
  for (;;) {
    std::uint32_t seen = 0;
    {
      const std::lock_guard hold(lock_);
      if (!hurry_.load(std::memory_order_relaxed)) {
        if (!idle_.empty()) {
          auto connection = std::move(idle_.back());
          idle_.pop_back();
          ++lent_;
          connection->set_deadline(deadline);
          return Lease(*this, std::move(connection));
        }
        if (lent_ < kMost) {
          ++lent_;
          break;
        }
      }
      seen = returned_.load();
      ++waiting_;
    }
    platform::futex_wait(returned_, seen, deadline, platform::Reach::process);
    const bool late = std::chrono::steady_clock::now() >= deadline;
    const std::lock_guard hold(lock_);
    --waiting_;
    // Not if one has come back just now, or has made room for a new one: the wake-up
    // for it may have been this one. While a fork waits nobody is lent any.
    const bool none = idle_.empty() && lent_ >= kMost;
    if (late && (none || hurry_.load(std::memory_order_relaxed)))
      return Error(ErrorCode::deadline_exceeded, "the cache's database was busy",
                   "all connections of this process were in use", "try again");
  }
  if (!guard_.enter_door(deadline)) {
    one_less();
    return Error(ErrorCode::deadline_exceeded, "the cache's database was busy",
                 "another process is replacing it", "try again");
  }
  auto opened = Connection::open(path_, read_only_, deadline);
  guard_.leave_door();
  if (!opened) {
    one_less();
    return opened.error();
  }
  return Lease(*this, std::move(*opened));
}

void Pool::take_back(std::unique_ptr<Connection> connection, bool discarded) noexcept {
  {
    const std::lock_guard hold(lock_);
    if (interruptible_ == connection->handle()) interruptible_ = nullptr;
    if (!discarded && !retired_) idle_.push_back(std::move(connection));
  }
  connection.reset();  // closed before it counts as returned
  one_less();
}

void Pool::one_less() noexcept {
  const std::lock_guard hold(lock_);
  --lent_;
  returned_.fetch_add(1);
  if (waiting_ > 0) platform::futex_wake_one(returned_, platform::Reach::process);
  if (hurry_.load(std::memory_order_relaxed))
    platform::futex_wake_all(returned_, platform::Reach::process);
}

void Pool::retire() noexcept {
  std::vector<std::unique_ptr<Connection>> closing;
  {
    const std::lock_guard hold(lock_);
    retired_ = true;
    closing.swap(idle_);
    ++lent_;
  }
  closing.clear();
  one_less();
}

void Pool::set_interruptible(sqlite3* connection) noexcept {
  const std::lock_guard hold(lock_);
  interruptible_ = connection;
  if (hurry_.load(std::memory_order_relaxed)) sqlite3_interrupt(connection);
}

void Pool::before_fork(Deadline deadline) noexcept {
  lock_.lock();
  hurry_.store(true);
  if (interruptible_ != nullptr) sqlite3_interrupt(interruptible_);
  while (lent_ > 0 && std::chrono::steady_clock::now() < deadline) {
    const std::uint32_t seen = returned_.load();
    lock_.unlock();
    platform::futex_wait(returned_, seen, deadline, platform::Reach::process);
    lock_.lock();
  }
  idle_.clear();
}

void Pool::after_fork_in_parent() noexcept {
  hurry_.store(false);
  returned_.fetch_add(1);
  lock_.unlock();
  platform::futex_wake_all(returned_, platform::Reach::process);
}

bool Pool::after_fork_in_child() noexcept {
  const bool whole = lent_ == 0;
  lent_ = 0;
  waiting_ = 0;
  interruptible_ = nullptr;
  hurry_.store(false);
  lock_.reset_in_child();
  return whole;
}

}  // namespace cachier::local
