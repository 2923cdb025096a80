#include "backends/local/value_files.hpp"

#include <cachier/envelope.hpp>

#include "platform/mapping.hpp"
#include "platform/random.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <new>
#include <string_view>

namespace cachier::local {
namespace {

/// From this size on a pickle is mapped: below, reading it costs less.
constexpr std::uint64_t kMappedFrom = std::uint64_t{1} << 20;
/// More than an envelope has before its value.
constexpr std::size_t kBeginning = 2'048;
/// After how long nobody is taken to be still writing a file.
constexpr Duration kAbandonedAfter = std::chrono::hours(1);

/// Without O_NONBLOCK a FIFO would hold us up.
constexpr int kToRead = O_RDONLY | O_NOFOLLOW | O_NONBLOCK;

constexpr std::string_view kUnfinished = ".new";

std::string hex(std::uint64_t number, int digits) {
  std::array<char, 17> text{};
  std::snprintf(text.data(), text.size(), "%0*llx", digits,
                static_cast<unsigned long long>(number));
  return text.data();
}

bool parse_hex(std::string_view text, std::uint64_t& number) noexcept {
  const char* const end = text.data() + text.size();
  const auto [at, error] = std::from_chars(text.data(), end, number, 16);
  return error == std::errc() && at == end;
}

/// A mapped value file.
class MappedFile final : public FileBytes {
 public:
  MappedFile(platform::File file, const platform::FileMark& mark,
             platform::Mapping mapping) noexcept
      : file_(std::move(file)), mark_(mark), mapping_(std::move(mapping)) {}

  Bytes bytes() const noexcept override { return {mapping_.start(), mapping_.size()}; }

  bool is_unchanged() const noexcept override {
    return platform::mark_of(file_) == mark_;
  }

  std::shared_ptr<std::byte> private_copy() const noexcept override {
    try {
      auto copy = std::make_shared<platform::Mapping>(
          platform::Mapping::private_copy(file_, mapping_.size()));
      if (!*copy) return nullptr;
      std::byte* const start = copy->start();
      return {std::move(copy), start};
    } catch (const std::bad_alloc&) {
      return nullptr;
    }
  }

 private:
  const platform::File file_;
  const platform::FileMark mark_;
  const platform::Mapping mapping_;
};

/// Calls `visit` with the name of everything in the directory.
template <class Visit>
void for_each_name(const std::string& directory, const Visit& visit) {
  DIR* const opened = ::opendir(directory.c_str());
  if (opened == nullptr) return;
  while (const dirent* const one = ::readdir(opened)) visit(one->d_name);
  ::closedir(opened);
}

/// Memory that begins where a mapping could.
std::shared_ptr<std::byte> aligned_memory(std::size_t size) {
  static constexpr std::align_val_t kAlignment{envelope::kAlignment};
  return {static_cast<std::byte*>(::operator new(size, kAlignment)),
          [](std::byte* memory) { ::operator delete(memory, kAlignment); }};
}

/// The first bytes of a file, `most` of them.
ValueFiles::Opened beginning_of(const platform::File& file, std::size_t most) {
  ValueFiles::Opened opened;
  auto memory = aligned_memory(most);
  opened.envelope = {memory.get(), platform::read_at(file, {memory.get(), most}, 0)};
  opened.owner = std::move(memory);
  return opened;
}

/// Whether that is the answer of what is there instead of a file: nothing, a link, a
/// socket, a directory.
bool is_no_file(int error_number) noexcept {
  return error_number == ENOENT || error_number == ELOOP || error_number == ENXIO ||
         error_number == EISDIR;
}

Error cannot_read(const std::string& path, int error_number) {
  return platform::system_error("cannot read '" + path + "'", error_number);
}

}  // namespace

ValueFiles::Made::~Made() {
  if (!path_.empty()) ::unlink(path_.c_str());
}

std::optional<Error> ValueFiles::Made::publish(Bytes head, const ValueFile& which) {
  const std::string path = files_->path_of(which);
  if (!platform::write_at(file_, head, 0))
    return platform::system_error("cannot write '" + path_ + "'", errno);
  if (::rename(path_.c_str(), path.c_str()) != 0) {
    if (errno != ENOENT ||
        (::mkdir(files_->directory_of(static_cast<unsigned>(which.row) % kDirectories)
                     .c_str(),
                 S_IRWXU) != 0 &&
         errno != EEXIST) ||
        ::rename(path_.c_str(), path.c_str()) != 0)
      return platform::system_error("cannot make '" + path + "'", errno);
  }
  path_ = path;
  return std::nullopt;
}

Result<ValueFiles::Made> ValueFiles::make(Bytes head, Bytes content) const {
  std::string path = folder_ + "/" + hex(platform::random_bits(), 16);
  path += kUnfinished;
  auto file = platform::File::open(path, O_WRONLY | O_CREAT | O_EXCL);
  if (!file && errno == ENOENT) {
    if (::mkdir(folder_.c_str(), S_IRWXU) != 0 && errno != EEXIST)
      return platform::system_error("cannot make '" + folder_ + "'", errno);
    file = platform::File::open(path, O_WRONLY | O_CREAT | O_EXCL);
  }
  if (!file) return platform::system_error("cannot make '" + path + "'", errno);
  Made made(*this, std::move(path), std::move(file));
  if (!platform::write_at(made.file_, head, 0) ||
      !platform::write_at(made.file_, content, head.size()))
    return platform::system_error("cannot write '" + made.path_ + "'", errno);
  return made;
}

std::optional<Error> ValueFiles::adopt(const std::string& path,
                                       const ValueFile& which) const {
  const std::string name = path_of(which);
  ::unlink(name.c_str());  // of somebody who died here
  if (::link(path.c_str(), name.c_str()) == 0) return std::nullopt;
  const std::string directory =
      directory_of(static_cast<unsigned>(which.row) % kDirectories);
  for (const std::string& one : {folder_, directory}) {
    if (::mkdir(one.c_str(), S_IRWXU) != 0 && errno != EEXIST)
      return platform::system_error("cannot make '" + one + "'", errno);
  }
  if (::link(path.c_str(), name.c_str()) == 0) return std::nullopt;
  return platform::system_error("cannot make '" + name + "'", errno);
}

Result<std::optional<ValueFiles::Opened>> ValueFiles::open(
    const ValueFile& which) const {
  const std::string path = path_of(which);
  auto file = platform::File::open(path, kToRead);
  if (!file && is_no_file(errno)) return std::optional<Opened>();
  if (!file) return cannot_read(path, errno);
  const auto mark = platform::mark_of(file);
  if (!mark.identity) return cannot_read(path, errno);
  const std::size_t size = mark.size;
  Opened opened;
  if (size >= kMappedFrom) {
    // Holes make a file as long as one likes: where its beginning is damaged, all that
    // its size promises is not read.
    auto parts = envelope::inspect(beginning_of(file, kBeginning).envelope, size);
    if (!parts && parts.error() == ErrorCode::corrupt) {
      auto beginning = beginning_of(file, kMappedFrom);  // it may have a long key
      if (beginning.envelope.empty() && errno != 0) return cannot_read(path, errno);
      parts = envelope::inspect(beginning.envelope, size);
      if (!parts && parts.error() == ErrorCode::corrupt)
        return std::optional<Opened>(std::move(beginning));
    }
    const bool mapped = parts && parts->codec == Codec::pickle;
    if (auto mapping =
            mapped ? platform::Mapping::to_read(file, size) : platform::Mapping()) {
      auto bytes =
          std::make_shared<const MappedFile>(std::move(file), mark, std::move(mapping));
      opened.envelope = bytes->bytes();
      opened.owner = bytes;
      opened.file = std::move(bytes);
      return std::optional<Opened>(std::move(opened));
    }
  }
  auto memory = aligned_memory(size);
  const std::size_t got = platform::read_at(file, {memory.get(), size}, 0);
  if (got == 0 && is_no_file(errno)) return std::optional<Opened>();
  if (got == 0 && errno != 0) return cannot_read(path, errno);
  opened.envelope = {memory.get(), got};
  opened.owner = std::move(memory);
  return std::optional<Opened>(std::move(opened));
}

ValueFiles::Beginning ValueFiles::beginning(const ValueFile& which) const {
  Beginning beginning;
  const auto file = platform::File::open(path_of(which), kToRead);
  if (!file) return beginning;
  beginning.bytes.resize(kBeginning);
  beginning.bytes.resize(
      platform::read_at(file, std::as_writable_bytes(std::span(beginning.bytes)), 0));
  beginning.size = platform::mark_of(file).size;
  return beginning;
}

void ValueFiles::remove(const ValueFile& which) const noexcept {
  try {
    ::unlink(path_of(which).c_str());
  } catch (const std::bad_alloc&) {
    // An orphan.
  }
}

void ValueFiles::remove(const std::vector<ValueFile>& which) const noexcept {
  for (const ValueFile& one : which) remove(one);
}

std::vector<ValueFile> ValueFiles::list(unsigned directory) const {
  std::vector<ValueFile> files;
  for_each_name(directory_of(directory), [&](std::string_view name) {
    std::uint64_t row = 0;
    ValueFile file;
    if (name.size() != 33 || name[16] != '-' || !parse_hex(name.substr(0, 16), row) ||
        !parse_hex(name.substr(17), file.version) || row % kDirectories != directory)
      return;
    file.row = static_cast<std::int64_t>(row);
    files.push_back(file);
  });
  return files;
}

std::vector<std::string> ValueFiles::unfinished(Time now) const {
  std::vector<std::string> paths;
  for_each_name(folder_, [&](std::string_view name) {
    if (!name.ends_with(kUnfinished)) return;
    std::string path = folder_ + "/" + std::string(name);
    struct stat status {};
    if (::stat(path.c_str(), &status) != 0) return;
    const Time written(std::chrono::seconds(status.st_mtim.tv_sec));
    if (now - written > kAbandonedAfter) paths.push_back(std::move(path));
  });
  return paths;
}

void ValueFiles::remove_unfinished(Time now) const noexcept {
  try {
    for (const std::string& path : unfinished(now)) ::unlink(path.c_str());
  } catch (const std::bad_alloc&) {
    // The next time.
  }
}

std::string ValueFiles::directory_of(unsigned number) const {
  return folder_ + "/" + hex(number, 2);
}

std::string ValueFiles::path_of(const ValueFile& which) const {
  return directory_of(static_cast<unsigned>(which.row) % kDirectories) + "/" +
         hex(static_cast<std::uint64_t>(which.row), 16) + "-" + hex(which.version, 16);
}

}  // namespace cachier::local
