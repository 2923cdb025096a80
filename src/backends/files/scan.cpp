#include <cachier/envelope.hpp>

#include "backends/files/store.hpp"

#include <algorithm>
#include <cerrno>
#include <new>
#include <vector>

namespace cachier::files {
namespace {

/// Listing a directory costs as much for a page of few as for one of many.
constexpr std::size_t kPerPage = 2'000;
/// Most heads and keys fit.
constexpr std::uint64_t kBeginning = 4'096;
/// Longer ones than fit here are not listed.
constexpr std::uint64_t kLongestBeginning = std::uint64_t{1} << 20;

constexpr char kCannotList[] = "cannot list the cache";

/// The names of entries after this one, in order, as many as a page may have.
std::vector<std::string> names_after(const Directory& directory, std::string_view last,
                                     std::size_t most) {
  std::vector<std::string> names = directory.names();
  std::erase_if(names, [&](const std::string& name) {
    return name <= last || !Disk::digest_of(name);
  });
  const std::size_t kept = std::min(most, names.size());
  std::partial_sort(names.begin(), names.begin() + static_cast<std::ptrdiff_t>(kept),
                    names.end());
  names.resize(kept);
  return names;
}

std::optional<Header> header_of(const Directory& directory, const std::string& name) {
  const auto digest = Disk::digest_of(name);
  if (!digest) return std::nullopt;
  auto loaded = directory.load(name, kBeginning);
  for (;;) {
    const auto head = read_head(loaded.bytes, loaded.stamp.size);
    if (head && (head->is_tombstone() || head->digest != *digest)) return std::nullopt;
    if (head) {
      const auto parts =
          envelope::inspect(loaded.bytes.subspan(head->size), head->envelope_size);
      if (parts) {
        Header header;
        header.function = head->function;
        header.digest = *digest;
        header.key = as_text(parts->key);
        header.hashed = parts->hashed;
        header.stored_at = head->stored_at;
        header.size = parts->value_size;
        header.codec = parts->codec;
        return header;
      }
    }
    // A long id or a long key; or damaged: a look says so.
    if (loaded.bytes.size() != kBeginning || loaded.whole) return std::nullopt;
    loaded = directory.load(name, kLongestBeginning);
  }
}

}  // namespace

Result<Page> FilesStore::scan(const Filter& filter, const Cursor& from,
                              Deadline deadline) noexcept {
  try {
    if (const auto state = store_state(deadline); !state) return state.error();
    // A cursor is the file that was seen last: its function's folder, a slash, its
    // name.
    const std::size_t slash = from.find('/');
    if (!from.empty() && (slash == std::string::npos ||
                          !Disk::digest_of(std::string_view(from).substr(slash + 1))))
      return Error(ErrorCode::invalid_argument, kCannotList,
                   "the cursor is not one of this store's",
                   "begin with an empty cursor, go on with Page::next");
    const std::string folder = from.substr(0, from.empty() ? 0 : slash);
    std::string last = from.empty() ? std::string() : from.substr(slash + 1);

    std::vector<std::string> folders;
    if (filter.function != nullptr) {
      folders.push_back(Disk::folder_of(*filter.function));
    } else if (const auto functions = Directory::open(disk_.functions())) {
      folders = functions.names();
      std::erase_if(folders, [&](const std::string& name) { return name < folder; });
      std::sort(folders.begin(), folders.end());
    }
    Page page;
    std::size_t left = kPerPage;
    for (const std::string& one : folders) {
      if (one != folder) last.clear();
      const auto directory = Directory::open(disk_.functions() + "/" + one + "/e");
      if (!directory) {
        if (errno == ENOENT || errno == ENOTDIR) continue;
        return cannot("list", disk_.functions() + "/" + one, errno);
      }
      for (const std::string& name : names_after(directory, last, left)) {
        --left;
        auto header = header_of(directory, name);
        const bool counts =
            header &&
            (filter.function == nullptr || header->function == filter.function->id()) &&
            (!filter.stored_before || header->stored_at < *filter.stored_before);
        if (counts) page.entries.push_back(std::move(*header));
        if (left == 0) {
          page.next = one;
          page.next.append("/").append(name);
          return page;
        }
      }
    }
    return page;
  } catch (const std::bad_alloc&) {
    return out_of_memory();
  }
}

}  // namespace cachier::files
