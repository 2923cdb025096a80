/// Preloaded into a process, records what it does to the files of one directory, in the
/// order in which it does it: what a power cut may leave of that is tried out by
/// `powercut.py`.
///
/// POWERCUT_DIRECTORY: the directory, without links; POWERCUT_LOG: the file to append
/// to. A record: operation (1 byte), lengths of path and data (8 bytes each), offset (8
/// bytes), path, data. What is written by way of a mapping is not seen.

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include <array>
#include <cstdarg>
#include <cstdint>
#include <cstdlib>
#include <mutex>
#include <string>
#include <string_view>

namespace {

enum class Operation : std::uint8_t {
  create = 'c',
  write = 'w',
  truncate = 't',
  sync = 's',
  rename = 'r',
  unlink = 'u',
};

template <class F>
F* real(const char* name) {
  return reinterpret_cast<F*>(::dlsym(RTLD_NEXT, name));
}

class Recorder {
 public:
  static Recorder& get() {
    static auto* const one = new Recorder;
    return *one;
  }

  /// Held around an operation and its record, so that their order is the same.
  std::recursive_mutex lock;

  void record(Operation operation, std::string_view path, std::uint64_t offset = 0,
              std::string_view data = {}) {
    if (log_ < 0 || !path.starts_with(directory_)) return;
    path.remove_prefix(directory_.size());
    std::string bytes(1, static_cast<char>(operation));
    for (const std::uint64_t number : {path.size(), data.size(), offset})
      bytes.append(reinterpret_cast<const char*>(&number), sizeof number);
    bytes.append(path).append(data);
    static const auto write_to = real<ssize_t(int, const void*, std::size_t)>("write");
    if (write_to(log_, bytes.data(), bytes.size()) !=
        static_cast<ssize_t>(bytes.size()))
      std::abort();
  }
  void record(Operation operation, int descriptor, std::uint64_t offset = 0,
              std::string_view data = {}) {
    record(operation, path_of(descriptor), offset, data);
  }

  static std::string path_of(int descriptor) {
    std::array<char, 4096> path{};
    const ssize_t size =
        ::readlink(("/proc/self/fd/" + std::to_string(descriptor)).c_str(), path.data(),
                   path.size());
    return size > 0 ? std::string(path.data(), static_cast<std::size_t>(size)) : "";
  }

 private:
  Recorder() {
    const char* const directory = std::getenv("POWERCUT_DIRECTORY");
    const char* const log = std::getenv("POWERCUT_LOG");
    if (directory == nullptr || log == nullptr) return;
    directory_ = std::string(directory) + "/";
    static const auto open_real = real<int(const char*, int, ...)>("open");
    log_ = open_real(log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
  }

  std::string directory_;
  int log_ = -1;
};

using Guard = std::lock_guard<std::recursive_mutex>;

int open_as(const char* name, const char* path, int flags, mode_t mode) {
  const auto next = real<int(const char*, int, ...)>(name);
  auto& recorder = Recorder::get();
  const Guard guard(recorder.lock);
  struct stat status {};
  const bool makes = (flags & O_CREAT) != 0 && ::stat(path, &status) != 0;
  const int descriptor = next(path, flags, mode);
  if (descriptor >= 0 && makes) recorder.record(Operation::create, descriptor);
  if (descriptor >= 0 && (flags & O_TRUNC) != 0)
    recorder.record(Operation::truncate, descriptor);
  return descriptor;
}

mode_t mode_of(int flags, std::va_list arguments) {
  return (flags & O_CREAT) != 0 ? va_arg(arguments, mode_t) : 0;
}

ssize_t pwrite_as(const char* name, int descriptor, const void* data, std::size_t size,
                  off_t offset) {
  const auto next = real<ssize_t(int, const void*, std::size_t, off_t)>(name);
  auto& recorder = Recorder::get();
  const Guard guard(recorder.lock);
  const ssize_t written = next(descriptor, data, size, offset);
  if (written > 0)
    recorder.record(
        Operation::write, descriptor, static_cast<std::uint64_t>(offset),
        {static_cast<const char*>(data), static_cast<std::size_t>(written)});
  return written;
}

int truncate_as(const char* name, int descriptor, off_t size) {
  const auto next = real<int(int, off_t)>(name);
  auto& recorder = Recorder::get();
  const Guard guard(recorder.lock);
  const int result = next(descriptor, size);
  if (result == 0)
    recorder.record(Operation::truncate, descriptor, static_cast<std::uint64_t>(size));
  return result;
}

int sync_as(const char* name, int descriptor) {
  const auto next = real<int(int)>(name);
  auto& recorder = Recorder::get();
  const Guard guard(recorder.lock);
  const int result = next(descriptor);
  if (result == 0) recorder.record(Operation::sync, descriptor);
  return result;
}

}  // namespace

extern "C" {

int open(const char* path, int flags, ...) {
  std::va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = mode_of(flags, arguments);
  va_end(arguments);
  return open_as("open", path, flags, mode);
}
int open64(const char* path, int flags, ...) {
  std::va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = mode_of(flags, arguments);
  va_end(arguments);
  return open_as("open64", path, flags, mode);
}
ssize_t pwrite(int descriptor, const void* data, std::size_t size, off_t offset) {
  return pwrite_as("pwrite", descriptor, data, size, offset);
}
ssize_t pwrite64(int descriptor, const void* data, std::size_t size, off_t offset) {
  return pwrite_as("pwrite64", descriptor, data, size, offset);
}
int ftruncate(int descriptor, off_t size) noexcept {
  return truncate_as("ftruncate", descriptor, size);
}
int ftruncate64(int descriptor, off_t size) noexcept {
  return truncate_as("ftruncate64", descriptor, size);
}
int posix_fallocate(int descriptor, off_t from, off_t size) {
  const auto next = real<int(int, off_t, off_t)>("posix_fallocate");
  auto& recorder = Recorder::get();
  const Guard guard(recorder.lock);
  const int result = next(descriptor, from, size);
  if (result == 0)
    recorder.record(Operation::truncate, descriptor,
                    static_cast<std::uint64_t>(from + size));
  return result;
}
int fsync(int descriptor) { return sync_as("fsync", descriptor); }
int fdatasync(int descriptor) { return sync_as("fdatasync", descriptor); }
int rename(const char* from, const char* to) noexcept {
  const auto next = real<int(const char*, const char*)>("rename");
  auto& recorder = Recorder::get();
  const Guard guard(recorder.lock);
  const int result = next(from, to);
  if (result == 0) recorder.record(Operation::rename, from, 0, to);
  return result;
}
int unlink(const char* path) noexcept {
  const auto next = real<int(const char*)>("unlink");
  auto& recorder = Recorder::get();
  const Guard guard(recorder.lock);
  const int result = next(path);
  if (result == 0) recorder.record(Operation::unlink, path);
  return result;
}
}
