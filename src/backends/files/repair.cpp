#include "backends/files/repair.hpp"

#include "backends/files/check.hpp"
#include "backends/files/locks.hpp"
#include "backends/files/store.hpp"
#include "backends/shared/claims.hpp"
#include "backends/shared/wakes.hpp"
#include "platform/clock.hpp"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <exception>
#include <string>

namespace cachier::files {
namespace {

constexpr char kCannotRepair[] = "cannot repair the cache";
constexpr auto kPatience = std::chrono::seconds(30);

Deadline soon() noexcept { return std::chrono::steady_clock::now() + kPatience; }

/// 0, or errno; that it is gone already is no error.
int remove(const std::string& path) noexcept {
  return ::unlink(path.c_str()) == 0 || errno == ENOENT ? 0 : errno;
}

class Repair {
 public:
  explicit Repair(const std::string& directory)
      : disk_(directory, false), locks_(disk_.path("locks")), claims_(disk_.folder()) {}

  Result<Repaired> run(const Report& report, const OnProgress& progress) {
    if (auto error = disk_.make()) return *error;
    std::uint64_t done = 0;
    for (const Finding& one : report.findings) {
      std::optional<Error> error;
      switch (one.kind) {
        case Finding::Kind::entry:
          error = remove_entry(one);
          break;
        case Finding::Kind::state:
          error = remove_state(one);
          break;
        case Finding::Kind::orphan:
          error = remove_unfinished(one);
          break;
        case Finding::Kind::unreadable:
        case Finding::Kind::database:
        case Finding::Kind::table:
          break;
      }
      if (error) return *error;
      if (progress) progress({"what is damaged", ++done, report.findings.size()});
    }
    return result_;
  }

 private:
  /// What claims of the function in this folder begin with.
  std::uint32_t claims_of(const std::string& function) const {
    const auto read = [&](const std::string& path) {
      return read_state(disk_.load(path, kStateSize + 1).bytes)
          .value_or(State{})
          .claims;
    };
    return static_cast<std::uint32_t>(read(disk_.path("state")) ^
                                      read(function + "/state"));
  }

  std::optional<Error> remove_entry(const Finding& finding) {
    // .../f/<function>/e/<digest>
    const std::size_t slash = finding.place.rfind('/');
    const std::string entries = finding.place.substr(0, slash);
    const std::string name = finding.place.substr(slash + 1);
    const std::string function = entries.substr(0, entries.rfind('/'));
    const std::string folder = function.substr(function.rfind('/') + 1);
    const Digest digest = *finding.digest;
    // Whoever computes it anew replaces it, and only what he has seen: it is his.
    const auto claim = claims_.take(digest, claims_of(function));
    if (claim.serial == 0) return std::nullopt;
    std::optional<Error> error;
    if (const auto held = locks_.of_entry(digest, soon()); !held) {
      error = too_late(kCannotRepair);
    } else if (const auto directory = Directory::open(entries);
               directory &&
               check(directory, folder, name).kind == Verdict::Kind::damaged) {
      const int error_number = directory.remove(name);
      if (error_number == 0) ++result_.removed_entries;
      if (error_number != 0 && error_number != ENOENT)
        error = cannot("remove", finding.place, error_number);
    }
    claims_.end(digest, claim.serial);
    shared::wake(digest);
    return error;
  }

  std::optional<Error> remove_state(const Finding& finding) {
    const auto held = locks_.of_states(soon());
    if (!held) return too_late(kCannotRepair);
    if (!is_damaged_state(disk_, finding.place)) return std::nullopt;
    if (const int error_number = remove(finding.place); error_number != 0)
      return cannot("remove", finding.place, error_number);
    ++result_.removed_states;
    return std::nullopt;
  }

  std::optional<Error> remove_unfinished(const Finding& finding) {
    const auto unfinished = disk_.unfinished(platform::wall_now());
    if (std::find(unfinished.begin(), unfinished.end(), finding.place) ==
        unfinished.end())
      return std::nullopt;
    if (const int error_number = remove(finding.place); error_number != 0)
      return cannot("remove", finding.place, error_number);
    ++result_.removed_files;
    return std::nullopt;
  }

  const Disk disk_;
  Locks locks_;
  shared::Claims claims_;
  Repaired result_;
};

}  // namespace

Result<Repaired> repair(const std::string& directory, const Report& report,
                        const OnProgress& progress) noexcept {
  try {
    return Repair(directory).run(report, progress);
  } catch (const std::exception&) {  // of the standard library: no memory
    return Error(ErrorCode::unavailable, kCannotRepair, "there is not enough memory");
  }
}

}  // namespace cachier::files
