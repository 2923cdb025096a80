#pragma once

/// Values that have files, and damage to what a cache directory holds.

#include "command_line.hpp"

#include <sqlite3.h>

#include <algorithm>
#include <cstdint>
#include <iterator>

#include "support/eventually.hpp"

namespace cachier::test {

/// Bytes of a value that is not in the database.
inline constexpr std::size_t kBig = 100'000;

[[nodiscard]] inline Value big(char filler) {
  return Value::of_bytes(Codec::pickle, std::string(kBig, filler));
}

/// The value files of a database, sorted.
[[nodiscard]] inline std::vector<std::filesystem::path> value_files(
    const std::string& folder) {
  std::vector<std::filesystem::path> files;
  for (const auto& one : std::filesystem::recursive_directory_iterator(folder)) {
    if (one.is_regular_file()) files.push_back(one.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

/// Runs it in a database; gives the number in the first column of its first row, if
/// any.
inline std::int64_t run_sql_in(const std::string& path, const std::string& sql) {
  sqlite3* database = nullptr;
  EXPECT_EQ(sqlite3_open_v2(path.c_str(), &database, SQLITE_OPEN_READWRITE, nullptr),
            0);
  sqlite3_db_config(database, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  sqlite3_stmt* statement = nullptr;
  EXPECT_EQ(sqlite3_prepare_v2(database, sql.c_str(), -1, &statement, nullptr), 0)
      << sqlite3_errmsg(database);
  std::int64_t answer = 0;
  int result = sqlite3_step(statement);
  if (result == SQLITE_ROW) answer = sqlite3_column_int64(statement, 0);
  while (result == SQLITE_ROW) result = sqlite3_step(statement);
  EXPECT_EQ(result, SQLITE_DONE) << sqlite3_errmsg(database);
  sqlite3_finalize(statement);
  sqlite3_close(database);
  return answer;
}

/// Moves what is in the log into the database. Who had it open last may still be
/// closing it, and is waited for.
inline void move_log_into(const std::string& path) {
  EXPECT_TRUE(eventually(
      [&] { return run_sql_in(path, "PRAGMA wal_checkpoint(TRUNCATE)") == 0; }));
}

/// Flips bits of a file that nobody has open.
inline void flip(const std::string& path, std::size_t from, std::size_t size) {
  std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
  std::string bytes(size, '\0');
  file.seekg(static_cast<std::streamoff>(from));
  file.read(bytes.data(), static_cast<std::streamsize>(size));
  ASSERT_TRUE(file.good()) << path;
  for (char& byte : bytes) byte = static_cast<char>(byte ^ 0x55);
  file.seekp(static_cast<std::streamoff>(from));
  file.write(bytes.data(), static_cast<std::streamsize>(size));
}

/// Lets the last rows of a database come in disorder: their page names the first of
/// them last. Nobody has it open, and all of it is in its file.
inline void disorder_last_rows(const std::string& path) {
  constexpr std::size_t kPage = 4096;
  constexpr std::size_t kPointers = 8;  // behind the head of a leaf
  std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
  std::string bytes{std::istreambuf_iterator<char>(file), {}};
  const auto byte = [&](std::size_t at) {
    return static_cast<std::uint64_t>(static_cast<unsigned char>(bytes.at(at)));
  };
  const auto number = [&](std::size_t& at) {  // as SQLite writes them
    std::uint64_t read = 0;
    for (int count = 1; count < 9; ++count, ++at) {
      read = read << 7 | (byte(at) & 0x7f);
      if (byte(at) < 0x80) return ++at, read;
    }
    return read << 8 | byte(at++);
  };
  std::uint64_t largest = 0;
  std::size_t page = 0;
  std::size_t last = 0;
  for (std::size_t at = kPage; at < bytes.size(); at += kPage) {
    const std::uint64_t rows = byte(at + 3) << 8 | byte(at + 4);
    if (bytes[at] != '\x0d' || rows < 2) continue;
    const std::size_t pointer = at + kPointers + 2 * (rows - 1);
    std::size_t cell = at + (byte(pointer) << 8 | byte(pointer + 1));
    (void)number(cell);  // its size
    if (const std::uint64_t id = number(cell); id > largest) {
      largest = id;
      page = at;
      last = pointer;
    }
  }
  ASSERT_NE(page, 0U);
  std::swap_ranges(&bytes[page + kPointers], &bytes[page + kPointers + 2],
                   &bytes[last]);
  file.seekp(0);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

}  // namespace cachier::test
