#include "backends/local/repair.hpp"

#include "backends/local/layout.hpp"
#include "backends/local/peek.hpp"
#include "backends/local/query.hpp"
#include "backends/local/rescue.hpp"
#include "backends/local/site.hpp"
#include "backends/local/store.hpp"
#include "backends/local/transaction.hpp"
#include "platform/clock.hpp"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <memory>
#include <utility>
#include <vector>

namespace cachier::local {
namespace {

constexpr char kCannotRepair[] = "cannot repair the cache";
constexpr auto kPatience = std::chrono::seconds(30);
/// What is removed in one transaction: few enough that others hardly wait.
constexpr std::size_t kBatch = 100;

Deadline soon() noexcept { return std::chrono::steady_clock::now() + kPatience; }

using Findings = std::vector<const Finding*>;

Findings of_kind(const Report& report, Finding::Kind kind) {
  Findings findings;
  for (const Finding& one : report.findings) {
    if (one.kind == kind) findings.push_back(&one);
  }
  return findings;
}

/// Calls `what` with some findings at a time.
template <class Do>
std::optional<Error> in_batches(const Findings& findings, const char* name,
                                const OnProgress& progress, const Do& what) {
  for (std::size_t at = 0; at < findings.size(); at += kBatch) {
    const auto first = findings.begin() + static_cast<std::ptrdiff_t>(at);
    const std::size_t size = std::min(kBatch, findings.size() - at);
    if (auto error = what(Findings(first, first + static_cast<std::ptrdiff_t>(size))))
      return error;
    if (progress) progress({name, at + size, findings.size()});
  }
  return std::nullopt;
}

/// Claims of what is being removed: whoever computes one of these entries keeps his,
/// and his basis.
class ClaimsOfDamaged {
 public:
  explicit ClaimsOfDamaged(Site& site) noexcept : site_(site) {}
  ClaimsOfDamaged(const ClaimsOfDamaged&) = delete;
  ClaimsOfDamaged& operator=(const ClaimsOfDamaged&) = delete;
  ~ClaimsOfDamaged() {
    for (const auto& [digest, serial] : held_) {
      site_.claims().end(digest, serial);
      site_.table().wake(slot_of(digest));
    }
  }

  /// False: somebody is computing it.
  bool take(const Finding& finding) {
    if (!finding.digest || finding.function.empty()) return true;
    held_.reserve(held_.size() + 1);
    const Function& function = Function::intern(finding.function);
    const auto claim = site_.claims().take(
        *finding.digest, site_.table().claim_generation(function).load());
    if (claim.serial == 0) return false;
    held_.emplace_back(*finding.digest, claim.serial);
    return true;
  }

 private:
  Site& site_;
  std::vector<std::pair<Digest, std::uint64_t>> held_;
};

// What a damaged row has for a version may be anything.
constexpr char kRemove[] =
    "DELETE FROM entries WHERE id = ?1 AND CAST(version AS INTEGER) = ?2";
constexpr char kBury[] =
    "UPDATE entries SET stored_at = 0, flags = 0, size = 0, envelope = NULL "
    "WHERE id = ?1 AND CAST(version AS INTEGER) = ?2";

ValueFile file_of(const Finding& finding) noexcept {
  return {finding.row, finding.version};
}

std::optional<Error> remove_entries(Site& site, const Findings& findings,
                                    const OnProgress& progress, Repaired& result) {
  return in_batches(
      findings, "damaged entries", progress,
      [&](const Findings& some) -> std::optional<Error> {
        ClaimsOfDamaged claims(site);
        std::vector<const char*> how;
        for (const Finding* one : some)
          how.push_back(claims.take(*one) ? kRemove : kBury);
        std::vector<ValueFile> files;
        std::uint64_t removed = 0;
        auto transaction = Transaction::begin(site, soon());
        if (!transaction) return transaction.error();
        Connection& connection = transaction->connection();
        for (std::size_t index = 0; index < some.size(); ++index) {
          const Finding& one = *some[index];
          Query query(connection, how[index]);
          query.bind(1, one.row).bind(2, static_cast<std::int64_t>(one.version));
          query.step();
          if (!query.good()) return query.error(kCannotRepair);
          if (sqlite3_changes(connection.handle()) == 0)
            continue;  // replaced meanwhile
          ++removed;
          if (one.in_file) files.push_back(file_of(one));
        }
        if (auto error = transaction->commit(kAllSlots)) return error;
        site.value_files().remove(files);
        result.removed_entries += removed;
        return std::nullopt;
      });
}

std::optional<Error> remove_orphans(Site& site, const Findings& findings,
                                    const OnProgress& progress, Repaired& result) {
  return in_batches(
      findings, "files that no entry has", progress,
      [&](const Findings& some) -> std::optional<Error> {
        // Inside, nobody has given a file its name and not yet committed its row.
        auto transaction = Transaction::begin(site, soon());
        if (!transaction) return transaction.error();
        for (const Finding* one : some) {
          if (one->row == 0) {  // half written
            if (::unlink(one->place.c_str()) == 0) ++result.removed_files;
            continue;
          }
          Run run(transaction->connection(), Sql::read_flags);
          run.bind(1, one->row).bind(2, static_cast<std::int64_t>(one->version));
          const int found = run.step();
          if (found == SQLITE_ROW && (run.number(0) & kFlagApart) != 0) continue;
          if (found != SQLITE_ROW && found != SQLITE_DONE)
            return transaction->fail(found, kCannotRepair);
          if (::unlink(site.value_files().path_of(file_of(*one)).c_str()) == 0)
            ++result.removed_files;
        }
        return std::nullopt;
      });
}

/// Indexes can be made anew of their tables.
std::optional<Error> rebuild_indexes(Site& site) {
  auto transaction = Transaction::begin(site, soon());
  if (!transaction) return transaction.error();
  {
    Query query(transaction->connection(), "REINDEX");
    query.step();
    if (!query.good()) return query.error(kCannotRepair);
  }
  return transaction->commit(kAllSlots);
}

/// What damaged rows said of themselves may have been counted wrongly.
std::optional<Error> count_anew(Site& site) {
  auto transaction = Transaction::begin(site, soon());
  if (!transaction) return transaction.error();
  {
    Run recount(transaction->connection(), Sql::recount);
    recount.bind(1, 1).bind(2, kMaxFunction);
    if (recount.step() != SQLITE_DONE)
      return transaction->fail(recount.result(), kCannotRepair);
  }
  {
    Run sum(transaction->connection(), Sql::sum_counts);
    if (sum.step() != SQLITE_DONE)
      return transaction->fail(sum.result(), kCannotRepair);
  }
  return transaction->commit(std::nullopt);
}

class Repair {
 public:
  Repair(std::string directory, const OnProgress& progress) noexcept
      : directory_(std::move(directory)), progress_(progress) {}

  Result<Repaired> run(const Report& report) {
    auto peek = Peek::open(directory_);
    if (!peek) return peek.error();
    if (*peek == nullptr) return Repaired();
    Repaired result;
    // Before it is opened, or a table that names a wrong database would bring that
    // about. Whoever has it mapped finds that its name has gone to another.
    if (const auto damage = (*peek)->table_damage();
        damage && *damage == ErrorCode::corrupt) {
      ::unlink(((*peek)->folder() + "/table").c_str());
      result.table_replaced = true;
    }
    auto site = open(**peek);
    if (!site) return site.error();
    if (report.count(Finding::Kind::database) > 0) {
      if ((*site)->table().generation().load() == report.generation) {
        const auto replaced = (*site)->set_aside(soon());
        if (!replaced) return replaced.error();
        if (!*replaced) {
          if (auto error = rebuild_indexes(**site)) return *error;
        } else {
          site = open(**peek);
          if (!site) return site.error();
        }
      }
      result.database_set_aside =
          (*site)->table().generation().load() != report.generation;
    }
    const std::uint64_t generation = (*site)->table().generation().load();
    if (const auto last = set_aside_before((*peek)->folder(), generation)) {
      auto rescued = rescue(**peek, **site, last, progress_);
      if (!rescued) return rescued.error();
      result.rescue = std::move(*rescued);
    }
    if (auto error = remove(**site, generation, report, result)) return *error;
    run_checkpoint(**site, true, soon());
    return result;
  }

 private:
  static Result<std::unique_ptr<Site>> open(const Peek& peek) {
    auto site = Site::open(peek.folder(), soon(), {});
    if (site && (*site)->read_only()) return *(*site)->read_only();
    return site;
  }

  std::optional<Error> remove(Site& site, std::uint64_t generation,
                              const Report& report, Repaired& result) const {
    // Rows and files of another database than that of the report are others.
    const bool same = generation == report.generation;
    Report fresh;
    if (!same) {
      auto again = verify(directory_, progress_);
      if (!again) return again.error();
      if (*again && (*again)->generation == generation) fresh = std::move(**again);
    }
    const Report& findings = same ? report : fresh;
    result.left = findings.count(Finding::Kind::unreadable);
    if (auto error = remove_entries(site, of_kind(findings, Finding::Kind::entry),
                                    progress_, result))
      return error;
    if (auto error = count_anew(site)) return error;
    return remove_orphans(site, of_kind(findings, Finding::Kind::orphan), progress_,
                          result);
  }

  const std::string directory_;
  const OnProgress& progress_;
};

}  // namespace

Result<Files> discard(const std::string& directory, std::uint64_t& databases) noexcept {
  databases = 0;
  try {
    auto peek = Peek::open(directory);
    if (!peek) return peek.error();
    if (*peek == nullptr) return Files();
    // Which one is in use only a sound table tells.
    if (auto damage = (*peek)->table_damage()) return *damage;
    const std::uint64_t generation = (*peek)->generation();
    const Inventory all = inventory_of((*peek)->folder(), generation);
    if (auto error = remove_set_aside((*peek)->folder(), generation)) return *error;
    databases = all.databases_set_aside;
    return all.set_aside;
  } catch (const std::exception&) {  // of the standard library: no memory
    return Error(ErrorCode::unavailable, "cannot throw away what was set aside",
                 "there is not enough memory");
  }
}

Result<Repaired> repair(const std::string& directory, const Report& report,
                        const OnProgress& progress) noexcept {
  try {
    return Repair(directory, progress).run(report);
  } catch (const std::exception&) {  // of the standard library: no memory
    return Error(ErrorCode::unavailable, kCannotRepair, "there is not enough memory");
  }
}

}  // namespace cachier::local
