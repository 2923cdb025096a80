#include "platform/file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace cachier::platform {

std::string system_words(int error_number) {
  char buffer[256];
  // The GNU form gives the text, the POSIX one fills the buffer; take either.
  const auto text = [&](auto answer) -> std::string {
    if constexpr (std::is_same_v<decltype(answer), char*>) {
      return answer;
    } else {
      return answer == 0 ? buffer : "error " + std::to_string(error_number);
    }
  };
  return text(::strerror_r(error_number, buffer, sizeof buffer));
}

Error system_error(std::string what, int error_number) {
  ErrorCode code = ErrorCode::unavailable;
  std::string fix;
  switch (error_number) {
    case EACCES:
    case EPERM:
      code = ErrorCode::refused;
      fix = "give this user the permission, or set cache_dir to a directory of its own";
      break;
    case EROFS:
      code = ErrorCode::refused;
      fix = "set cache_dir to a directory on a file system that can be written";
      break;
    case ENOTDIR:
    case EEXIST:
    case ELOOP:
    case ENAMETOOLONG:
      code = ErrorCode::refused;
      fix = "set cache_dir to a directory";
      break;
    case ENOSPC:
    case EDQUOT:
      fix = "free some space there, or set cache_dir to another file system";
      break;
    case EMFILE:
    case ENFILE:
      fix = "raise the limit of open files (ulimit -n)";
      break;
    default:
      fix = "look at the file system of the cache directory";
  }
  return {code, std::move(what), system_words(error_number), std::move(fix)};
}

File File::open(const std::string& path, int flags) noexcept {
  int descriptor = -1;
  do {
    descriptor = ::open(path.c_str(), flags | O_CLOEXEC, S_IRUSR | S_IWUSR);
  } while (descriptor < 0 && errno == EINTR);
  return File(descriptor);
}

void File::close() noexcept {
  if (descriptor_ < 0) return;
  const int error_number = errno;
  ::close(std::exchange(descriptor_, -1));
  errno = error_number;
}

bool write_at(const File& file, Bytes bytes, std::uint64_t offset) noexcept {
  while (!bytes.empty()) {
    const ssize_t written = ::pwrite(file.descriptor(), bytes.data(), bytes.size(),
                                     static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) {
      if (written == 0) errno = ENOSPC;
      return false;
    }
    bytes = bytes.subspan(static_cast<std::size_t>(written));
    offset += static_cast<std::uint64_t>(written);
  }
  return true;
}

std::size_t read_at(const File& file, std::span<std::byte> to,
                    std::uint64_t offset) noexcept {
  std::size_t got = 0;
  while (got < to.size()) {
    const ssize_t read = ::pread(file.descriptor(), to.data() + got, to.size() - got,
                                 static_cast<off_t>(offset + got));
    if (read < 0 && errno == EINTR) continue;
    if (read < 0) return 0;
    if (read == 0) break;
    got += static_cast<std::size_t>(read);
  }
  errno = 0;
  return got;
}

FileMark mark_of(const File& file) noexcept {
  struct stat status {};
  if (!file || ::fstat(file.descriptor(), &status) != 0) return {};
  const auto ns = [](const timespec& time) {
    return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
  };
  return {{status.st_dev, status.st_ino},
          static_cast<std::uint64_t>(status.st_size),
          ns(status.st_mtim),
          ns(status.st_ctim)};
}

Identity identity_of(const std::string& path) noexcept {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return {};
  return {status.st_dev, status.st_ino};
}

Identity identity_of(const File& file) noexcept {
  struct stat status {};
  if (!file || ::fstat(file.descriptor(), &status) != 0) return {};
  return {status.st_dev, status.st_ino};
}

bool has_name(const File& file) noexcept {
  struct stat status {};
  return file && ::fstat(file.descriptor(), &status) == 0 && status.st_nlink > 0;
}

namespace {

bool set_lock(const File& file, std::uint64_t offset, short kind) noexcept {
  struct flock range {};
  range.l_type = kind;
  range.l_whence = SEEK_SET;
  range.l_start = static_cast<off_t>(offset);
  range.l_len = 1;
  int answer = -1;
  do {
    answer = ::fcntl(file.descriptor(), F_OFD_SETLK, &range);
  } while (answer < 0 && errno == EINTR);
  if (answer < 0 && errno == EACCES) errno = EAGAIN;
  return answer == 0;
}

}  // namespace

bool lock_byte(const File& file, std::uint64_t offset, ByteLock kind) noexcept {
  return set_lock(file, offset, kind == ByteLock::shared ? F_RDLCK : F_WRLCK);
}

void unlock_byte(const File& file, std::uint64_t offset) noexcept {
  (void)set_lock(file, offset, F_UNLCK);
}

namespace {

/// Makes the missing parents of `path`, for this user alone.
int make_with_parents(const std::string& path) {
  if (::mkdir(path.c_str(), S_IRWXU) == 0) return 0;
  if (errno != ENOENT) return errno;
  const auto slash = path.find_last_not_of('/');
  const auto cut = slash == std::string::npos ? slash : path.rfind('/', slash);
  if (cut == std::string::npos || cut == 0) return ENOENT;
  const int error_number = make_with_parents(path.substr(0, cut));
  if (error_number != 0 && error_number != EEXIST) return error_number;
  return ::mkdir(path.c_str(), S_IRWXU) == 0 ? 0 : errno;
}

}  // namespace

Result<Identity> make_private_directory(const std::string& path, Group group) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) {
    if (errno != ENOENT)
      return system_error("cannot use the cache directory '" + path + "'", errno);
    const int error_number = make_with_parents(path);
    if (error_number != 0 && error_number != EEXIST)
      return system_error("cannot make the cache directory '" + path + "'",
                          error_number);
    if (::stat(path.c_str(), &status) != 0)
      return system_error("cannot use the cache directory '" + path + "'", errno);
  }
  if (!S_ISDIR(status.st_mode))
    return system_error("cannot use the cache directory '" + path + "'", ENOTDIR);
  if (status.st_uid != ::geteuid())
    return Error(ErrorCode::refused, "cannot use the cache directory '" + path + "'",
                 "it belongs to user " + std::to_string(status.st_uid) +
                     ", and this process runs as user " + std::to_string(::geteuid()),
                 "set cache_dir to a directory of this user");
  const mode_t unwanted = group == Group::may_write ? S_IWOTH : S_IWGRP | S_IWOTH;
  if ((status.st_mode & unwanted) != 0)
    return Error(ErrorCode::refused, "cannot use the cache directory '" + path + "'",
                 "other users may write to it, and reading a cache can run what was "
                 "written there",
                 "chmod go-w '" + path + "', or set cache_dir to another directory");
  return Identity{status.st_dev, status.st_ino};
}

}  // namespace cachier::platform
