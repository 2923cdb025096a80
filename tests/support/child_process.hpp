#pragma once

/// A forked child that a test talks to.

#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <gtest/gtest.h>

namespace cachier::test {

/// One end of a line between two processes: whole messages, in order.
class Channel {
 public:
  explicit Channel(int fd) noexcept : fd_(fd) {}
  Channel(Channel&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Channel& operator=(Channel&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Channel() { close(); }

  /// False: the other end is gone.
  bool send(std::string_view message) {
    const std::uint32_t size = static_cast<std::uint32_t>(message.size());
    std::string frame(reinterpret_cast<const char*>(&size), sizeof size);
    frame += message;
    std::string_view rest = frame;
    while (!rest.empty()) {
      const ssize_t sent = ::send(fd_, rest.data(), rest.size(), MSG_NOSIGNAL);
      if (sent < 0 && errno == EINTR) continue;
      if (sent <= 0) return false;
      rest.remove_prefix(static_cast<std::size_t>(sent));
    }
    return true;
  }

  /// The next message; none: the other end is gone.
  std::optional<std::string> receive() {
    std::uint32_t size = 0;
    if (!read_all(reinterpret_cast<char*>(&size), sizeof size)) return std::nullopt;
    std::string message(size, '\0');
    if (!read_all(message.data(), size)) return std::nullopt;
    return message;
  }

  void close() noexcept {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }

 private:
  bool read_all(char* to, std::size_t size) {
    while (size > 0) {
      const ssize_t got = ::read(fd_, to, size);
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) return false;
      to += got;
      size -= static_cast<std::size_t>(got);
    }
    return true;
  }

  int fd_;
};

/// Forks; `body` runs in the child with its end of the line and gives the exit status.
/// The child ends without running what the parent has registered for its own end, and
/// at the latest with the parent.
class ChildProcess {
 public:
  using Body = std::function<int(Channel&)>;

  explicit ChildProcess(const Body& body) : channel_(-1) {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
      ADD_FAILURE() << "no socket pair";
      return;
    }
    std::fflush(nullptr);
    pid_ = ::fork();
    if (pid_ < 0) ADD_FAILURE() << "no fork";
    if (pid_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      ::close(ends[0]);
      int status = 111;
      {
        Channel to_parent(ends[1]);
        try {
          status = body(to_parent);
        } catch (...) {
          status = 112;
        }
      }
      std::fflush(nullptr);
      ::_exit(::testing::Test::HasFailure() && status == 0 ? 113 : status);
    }
    ::close(ends[1]);
    channel_ = Channel(ends[0]);
  }
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;
  ~ChildProcess() {
    if (pid_ > 0) {
      kill();
      wait();
    }
  }

  [[nodiscard]] Channel& channel() noexcept { return channel_; }
  [[nodiscard]] pid_t pid() const noexcept { return pid_; }

  void kill(int signal = SIGKILL) noexcept {
    if (pid_ > 0) ::kill(pid_, signal);
  }

  /// Its exit status, or 128 and the signal that ended it. 111 to 113: it did not get
  /// to the end of its body, threw, or failed an expectation.
  int wait() noexcept {
    if (pid_ <= 0) return -1;
    int status = 0;
    while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

 private:
  pid_t pid_ = -1;
  Channel channel_;
};

}  // namespace cachier::test
