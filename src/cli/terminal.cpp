#include "cli/terminal.hpp"

#include "cli/text.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <cstdlib>
#include <iostream>
#include <mutex>
#include <utility>

namespace cachier::cli {
namespace {

constexpr std::size_t kGap = 2;
/// The flexible column is not cut below this.
constexpr std::size_t kLeast = 20;

bool shows_styles() noexcept {
  if (!output_is_terminal()) return false;
  const char* const no_color = std::getenv("NO_COLOR");
  if (no_color != nullptr && *no_color != '\0') return false;
  const char* const kind = std::getenv("TERM");
  return kind != nullptr && std::string_view(kind) != "dumb";
}

std::string styled(std::string_view text, std::string_view code) {
  if (!shows_styles()) return std::string(text);
  return "\x1b[" + std::string(code) + "m" + std::string(text) + "\x1b[0m";
}

}  // namespace

bool input_is_terminal() noexcept { return ::isatty(STDIN_FILENO) == 1; }

bool output_is_terminal() noexcept { return ::isatty(STDOUT_FILENO) == 1; }

bool confirmed(const std::string& question) {
  std::cout << question << " [y/N] " << std::flush;
  std::string answer;
  if (!std::getline(std::cin, answer)) std::cout << '\n';
  return answer == "y" || answer == "Y" || answer == "yes";
}

bool shows_progress() noexcept {
  const char* const kind = std::getenv("TERM");
  return ::isatty(STDERR_FILENO) == 1 && kind != nullptr &&
         std::string_view(kind) != "dumb";
}

ProgressLine::~ProgressLine() {
  if (shown_ != std::chrono::steady_clock::time_point()) std::cerr << "\r\x1b[K";
}

bool ProgressLine::is_due() const noexcept {
  return std::chrono::steady_clock::now() - shown_ >= std::chrono::milliseconds(100);
}

void ProgressLine::show(const std::string& text) {
  shown_ = std::chrono::steady_clock::now();
  std::cerr << "\r\x1b[K" << text << std::flush;
}

Meanwhile::Meanwhile(std::string what) {
  if (!shows_progress()) return;
  telling_ = std::jthread([what = std::move(what)](const std::stop_token& stop) {
    ProgressLine line;
    std::mutex mutex;
    std::condition_variable_any never;
    std::unique_lock hold(mutex);
    line.show(what);
    for (int seconds = 1; !stop.stop_requested(); ++seconds) {
      never.wait_for(hold, stop, std::chrono::seconds(1), [] { return false; });
      if (!stop.stop_requested())
        line.show(what + ": " + std::to_string(seconds) + " s");
    }
  });
}

std::size_t terminal_width() noexcept {
  winsize size{};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0) return 0;
  return size.ws_col;
}

std::string bold(std::string_view text) { return styled(text, "1"); }

std::string faint(std::string_view text) { return styled(text, "2"); }

void Table::print() const {
  std::vector<std::size_t> widths;
  for (const Column& column : columns_) {
    std::size_t width = columns(column.title);
    for (const auto& row : rows_) {
      width = std::max(width, columns(row[widths.size()]));
    }
    widths.push_back(width);
  }
  std::size_t total = kGap * (widths.size() - 1);
  for (const std::size_t width : widths) total += width;
  const std::size_t available = terminal_width();
  for (std::size_t i = 0; i < widths.size(); ++i) {
    if (!columns_[i].flexible || available == 0 || total <= available) continue;
    const std::size_t over = total - available;
    widths[i] =
        std::max(std::min(widths[i], kLeast), widths[i] - std::min(widths[i], over));
  }

  const auto line = [&](const auto& cell_of) {
    std::string text;
    for (std::size_t i = 0; i < widths.size(); ++i) {
      const std::string cell = cut(cell_of(i), widths[i]);
      const std::string fill(widths[i] - columns(cell), ' ');
      if (i > 0) text.append(kGap, ' ');
      text += columns_[i].align == Align::right ? fill + cell : cell + fill;
    }
    text.erase(text.find_last_not_of(' ') + 1);
    return text;
  };
  std::cout << bold(line([&](std::size_t i) { return columns_[i].title; })) << '\n';
  for (const auto& row : rows_) {
    std::cout << line([&](std::size_t i) { return row[i]; }) << '\n';
  }
}

}  // namespace cachier::cli
