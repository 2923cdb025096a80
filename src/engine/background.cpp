/// The engine's own threads, for refreshes of doors that bring none.

#include <cachier/engine.hpp>
#include <cachier/options.hpp>

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "engine/renewal.hpp"
#include "platform/fork.hpp"

namespace cachier {
namespace engine {
namespace {

/// Never destroyed: jobs may be handed in while static objects are being torn down.
class Pool {
 public:
  static Pool& of_process() noexcept {
    static Pool* const pool = new Pool;
    return *pool;
  }

  bool add(std::unique_ptr<Job> job) {
    const std::lock_guard lock(mutex_);
    if (closed_) return false;
    if (idle_ <= jobs_.size() && threads_.size() < kMost) {
      try {
        threads_.emplace_back([this] { work(); });
      } catch (const std::system_error&) {
        // As long as there is one thread, the job's turn will come.
        if (threads_.empty()) return false;
      }
    }
    jobs_.push_back(std::move(job));
    wake_.notify_one();
    return true;
  }

  void close() {
    std::vector<std::thread> threads;
    {
      const std::lock_guard lock(mutex_);
      closed_ = true;
      threads.swap(threads_);
    }
    wake_.notify_all();
    for (std::thread& thread : threads) thread.join();
  }

 private:
  static constexpr std::size_t kMost = 8;

  Pool() {
    platform::at_fork({
        .before = [this] { mutex_.lock(); },
        .in_parent = [this] { mutex_.unlock(); },
        .in_child = [this] { begin_anew(); },
    });
  }

  // The threads did not come along, and the jobs are the parent's to do: what they hold
  // is left alone, as destroying it could give back what the parent still owns.
  void begin_anew() {
    for (std::thread& thread : threads_) (void)new std::thread(std::move(thread));
    threads_.clear();
    for (std::unique_ptr<Job>& job : jobs_) (void)job.release();
    jobs_.clear();
    idle_ = 0;
    new (&wake_) std::condition_variable;
    mutex_.unlock();
  }

  void work() {
    std::unique_lock lock(mutex_);
    for (;;) {
      ++idle_;
      wake_.wait(lock, [this] { return closed_ || !jobs_.empty(); });
      --idle_;
      if (jobs_.empty()) return;
      std::unique_ptr<Job> job = std::move(jobs_.front());
      jobs_.pop_front();
      lock.unlock();
      job->run();
      job = nullptr;
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::unique_ptr<Job>> jobs_;
  std::vector<std::thread> threads_;
  std::size_t idle_ = 0;
  bool closed_ = false;
};

[[maybe_unused]] const Pool& made_at_load = Pool::of_process();

}  // namespace

bool run_in_background(std::unique_ptr<Job> job) noexcept {
  return Pool::of_process().add(std::move(job));
}

}  // namespace engine

void shutdown() noexcept {
  engine::Pool::of_process().close();
  engine::end_renewals();  // they were renewed until now
}

}  // namespace cachier
