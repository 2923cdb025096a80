#include "backends/files/check.hpp"

#include <cachier/envelope.hpp>

#include "backends/shared/judged.hpp"
#include "platform/file.hpp"

#include <cerrno>
#include <limits>
#include <utility>

namespace cachier::files {
namespace {

Verdict damaged(Verdict so_far, std::string why) {
  so_far.kind = Verdict::Kind::damaged;
  so_far.why = std::move(why);
  return so_far;
}

}  // namespace

Verdict check(const Directory& entries, const std::string& folder,
              const std::string& name) {
  using Kind = Verdict::Kind;
  Verdict verdict;
  // Its beginning says how long it is: one that was cut off is not read.
  errno = 0;
  auto loaded = entries.load(name, kLongestHead);
  const int error_number = errno;
  verdict.stamp = loaded.stamp;
  if (!loaded.stamp) {
    verdict.kind = error_number == ENOENT ? Kind::gone : Kind::unreadable;
    verdict.why = platform::system_words(error_number);
    return verdict;
  }
  if (!loaded.ours && error_number == EACCES) {
    verdict.kind = Kind::unreadable;
    verdict.why = platform::system_words(error_number);
    return verdict;
  }
  if (!loaded.ours)
    return damaged(std::move(verdict),
                   "it is not a file of this user alone, which nobody else may write");
  auto head = read_head(loaded.bytes, loaded.stamp.size);
  if (!head) return damaged(std::move(verdict), "its head is damaged");
  verdict.function = head->function;
  if (Disk::digest_of(name) != head->digest)
    return damaged(std::move(verdict), "its name is not that of its digest");
  const Function& function = Function::intern(verdict.function);
  if (Disk::folder_of(function) != folder)
    return damaged(std::move(verdict), "it is not in the folder of its function");
  if (head->is_tombstone()) {
    verdict.kind = Kind::tombstone;
    return verdict;
  }
  if (!loaded.whole) {
    loaded = entries.load(name, std::numeric_limits<std::uint64_t>::max());
    // Replaced since: another look will tell.
    if (loaded.stamp != verdict.stamp || !loaded.whole)
      return damaged(std::move(verdict), "not all of it can be read");
    head = read_head(loaded.bytes, loaded.stamp.size);
    if (!head) return damaged(std::move(verdict), "its head is damaged");
  }
  auto judged =
      shared::judge_envelope(loaded.bytes.subspan(head->size), function, head->digest,
                             head->stored_at, Version{{head->version, 0, 0}});
  verdict.key = std::move(judged.key);
  verdict.hashed = judged.hashed;
  verdict.why = std::move(judged.why);
  verdict.kind = judged.value                                 ? Kind::sound
                 : judged.kind == shared::Judged::Kind::newer ? Kind::newer
                                                              : Kind::damaged;
  return verdict;
}

bool is_damaged_state(const Disk& disk, const std::string& path) {
  const auto loaded = disk.load(path, kStateSize + 1);
  return loaded.stamp && !read_state(loaded.bytes);
}

}  // namespace cachier::files
