#include "backends/files/disk.hpp"

#include "platform/random.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <limits>
#include <new>

namespace cachier::files {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::int64_t kGarbageAfter = 3'600;  // s
constexpr std::size_t kAlignment = 64;

std::int64_t nanoseconds(const timespec& time) noexcept {
  return std::int64_t{time.tv_sec} * kSecond + time.tv_nsec;
}

void append_hexadecimal(std::string& to, std::uint64_t number) {
  std::array<char, 16> text;
  for (char& digit : text) {
    digit = "0123456789abcdef"[number >> 60];
    number <<= 4;
  }
  to.append(text.data(), text.size());
}

std::string hexadecimal(std::uint64_t number) {
  std::string text;
  append_hexadecimal(text, number);
  return text;
}

constexpr std::size_t kShownFunction = 80;

void append_folder(std::string& to, const Function& function) {
  const std::string& id = function.id();
  for (std::size_t at = 0; at < std::min(id.size(), kShownFunction); ++at) {
    const char c = id[at];
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                       (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_';
    to += plain ? c : '_';
  }
  to += '-';
  append_hexadecimal(to, function.seed());
}

std::optional<std::uint64_t> from_hexadecimal(std::string_view text) noexcept {
  std::uint64_t number = 0;
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), number, 16);
  if (text.size() != 16 || error != std::errc() || end != text.data() + text.size() ||
      std::any_of(text.begin(), text.end(),
                  [](char c) { return c >= 'A' && c <= 'F'; }))
    return std::nullopt;
  return number;
}

/// Again where a signal came, and some times where the file server says that what it
/// was asked for is another by now.
template <class Call>
auto persist(const Call& call) noexcept {
  int stale = 0;
  for (;;) {
    const auto answer = call();
    if (answer >= 0) return answer;
    if (errno == EINTR || (errno == ESTALE && ++stale < 4)) continue;
    if (errno == ESTALE) errno = ENOENT;
    return answer;
  }
}

int open_at(int directory, const char* name, int flags) noexcept {
  return persist([&] {
    return ::openat(directory, name, flags | O_CLOEXEC | O_NOFOLLOW, S_IRUSR | S_IWUSR);
  });
}

/// From this size on the head of an entry is looked at before the rest is read: holes
/// make a file as long as one likes.
constexpr std::size_t kDoubted = std::size_t{1} << 20;

/// Whether what the descriptor reads, of so many bytes, begins like an entry as long.
bool is_as_long_as_it_says(int descriptor, std::uint64_t size) {
  std::vector<std::byte> beginning(kLongestHead);
  const auto got = persist(
      [&] { return ::pread(descriptor, beginning.data(), beginning.size(), 0); });
  // Whoever reads on is told of what fails here.
  if (got < 0) return true;
  return read_head(Bytes(beginning).first(static_cast<std::size_t>(got)), size)
      .has_value();
}

Loaded load_at(int directory, const char* name, std::uint64_t most,
               bool is_entry = false) {
  Loaded loaded;
  // Without O_NONBLOCK a FIFO would hold us up.
  const platform::File file(open_at(directory, name, O_RDONLY | O_NONBLOCK));
  struct stat status {};
  if (!file) {
    // A link, or what may not be read: as good as damaged.
    const int error_number = errno;
    if ((error_number == ELOOP || error_number == EACCES || error_number == ENXIO) &&
        ::fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW) == 0) {
      loaded.stamp = stamp_of(status);
    }
    errno = error_number;
    return loaded;
  }
  if (::fstat(file.descriptor(), &status) != 0) return loaded;
  loaded.stamp = stamp_of(status);
  loaded.ours = S_ISREG(status.st_mode) && status.st_uid == ::geteuid() &&
                (status.st_mode & (S_IWGRP | S_IWOTH)) == 0;
  if (!loaded.ours) return loaded;
  if (is_entry && loaded.stamp.size > kDoubted &&
      !is_as_long_as_it_says(file.descriptor(), loaded.stamp.size))
    most = kLongestHead;
  const auto size = static_cast<std::size_t>(std::min(loaded.stamp.size, most));
  auto bytes = std::make_shared_for_overwrite<std::byte[]>(size + kAlignment);
  void* start = bytes.get();
  std::size_t space = size + kAlignment;
  auto* const to = static_cast<std::byte*>(std::align(kAlignment, size, start, space));
  std::size_t done = 0;
  while (done < size) {
    const auto got = persist([&] {
      return ::pread(file.descriptor(), to + done, size - done,
                     static_cast<off_t>(done));
    });
    if (got < 0) {
      loaded.stamp = {};
      if (errno == ENOENT) errno = EIO;
      return loaded;
    }
    if (got == 0) break;  // shortened meanwhile
    done += static_cast<std::size_t>(got);
  }
  loaded.bytes = {to, done};
  loaded.whole = done == loaded.stamp.size;
  loaded.owner = std::move(bytes);
  return loaded;
}

int write_all(int descriptor, Bytes first, Bytes second) noexcept {
  while (!first.empty() || !second.empty()) {
    const auto part = [](Bytes bytes) {
      // Written from, whatever the type of the system's says.
      return iovec{const_cast<std::byte*>(bytes.data()), bytes.size()};
    };
    const std::array<iovec, 2> parts{part(first), part(second)};
    const auto answer = persist([&] { return ::writev(descriptor, parts.data(), 2); });
    if (answer < 0) return errno;
    const auto written = static_cast<std::size_t>(answer);
    const std::size_t of_first = std::min(written, first.size());
    first = first.subspan(of_first);
    second = second.subspan(written - of_first);
  }
  return 0;
}

int make_directory(const std::string& path) noexcept {
  return ::mkdir(path.c_str(), S_IRWXU) == 0 || errno == EEXIST ? 0 : errno;
}

bool is_late(Deadline deadline) noexcept {
  return std::chrono::steady_clock::now() >= deadline;
}

Error cannot(const char* what, const std::string& path, int error_number) {
  return platform::system_error(std::string("cannot ") + what + " '" + path + "'",
                                error_number);
}

}  // namespace

Stamp stamp_of(const struct stat& status) noexcept {
  return {status.st_dev, status.st_ino, static_cast<std::uint64_t>(status.st_size),
          nanoseconds(status.st_mtim), nanoseconds(status.st_ctim)};
}

Version version_of(const Stamp& stamp) noexcept {
  return Version{{std::rotl(stamp.device, 48) ^ std::rotl(stamp.size, 24) ^ stamp.inode,
                  static_cast<std::uint64_t>(stamp.modified),
                  static_cast<std::uint64_t>(stamp.changed) | 1}};
}

// ---- directories

Directory Directory::open(const std::string& path) noexcept {
  Directory directory;
  directory.file_ =
      platform::File(open_at(AT_FDCWD, path.c_str(), O_RDONLY | O_DIRECTORY));
  return directory;
}

std::vector<std::string> Directory::names() const {
  std::vector<std::string> names;
  // Its own descriptor, as reading moves a position.
  const int descriptor = open_at(file_.descriptor(), ".", O_RDONLY | O_DIRECTORY);
  DIR* const stream = descriptor >= 0 ? ::fdopendir(descriptor) : nullptr;
  if (stream == nullptr) {
    if (descriptor >= 0) ::close(descriptor);
    return names;
  }
  const std::unique_ptr<DIR, int (*)(DIR*)> close(stream, ::closedir);
  errno = 0;
  while (const dirent* const one = ::readdir(stream)) {
    const std::string_view name = one->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
    errno = 0;
  }
  return names;
}

Loaded Directory::load(const std::string& name, std::uint64_t most) const {
  return load_at(file_.descriptor(), name.c_str(), most);
}

Found Directory::find(const std::string& name, const Id& id) const {
  Found found;
  const std::string& function = id.function->id();
  const auto loaded = load(name, head_size(function.size()));
  found.stamp = loaded.stamp;
  if (!found.stamp) return found;
  const auto head = read_head(loaded.bytes, loaded.stamp.size);
  if (!head || head->function != function || head->digest != id.digest) {
    found.version = version_of(found.stamp);
    return found;
  }
  found.head = *head;
  found.head->function = {};
  found.version = Version{{head->version, 0, 0}};
  return found;
}

int Directory::remove(const std::string& name) const noexcept {
  return ::unlinkat(file_.descriptor(), name.c_str(), 0) == 0 ? 0 : errno;
}

// ---- names

std::string Disk::folder_of(const Function& function) {
  std::string name;
  append_folder(name, function);
  return name;
}

std::string Disk::entry(const Id& id) const {
  std::string path;
  path.reserve(folder_.size() + kShownFunction + 64);
  path += folder_;
  path += "/f/";
  append_folder(path, *id.function);
  path += "/e/";
  append_hexadecimal(path, id.digest.high);
  append_hexadecimal(path, id.digest.low);
  return path;
}

std::string Disk::name_of(const Digest& digest) {
  return hexadecimal(digest.high) + hexadecimal(digest.low);
}

std::optional<Digest> Disk::digest_of(std::string_view name) noexcept {
  if (name.size() != 32) return std::nullopt;
  const auto high = from_hexadecimal(name.substr(0, 16));
  const auto low = from_hexadecimal(name.substr(16));
  if (!high || !low) return std::nullopt;
  return Digest{*high, *low};
}

// ---- the folder

Disk::Disk(std::string directory, bool remote)
    : directory_(std::move(directory)),
      folder_(directory_ + "/" + kFolder),
      remote_(remote) {}

std::optional<Error> Disk::make() const {
  if (auto ours =
          platform::make_private_directory(directory_, platform::Group::may_write);
      !ours)
    return ours.error();
  if (auto ours = platform::make_private_directory(folder_); !ours) return ours.error();
  for (const char* part : {"f", "aside", "trash"}) {
    if (const int error_number = make_directory(path(part)); error_number != 0)
      return cannot("make", path(part), error_number);
  }
  return std::nullopt;
}

Result<bool> Disk::is_there() const {
  struct stat status {};
  if (::lstat(folder_.c_str(), &status) != 0) {
    if (errno == ENOENT) return false;
    return cannot("look into", folder_, errno);
  }
  // They are there, so this only checks whose they are.
  if (auto ours =
          platform::make_private_directory(directory_, platform::Group::may_write);
      !ours)
    return ours.error();
  if (auto ours = platform::make_private_directory(folder_); !ours) return ours.error();
  return true;
}

int Disk::make_function(const Function& function) const {
  const std::string folder = this->function(function);
  int error_number = make_directory(functions());
  if (error_number == 0) error_number = make_directory(folder);
  if (error_number == 0) error_number = make_directory(folder + "/e");
  return error_number;
}

Stamp Disk::stamp_at(const std::string& path) const noexcept {
  struct stat status {};
  if (!remote_) return ::lstat(path.c_str(), &status) == 0 ? stamp_of(status) : Stamp{};
  const platform::File file(open_at(AT_FDCWD, path.c_str(), O_RDONLY | O_NONBLOCK));
  return file && ::fstat(file.descriptor(), &status) == 0 ? stamp_of(status) : Stamp{};
}

Loaded Disk::load(const std::string& path, std::uint64_t most) const {
  return load_at(AT_FDCWD, path.c_str(), most);
}

Loaded Disk::load_entry(const std::string& path) const {
  return load_at(AT_FDCWD, path.c_str(), std::numeric_limits<std::uint64_t>::max(),
                 true);
}

bool Disk::is_at(const Directory& directory, const std::string& path) {
  struct stat open {};
  struct stat named {};
  return ::fstat(directory.descriptor(), &open) == 0 &&
         ::lstat(path.c_str(), &named) == 0 && open.st_dev == named.st_dev &&
         open.st_ino == named.st_ino;
}

// ---- writing

Disk::Aside::~Aside() {
  if (!path_.empty() && !moved_) ::unlink(path_.c_str());
}

int Disk::Aside::move_to(const Directory& directory, const std::string& name) noexcept {
  if (::renameat(AT_FDCWD, path_.c_str(), directory.descriptor(), name.c_str()) != 0)
    return errno;
  moved_ = true;
  return 0;
}

int Disk::Aside::move_to(const std::string& path) noexcept {
  if (::rename(path_.c_str(), path.c_str()) != 0) return errno;
  moved_ = true;
  return 0;
}

Result<std::pair<platform::File, Disk::Aside>> Disk::make_aside() const {
  const std::string path =
      folder_ + "/aside/" + hexadecimal(platform::random_bits()) + ".new";
  constexpr int kFlags = O_WRONLY | O_CREAT | O_EXCL;
  platform::File file(open_at(AT_FDCWD, path.c_str(), kFlags));
  if (!file && errno == ENOENT) {
    if (auto error = make()) return *error;
    file = platform::File(open_at(AT_FDCWD, path.c_str(), kFlags));
  }
  if (!file) return cannot("make", path, errno);
  return std::pair(std::move(file), Aside(path));
}

Result<Disk::Aside> Disk::write_aside(Bytes first, Bytes second) const {
  auto made = make_aside();
  if (!made) return made.error();
  auto& [file, aside] = *made;
  int error_number = write_all(file.descriptor(), first, second);
  struct stat status {};
  if (error_number == 0 && ::fstat(file.descriptor(), &status) != 0)
    error_number = errno;
  if (error_number == 0) {
    // See "Identity of a file".
    const auto random = static_cast<long>(platform::random_bits() % kSecond);
    const std::array<timespec, 2> times{timespec{0, UTIME_OMIT},
                                        timespec{status.st_mtim.tv_sec, random}};
    if (::futimens(file.descriptor(), times.data()) != 0) error_number = errno;
  }
  // A file server may keep its answer until a descriptor is closed.
  if (error_number == 0 && remote_) {
    const int descriptor = ::dup(file.descriptor());
    if (descriptor >= 0 && ::close(descriptor) != 0 && errno != EINTR)
      error_number = errno;
  }
  if (error_number != 0) return cannot("write", aside.path_, error_number);
  aside.now_ = status.st_mtim.tv_sec;
  return std::move(aside);
}

Result<Disk::Aside> Disk::make_mark(std::uint64_t size, Time time) const {
  auto made = make_aside();
  if (!made) return made.error();
  auto& [file, aside] = *made;
  const auto since = time.time_since_epoch().count();
  timespec changed{};
  changed.tv_sec = static_cast<time_t>(since / kSecond);
  changed.tv_nsec = static_cast<long>(since % kSecond);
  const std::array<timespec, 2> times{timespec{0, UTIME_OMIT}, changed};
  if (::ftruncate(file.descriptor(), static_cast<off_t>(size)) != 0 ||
      ::futimens(file.descriptor(), times.data()) != 0)
    return cannot("write", aside.path_, errno);
  return std::move(aside);
}

// ---- deleting

Result<std::string> Disk::throw_away(const std::string& path, std::int64_t now) const {
  const std::string to = folder_ + "/trash/" +
                         hexadecimal(static_cast<std::uint64_t>(now)) + "-" +
                         hexadecimal(platform::random_bits());
  if (::rename(path.c_str(), to.c_str()) == 0) return to;
  const int error_number = errno;
  if (::access(path.c_str(), F_OK) != 0 && errno == ENOENT) return std::string();
  if (error_number == ENOENT && make_directory(folder_ + "/trash") == 0 &&
      ::rename(path.c_str(), to.c_str()) == 0)
    return to;
  return cannot("clear", path, error_number);
}

std::optional<std::uint64_t> Disk::delete_tree(const std::string& path,
                                               Deadline deadline) const {
  std::uint64_t entries = 0;
  // Somebody who began before it was thrown away may still add to it.
  for (;;) {
    const auto directory = Directory::open(path);
    if (!directory) return entries;
    for (const std::string& name : directory.names()) {
      if (is_late(deadline)) return std::nullopt;
      bool is_entry = false;
      if (digest_of(name)) {
        const auto loaded = directory.load(name, head_size(0));
        is_entry = begins_like_an_entry(loaded.bytes);
      }
      const int error_number = directory.remove(name);
      if (error_number == 0 && is_entry) ++entries;
      if (error_number == EISDIR || error_number == EPERM) {
        std::string below = path;
        below.append("/").append(name);
        const auto within = delete_tree(below, deadline);
        if (!within) return std::nullopt;
        entries += *within;
      }
    }
    if (::rmdir(path.c_str()) == 0 || errno != ENOTEMPTY) return entries;
    if (is_late(deadline)) return std::nullopt;
  }
}

std::vector<std::string> Disk::unfinished(Time now) const {
  std::vector<std::string> paths;
  const auto aside = Directory::open(path("aside"));
  if (!aside) return paths;
  const std::int64_t seconds = now.time_since_epoch().count() / kSecond;
  for (const std::string& name : aside.names()) {
    struct stat status {};
    if (::fstatat(aside.descriptor(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) ==
            0 &&
        seconds - status.st_mtim.tv_sec > kGarbageAfter)
      paths.push_back(path("aside/" + name));
  }
  return paths;
}

void Disk::tidy(std::int64_t now, Deadline deadline) const {
  if (const auto aside = Directory::open(path("aside"))) {
    for (const std::string& name : aside.names()) {
      if (is_late(deadline)) return;
      struct stat status {};
      if (::fstatat(aside.descriptor(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) ==
              0 &&
          now - status.st_mtim.tv_sec > kGarbageAfter)
        aside.remove(name);
    }
  }
  if (const auto trash = Directory::open(path("trash"))) {
    for (const std::string& name : trash.names()) {
      const auto since = from_hexadecimal(std::string_view(name).substr(0, 16));
      if (since && now - static_cast<std::int64_t>(*since) > kGarbageAfter)
        (void)delete_tree(path("trash/" + name), deadline);
      if (is_late(deadline)) return;
    }
  }
}

}  // namespace cachier::files
