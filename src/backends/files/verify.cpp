#include "backends/files/check.hpp"
#include "backends/files/inspect.hpp"
#include "platform/clock.hpp"
#include "platform/file.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <exception>
#include <string>
#include <utility>

namespace cachier::files {
namespace {

constexpr char kCannotVerify[] = "cannot verify the cache";
/// How often an entry is read again that changes all the time.
constexpr int kTries = 8;

class Verification {
 public:
  Verification(const Disk& disk, const OnProgress& progress) noexcept
      : disk_(disk), progress_(progress) {}

  std::optional<Error> run() {
    look_at_state(disk_.path("state"));
    const auto functions = Directory::open(disk_.functions());
    if (!functions && errno != ENOENT) return cannot_read(disk_.functions());
    if (functions) {
      auto folders = functions.names();
      std::sort(folders.begin(), folders.end());
      for (const std::string& folder : folders) {
        if (auto error = look_at_function(folder)) return error;
      }
    }
    look_for_unfinished();
    return std::nullopt;
  }

  Report take() noexcept { return std::move(report_); }

 private:
  static Error cannot_read(const std::string& path) {
    return platform::system_error("cannot read '" + path + "'", errno);
  }

  Finding& found(Finding::Kind kind, std::string place, std::string why) {
    Finding finding;
    finding.kind = kind;
    finding.place = std::move(place);
    finding.why = std::move(why);
    report_.findings.push_back(std::move(finding));
    return report_.findings.back();
  }

  void look_at_state(const std::string& path) {
    if (is_damaged_state(disk_, path))
      found(Finding::Kind::state, path, "it is damaged, and counts as none");
  }

  std::optional<Error> look_at_function(const std::string& folder) {
    const std::string path = disk_.functions() + "/" + folder;
    look_at_state(path + "/state");
    const auto directory = Directory::open(path + "/e");
    if (!directory) {
      if (errno == ENOENT || errno == ENOTDIR) return std::nullopt;
      return cannot_read(path + "/e");
    }
    for (const std::string& name : directory.names()) {
      if (!Disk::digest_of(name)) continue;
      look_at(directory, folder, name);
      if (progress_) progress_({"entries", ++seen_, 0});
    }
    return std::nullopt;
  }

  void look_at(const Directory& directory, const std::string& folder,
               const std::string& name) {
    Verdict verdict = check(directory, folder, name);
    for (int tried = 1; tried < kTries && verdict.is_bad(); ++tried) {
      // Somebody may have replaced it while it was read.
      const Stamp before = verdict.stamp;
      verdict = check(directory, folder, name);
      if (verdict.stamp == before) break;
    }
    switch (verdict.kind) {
      case Verdict::Kind::sound:
        ++report_.entries;
        break;
      case Verdict::Kind::newer:
        ++report_.newer;
        break;
      case Verdict::Kind::tombstone:
        ++report_.tombstones;
        break;
      case Verdict::Kind::gone:
        break;
      case Verdict::Kind::unreadable:
      case Verdict::Kind::damaged:
        Finding& finding = found(
            verdict.kind == Verdict::Kind::damaged ? Finding::Kind::entry
                                                   : Finding::Kind::unreadable,
            disk_.functions() + "/" + folder + "/e/" + name, std::move(verdict.why));
        finding.function = std::move(verdict.function);
        finding.digest = Disk::digest_of(name);
        finding.key = std::move(verdict.key);
        finding.hashed = verdict.hashed;
        break;
    }
  }

  void look_for_unfinished() {
    for (const std::string& path : disk_.unfinished(platform::wall_now()))
      found(Finding::Kind::orphan, path, "it was left half written");
  }

  const Disk& disk_;
  const OnProgress& progress_;
  Report report_;
  std::uint64_t seen_ = 0;
};

}  // namespace

Result<std::optional<Report>> verify(const std::string& directory,
                                     const OnProgress& progress) noexcept {
  try {
    const Disk disk(directory, false);
    const auto there = disk.is_there();
    if (!there) return there.error();
    if (!*there) return std::optional<Report>();
    Verification verification(disk, progress);
    if (auto error = verification.run()) return *error;
    return std::optional<Report>(verification.take());
  } catch (const std::exception&) {  // of the standard library: no memory
    return Error(ErrorCode::unavailable, kCannotVerify, "there is not enough memory");
  }
}

}  // namespace cachier::files
