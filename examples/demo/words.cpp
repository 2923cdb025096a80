/// The same function as in words.py, from C++: of the same name, so that each finds
/// what the other has stored.
///
///     words FOLDER TOP
///
/// Prints one line of JSON: what came out and how many seconds the call took.

#include <cachier/cached.hpp>

#include <algorithm>
#include <cctype>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace {

namespace fs = std::filesystem;
using Words = std::vector<std::pair<std::string, std::int64_t>>;

bool begins_word(char c) {
  return c == '_' || (std::isalpha(static_cast<unsigned char>(c)) != 0);
}
bool goes_on(char c) {
  return c == '_' || (std::isalnum(static_cast<unsigned char>(c)) != 0);
}

void count_words(const fs::path& source, std::map<std::string, std::int64_t>& count) {
  std::ifstream file(source, std::ios::binary);
  const std::string text(std::istreambuf_iterator<char>(file), {});
  for (auto at = text.begin(); at != text.end();) {
    at = std::find_if(at, text.end(), begins_word);
    const auto end = std::find_if_not(at, text.end(), goes_on);
    if (at != end) ++count[std::string(at, end)];
    at = end;
  }
}

bool installed_package(const fs::path& path) {
  return std::any_of(path.begin(), path.end(), [](const fs::path& part) {
    return part == "site-packages" || part == "dist-packages";
  });
}

Words most_used_words(const std::string& folder, int top) {
  std::map<std::string, std::int64_t> count;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.path().extension() == ".py" && !installed_package(entry.path())) {
      count_words(entry.path(), count);
    }
  }
  Words words(count.begin(), count.end());
  std::stable_sort(words.begin(), words.end(),
                   [](const auto& a, const auto& b) { return a.second > b.second; });
  words.resize(std::min(words.size(), static_cast<std::size_t>(top)));
  return words;
}

}  // namespace

int main(int count, char** arguments) try {
  if (count != 3) {
    std::cerr << "usage: words FOLDER TOP\n";
    return 2;
  }
  auto words = cachier::cached("demo.most_used_words", most_used_words);

  const auto begin = std::chrono::steady_clock::now();
  const Words answer = words(arguments[1], std::atoi(arguments[2]));
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;

  std::cout << "{\"words\": [";
  for (const auto& [word, n] : answer) {
    std::cout << (&word == &answer.front().first ? "" : ", ") << "[\"" << word << "\", "
              << n << "]";
  }
  std::cout << "], \"seconds\": [" << took.count()
            << "], \"runs\": " << words.counters().recalculations << "}\n";
  return 0;
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
